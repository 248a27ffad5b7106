/**
 * The data plane in a Worker that has the network as its only permission. Takes a config as JSON,
 * prints each report as a line of JSON, drains when its input ends, and prints how many connections
 * it has counted.
 *
 * @module
 */

import { CertStore } from "../../src/certstore/store.ts";
import { allocateCounters, CounterReader } from "../../src/metrics/counters.ts";
import type { Report } from "../../src/report.ts";
import { type Command, PROTOCOL } from "../../src/snapshot.ts";
import { DataPlane } from "../../src/worker.ts";
import { TestMetrics } from "../support/certstore.ts";
import { TestLog } from "../support/log.ts";
import { parseValid } from "../support/config.ts";

/** The scope of a Worker, which the types of this project do not include. */
type WorkerScope = {
  postMessage(message: Report): void;
  onmessage: (event: MessageEvent<Command>) => void;
};

function serve(scope: WorkerScope): void {
  const dataPlane = new DataPlane({
    report: (report) => scope.postMessage(report),
    now: Date.now,
    monotonic: () => performance.now(),
  });
  scope.onmessage = ({ data }) => dataPlane.receive(data);
}

function print(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

async function control(text: string): Promise<void> {
  const { tunnels: [tunnel, ...rest] } = parseValid(text);
  const store = await CertStore.open({
    tunnels: [tunnel, ...rest],
    logger: new TestLog(),
    metrics: new TestMetrics(),
  });
  const counters = allocateCounters(tunnel.targets.length);
  const permissions: Deno.PermissionOptionsObject = {
    net: true,
    read: false,
    write: false,
    env: false,
    run: false,
    sys: false,
    ffi: false,
  };
  const worker = new Worker(import.meta.url, { type: "module", deno: { permissions } });
  const post = (command: Command) => worker.postMessage(command);
  worker.onmessage = ({ data }: MessageEvent<Report>) => {
    print(JSON.stringify(data));
    if (data.kind !== "drained") return;
    print(String(new CounterReader(counters).connections));
    worker.terminate();
  };
  post({
    kind: "start",
    snapshot: {
      protocol: PROTOCOL,
      logLevel: "info",
      tunnels: [{
        config: tunnel,
        state: { credentials: store.current, acl: tunnel.acl, upstream: undefined },
        counters,
      }],
    },
  });
  await Deno.stdin.readable.pipeTo(new WritableStream());
  post({ kind: "drain" });
}

if ("DedicatedWorkerGlobalScope" in globalThis) serve(globalThis as unknown as WorkerScope);
else await control(Deno.args[0] ?? "");
