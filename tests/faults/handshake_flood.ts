/**
 * One address that opens connections by the thousand and does not come to the point, and others that
 * want to be served meanwhile.
 *
 * @module
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { fileURLToPath } from "node:url";
import tls from "node:tls";
import { echoBackend } from "../support/peers.ts";
import { cpuSeconds } from "../support/process.ts";
import { TestBed } from "../support/testbed.ts";
import type { TestDaemon } from "../support/daemon.ts";
import type { Row } from "./row.ts";
import { closedSeries } from "../support/metrics.ts";

const FLOODER = fileURLToPath(new URL("./support_silent.ts", import.meta.url));

/** A process that floods until it is disposed of. */
function flood(port: number, rate: number, manner: "silent" | "tls"): AsyncDisposable {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--allow-net=127.0.0.1", FLOODER, `${port}`, `${rate}`, manner],
    stdin: "null",
    stdout: "null",
    stderr: "inherit",
  }).spawn();
  return {
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.status;
    },
  };
}

/** Comes from another address, shakes hands and has a message echoed; how many milliseconds that took. */
async function visit(testBed: TestBed, port: number, localAddress: string): Promise<number> {
  const start = performance.now();
  const { ca, client } = testBed.pki;
  const socket = net.connect({ host: "127.0.0.1", port, localAddress, noDelay: true });
  const secure = tls.connect({
    socket,
    servername: "localhost",
    ca: ca.pem,
    cert: client.pem,
    key: client.keyPem,
  });
  try {
    const heard = once(secure, "data", { signal: AbortSignal.timeout(20_000) });
    secure.write("hello");
    const [bytes] = await heard;
    assert.equal(String(bytes), "hello");
    return performance.now() - start;
  } finally {
    secure.destroy();
    socket.destroy();
  }
}

function percentile(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN;
}

const accepted = async (daemon: TestDaemon) =>
  (await daemon.metrics()).get("mtlsd_connections_total") ?? NaN;

/** Milliseconds within which 95 of 100 good handshakes must be done; a busy machine is no failure of ours. */
const P95 = { full: 50, bounded: 1000 } as const;

async function goodOnes(
  scale: keyof typeof P95,
  rate: number,
  manner: "silent" | "tls",
): Promise<string> {
  await using testBed = await TestBed.create();
  const server = await testBed.server(testBed.use(echoBackend()).address);
  // What is compiled at the first use is no matter of a flood.
  for (let i = 0; i < 20; i++) await visit(testBed, server.port, "127.0.0.2");
  await using _ = flood(server.port, rate, manner);
  await server.waitForMetric("mtlsd_connections_total", (count) => count > 20 + rate);
  const [cpu, before, start] = [
    await cpuSeconds(server.pid),
    await accepted(server),
    performance.now(),
  ];
  const took: number[] = [];
  const until = start + (scale === "full" ? 5000 : 1000);
  while (performance.now() < until) {
    took.push(await visit(testBed, server.port, `127.0.0.${2 + took.length % 8}`));
    await new Promise((done) => setTimeout(done, 25));
  }
  const seconds = (performance.now() - start) / 1000;
  const came = (await accepted(server) - before - took.length) / seconds;
  const spent = (await cpuSeconds(server.pid) - cpu) / seconds;
  const sorted = took.toSorted((a, b) => a - b);
  const [median, p95] = [percentile(sorted, 0.5), percentile(sorted, 0.95)];
  const written = server.lines.reduce((sum, { raw }) => sum + raw.length + 1, 0);
  const figure =
    `${took.length} good ones in ${seconds.toFixed(1)} s beside ${came.toFixed(0)}/s: ` +
    `median ${median.toFixed(0)} ms, p95 ${p95.toFixed(0)} ms; ${
      (100 * spent).toFixed(0)
    } % of a ` +
    `core, ${(written / 1000).toFixed(0)} KB of log in all`;
  assert.ok(p95 < P95[scale], figure);
  // None of them was evicted.
  await server.waitForMetric(closedSeries("completed"), 20 + took.length);
  return figure;
}

/** The rows. */
export const rows: readonly Row[] = [
  {
    subject: "server",
    fault: "an address opens 1,000 silent connections a second",
    holds: "good handshakes from others: p95 under 50 ms",
    run: (scale) => goodOnes(scale, scale === "full" ? 1000 : 500, "silent"),
  },
  {
    subject: "server",
    fault: "an address begins 1,000 handshakes a second",
    holds: "good handshakes from others: p95 under 50 ms",
    run: (scale) => goodOnes(scale, scale === "full" ? 1000 : 500, "tls"),
  },
];
