import assert from "node:assert/strict";
import type { Ending } from "../../../src/proxy/connection.ts";
import { receiveProxyHeader } from "../../../src/proxy/proxy_header.ts";
import { memoryLog } from "./listener_support.ts";
import { CLIENT, LINE, networks } from "./proxy_header_support.ts";
import { FakeChannel } from "./fake_conn.ts";
import { SOURCE, start } from "./connection_support.ts";

/** Takes the header off a connection that has said this; `end` comes while it is waited for. */
async function take(said: string, { end, trusted = "192.0.2.0/24" }: {
  readonly end?: Ending | "ended" | "reset";
  readonly trusted?: string;
} = {}) {
  const { logger, limiter, lines } = memoryLog();
  const { connections } = start({ logger });
  const connection = connections.open(SOURCE);
  const config = { proxy: { acceptProxyProtocol: networks(trusted) } };
  const conn = new FakeChannel();
  if (said !== "") conn.push(said);
  const context = { config, connections, limiter, name: "listener" } as const;
  const taking = receiveProxyHeader(conn, connection, context, 30_000);
  await conn.until(() => conn.pending === 1 || conn.closed || conn.reads > 0);
  if (end === "ended") conn.end();
  else if (end === "reset") conn.breakRead("reset");
  else if (end !== undefined) connection.end(end);
  const taken = await taking;
  return { taken, lines, closed: conn.closed };
}

Deno.test("PROXY header: the client, and by way of whom", async () => {
  const { taken, lines, closed } = await take(LINE);
  assert.ok(!("stopped" in taken));
  assert.equal(taken.conn.remote, CLIENT);
  assert.equal(taken.destination, "203.0.113.1:443");
  assert.deepEqual(taken.fields, { via: "192.0.2.7:1234" });
  assert.deepEqual([lines, closed], [[], false]);
});

/** Who ends a connection that is still without its header, and as what it counts. */
const CUTS: readonly Ending[] = [
  { reason: "shutdown" },
  { reason: "max_lifetime" },
  { reason: "error", fields: { error: "gave way to newer connections" } },
];

for (const end of CUTS) {
  Deno.test(`PROXY header: cut by ${end.reason}, which others have told of`, async () => {
    const { taken, lines, closed } = await take("PROXY TCP4", { end });
    assert.deepEqual(taken, { stopped: end.reason });
    assert.deepEqual([lines, closed], [[], true]);
  });
}

/** Connections without a header that counts, and what the log says of them. */
const REFUSED: readonly (readonly [said: string, Parameters<typeof take>[1], string, RegExp])[] = [
  [
    LINE,
    { trusted: "10.0.0.0/8" },
    "denied",
    /denied connection" peer_cn="" .*reason=unlisted/,
  ],
  ["GET /", {}, "error", /refused PROXY header" .*reason=missing/],
  ["PROXY \n", {}, "error", /refused PROXY header" .*reason=malformed/],
  ["PROXY", { end: "ended" }, "peer_reset", /refused PROXY header" .*reason=ended/],
  ["PROXY", { end: "reset" }, "peer_reset", /refused PROXY header" .*reason=broken/],
];

for (const [said, more, stopped, line] of REFUSED) {
  Deno.test(`PROXY header: ${JSON.stringify(said)} ${JSON.stringify(more)}`, async () => {
    const { taken, lines, closed } = await take(said, more);
    assert.deepEqual(taken, { stopped });
    assert.equal(lines.length, 1);
    assert.match(lines[0] ?? "", line);
    assert.match(lines[0] ?? "", /level=WARN .* remote=192\.0\.2\.7:1234 .* conn=1\n$/);
    assert.equal(closed, true);
  });
}

for (const end of ["ended", "reset"] as const) {
  Deno.test(`PROXY header: ${end} without a byte, as a health check does`, async () => {
    const { taken, lines, closed } = await take("", { end });
    assert.deepEqual(taken, { stopped: "no_data" });
    assert.deepEqual([lines, closed], [[], true]);
  });
}
