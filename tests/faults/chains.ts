/**
 * Chains of an unknown peer that are made to cost: each shape alone, and twenty at once beside an established
 * connection.
 *
 * @module
 */

import assert from "node:assert/strict";
import { playClient } from "../support/adversary/client.ts";
import type { Version } from "../support/adversary/hello.ts";
import type { TestDaemon } from "../support/daemon.ts";
import { type HostileChain, hostileChains } from "../support/hostile_chains.ts";
import { echoBackend } from "../support/peers.ts";
import { makeCa, type TestPki } from "../support/pki.ts";
import { cpuSeconds } from "../support/process.ts";
import { TestBed } from "../support/testbed.ts";
import type { EchoSettings } from "./chains_echo.ts";
import type { Row } from "./row.ts";

/** What one chain may cost, in seconds of CPU. */
const MAX_CPU = 0.05;
/** What twenty at once may add to an echo, in milliseconds. */
const MAX_STALL = 200;

const AT_ONCE = 20;

type Arena = { readonly server: TestDaemon; readonly chains: readonly HostileChain[] };

async function arena(testBed: TestBed, clientAuth: string): Promise<Arena> {
  const backend = testBed.use(echoBackend());
  const server = await testBed.server(backend.address, {
    tls: { client_auth: clientAuth },
  });
  const { ca } = testBed.pki;
  const insider = makeCa({ subject: "insider", issuer: ca });
  return { server, chains: hostileChains(ca, insider) };
}

async function attack(
  server: TestDaemon,
  version: Version,
  { chain, key }: HostileChain,
): Promise<void> {
  const { text } = await playClient(server.port, version, { chain, key });
  assert.equal(text, "", "it was let in");
}

/** Seconds of CPU for one chain, beyond those of an unknown peer's short one. */
async function costOf(
  server: TestDaemon,
  version: Version,
  chain: HostileChain,
  times: number,
): Promise<number> {
  const before = await cpuSeconds(server.pid);
  for (let i = 0; i < times; i++) await attack(server, version, chain);
  return (await cpuSeconds(server.pid) - before) / times;
}

async function alone(clientAuth: string, times: number): Promise<string> {
  await using testBed = await TestBed.create();
  const { server, chains } = await arena(testBed, clientAuth);
  const [first] = chains;
  assert.ok(first);
  // What is compiled on the first use is no shape's cost.
  for (const chain of chains) await attack(server, "TLS1.3", chain);
  const costs: { readonly name: string; readonly cost: number }[] = [];
  for (const [i, chain] of chains.entries()) {
    const version = i % 2 === 0 ? "TLS1.3" : "TLS1.2";
    costs.push({ name: chain.name, cost: await costOf(server, version, chain, times) });
  }
  costs.sort((a, b) => b.cost - a.cost);
  const told = ({ name, cost }: { name: string; cost: number }) => `${name} ${cost.toFixed(3)} s`;
  const dear = costs.filter(({ cost }) => cost > MAX_CPU);
  assert.deepEqual(dear.map(told), []);
  const [most, second, third] = costs;
  assert.ok(most && second && third);
  return `${chains.length} shapes; the dearest: ${[most, second, third].map(told).join(", ")}`;
}

/** Echoes through a daemon in a thread of its own; asked for the longest echo since the last question. */
class Echo implements Disposable {
  readonly #worker = new Worker(new URL("./chains_echo.ts", import.meta.url), { type: "module" });

  constructor(server: TestDaemon, { ca, client }: TestPki) {
    const settings: EchoSettings = {
      port: server.port,
      ca: ca.pem,
      cert: client.pem,
      key: client.keyPem,
    };
    this.#worker.postMessage(settings);
  }

  longest(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#worker.onmessage = ({ data }: MessageEvent<number>) => resolve(data);
      this.#worker.onerror = (event) => reject(new Error(event.message));
      this.#worker.postMessage("longest");
    });
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
  }
}

async function together(rounds: number): Promise<string> {
  await using testBed = await TestBed.create();
  const { server, chains } = await arena(testBed, "required");
  for (const chain of chains) await attack(server, "TLS1.3", chain);
  using echo = new Echo(server, testBed.pki);
  await server.waitForMetric("mtlsd_active_connections", 1);
  await echo.longest();
  await new Promise((done) => setTimeout(done, 500));
  const quiet = await echo.longest();
  const stalls: { readonly name: string; readonly stall: number }[] = [];
  for (const chain of chains) {
    const longest: number[] = [];
    for (let round = 0; round < rounds; round++) {
      await echo.longest();
      await Promise.all(Array.from({ length: AT_ONCE }, () => attack(server, "TLS1.3", chain)));
      longest.push(await echo.longest());
    }
    const stall = longest.toSorted((a, b) => a - b)[rounds >> 1] ?? Infinity;
    stalls.push({ name: chain.name, stall });
  }
  stalls.sort((a, b) => b.stall - a.stall);
  const [most] = stalls;
  assert.ok(most);
  assert.ok(most.stall < MAX_STALL, `${most.name}: ${most.stall.toFixed(0)} ms`);
  return `longest echo ${quiet.toFixed(0)} ms without, ${most.stall.toFixed(0)} ms beside ` +
    `${AT_ONCE} of the worst (${most.name})`;
}

/** The rows. */
export const rows: readonly Row[] = [
  ...["required", "optional"].map((clientAuth): Row => ({
    subject: "server",
    fault: `hostile chains of every shape, client_auth ${clientAuth}`,
    holds: `none is let in; ${MAX_CPU} s of CPU at most for each`,
    run: (scale) => alone(clientAuth, scale === "full" ? 20 : 5),
  })),
  {
    subject: "server",
    fault: `${AT_ONCE} hostile chains at once, of every shape`,
    holds:
      `an established connection's longest echo is less than ${MAX_STALL} ms, median of some rounds`,
    run: (scale) => together(scale === "full" ? 5 : 3),
  },
];
