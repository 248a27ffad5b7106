/**
 * The control plane's end of the two messages, without a data plane behind it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { DataPlaneHandle, type DataPlanePort } from "../../../src/control/data_plane.ts";
import type { LogRecord } from "../../../src/log/mod.ts";
import { PROTOCOL as REPORT_PROTOCOL, type Report } from "../../../src/report.ts";
import { type Command, PROTOCOL, type Snapshot } from "../../../src/snapshot.ts";

const EMPTY: Snapshot = { protocol: PROTOCOL, logLevel: "info", tunnels: [] };

/** A handle, what it sent, and a way to answer. */
function handle(answer: (command: Command) => Report | undefined = () => undefined) {
  const sent: string[] = [];
  const records: LogRecord[] = [];
  const port: DataPlanePort = {
    onReport: () => {},
    post: (command) => {
      sent.push(command.kind);
      const answered = answer(command);
      if (answered !== undefined) port.onReport(answered);
    },
  };
  const dataPlane = new DataPlaneHandle(port, (record) => void records.push(record));
  return { dataPlane, sent, records, report: (one: Report) => port.onReport(one) };
}

Deno.test("data plane: reports of another version stop the start", async () => {
  const start = (protocol: number) =>
    handle(() => ({ kind: "started", protocol, nativeHandles: 3 })).dataPlane.start(EMPTY);
  assert.deepEqual(await start(REPORT_PROTOCOL), {
    kind: "started",
    protocol: REPORT_PROTOCOL,
    nativeHandles: 3,
  });
  assert.deepEqual(await start(REPORT_PROTOCOL + 1), {
    kind: "not_started",
    message: `Cannot start: the data plane sends reports of version ${REPORT_PROTOCOL + 1}, the ` +
      `control plane reads version ${REPORT_PROTOCOL}`,
  });
});

Deno.test("data plane: a refused update throws, the next one does not", () => {
  const errors = ["no room", undefined];
  const { dataPlane } = handle(() => ({ kind: "updated", error: errors.shift() }));
  assert.throws(() => dataPlane.update([]), /^Error: no room$/);
  dataPlane.update([]);
  // No answer is no success.
  assert.throws(() => handle().dataPlane.update([]), /the data plane did not answer$/);
});

Deno.test("data plane: a tunnel is not accepting before it says so", () => {
  const answers = [undefined, true, undefined, true];
  const { dataPlane } = handle((command) => {
    const accepting = answers.shift();
    if (command.kind !== "query" || accepting === undefined) return undefined;
    return { kind: "tunnel", tunnel: command.tunnel, accepting };
  });
  assert.deepEqual([1, 1, 1, 1].map((tunnel) => dataPlane.accepting(tunnel)), [
    false,
    true,
    false,
    true,
  ]);
});

Deno.test("data plane: is drained once, and cut while it drains", async () => {
  const { dataPlane, sent, report } = handle();
  const drained = [dataPlane.drain(), dataPlane.drain()];
  dataPlane.cut();
  assert.deepEqual(sent, ["drain", "cut"]);
  report({ kind: "drained", result: "cut" });
  assert.deepEqual(await Promise.all(drained), ["cut", "cut"]);
});

Deno.test("data plane: its log records are passed on", () => {
  const { records, report } = handle();
  const record: LogRecord = { time: 1, level: "warn", message: "m", fields: {}, forPeers: true };
  report({ kind: "log", record });
  assert.deepEqual(records, [record]);
});
