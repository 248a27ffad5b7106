/**
 * `mtlsd explain` and the daemon agree on chains of every kind: each flaw at each place, pairs of flaws,
 * sizes up to the limit of a handshake message; shown to a real daemon in both roles, by a TLS peer that
 * holds the key.
 *
 * @module
 */

import assert from "node:assert/strict";
import { explain } from "../../src/commands/explain.ts";
import { playClient } from "../support/adversary/client.ts";
import { playServer, type ServerPlay } from "../support/adversary/server.ts";
import type { TestDaemon } from "../support/daemon.ts";
import { plainEnd } from "../support/conns.ts";
import { echoBackend } from "../support/peers.ts";
import * as pki from "../support/pki.ts";
import { TestBed } from "../support/testbed.ts";
import { PeerServer } from "../support/sockets.ts";
import { until } from "../support/wait.ts";
import { FLAWS } from "../support/x509/flaws.ts";
import { Prng } from "../support/prng.ts";

type Case = { readonly name: string; readonly chain: readonly pki.Issued[] };

/** Says whether a peer was let in, and why not where that is known. */
type Outcome = { readonly letIn: boolean; readonly reason: string | undefined };

const SEED = 11;
/** The TLS engine gave up before anybody looked at the chain: of a key or a size that it does not take. */
const BY_RUNTIME = /did not prove that it holds|certificate was refused: |PayloadTooLarge/;

function chainOf(ca: pki.Issued, leafFlaw: string, middleFlaw: string, more = 0): Case {
  const middle = pki.makeCa({ subject: "middle", issuer: ca, ...FLAWS[middleFlaw] });
  const san = [pki.dns("localhost")];
  const subject = { O: "acme", CN: "leaf" };
  const leaf = pki.makeLeaf({ subject, san, ...FLAWS[leafFlaw] }, middle);
  const ballast = more === 0
    ? []
    : [pki.makeLeaf({ subject: "ballast", san: [pki.dns("x".repeat(more))] })];
  return {
    name: `${leafFlaw} (leaf), ${middleFlaw} (middle), ${more} bytes more`,
    chain: [leaf, middle, ...ballast],
  };
}

function casesOf(ca: pki.Issued): readonly Case[] {
  const flaws = Object.keys(FLAWS);
  const random = new Prng(SEED);
  return [
    ...flaws.map((flaw) => chainOf(ca, flaw, "none")),
    ...flaws.map((flaw) => chainOf(ca, "none", flaw)),
    ...Array.from({ length: 40 }, () => chainOf(ca, random.pick(flaws), random.pick(flaws))),
    ...[63_000, 64_300, 64_500, 65_000].map((more) => chainOf(ca, "none", "none", more)),
  ];
}

/** What `explain` says of each chain under the daemon's own config. */
async function ofExplain(testBed: TestBed, daemon: TestDaemon, { chain }: Case): Promise<Outcome> {
  const cert = await testBed.write("peer.pem", pki.chainPem(...chain));
  const lines: string[] = [];
  const status = await explain({ config: daemon.configPath, cert }, {
    stdout: (line) => void lines.push(line),
    stderr: (line) => void lines.push(line),
  });
  assert.ok(status === 0 || status === 1, lines.join("\n"));
  const reason = lines.find((line) => line.startsWith("chain: "))?.split(": ")[1];
  return { letIn: status === 0, reason: status === 0 ? undefined : reason };
}

/** The reason of the handshake that failed last; `undefined` where the TLS engine spoke first. */
async function failure(daemon: TestDaemon, from: number): Promise<string | undefined> {
  const { fields } = await until(
    () => daemon.lines.slice(from).find(({ fields }) => fields.msg?.endsWith(": handshake failed")),
    { what: () => `a handshake that failed in\n${daemon.log.slice(-2000)}` },
  );
  return BY_RUNTIME.test(fields.error ?? "") ? undefined : fields.reason;
}

/** Compares both on all chains, and says what they differ in. */
async function compare(
  testBed: TestBed,
  daemon: TestDaemon,
  show: (one: Case, i: number) => Promise<boolean>,
): Promise<void> {
  const differences: string[] = [];
  const counts = { in: 0, out: 0 };
  for (const [i, one] of casesOf(testBed.pki.ca).entries()) {
    const from = daemon.lines.length;
    const letIn = await show(one, i);
    const seen = { letIn, reason: letIn ? undefined : await failure(daemon, from) };
    const said = await ofExplain(testBed, daemon, one);
    counts[letIn ? "in" : "out"]++;
    const differ = seen.letIn !== said.letIn ||
      (seen.reason !== undefined && seen.reason !== said.reason);
    if (differ) differences.push(`${one.name}: ${JSON.stringify({ seen, said })}`);
  }
  assert.deepEqual(differences, []);
  assert.ok(counts.in > 30 && counts.out > 60, JSON.stringify(counts));
}

Deno.test("explain and a server agree on every chain", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const daemon = await testBed.server(backend.address);
  await compare(testBed, daemon, async ({ chain }, i) => {
    const play = { chain: chain.map(({ der }) => der), key: keyOf(chain) };
    const { text } = await playClient(daemon.port, i % 2 === 0 ? "TLS1.3" : "TLS1.2", play);
    return text !== "";
  });
});

Deno.test("explain and a client agree on every chain", async () => {
  await using testBed = await TestBed.create();
  let play: ServerPlay = { chain: [] };
  let version: "TLS1.2" | "TLS1.3" = "TLS1.3";
  const target = testBed.use(
    await PeerServer.listen((peer) => void playServer(peer, version, play)),
  );
  const daemon = await testBed.client(target.address);
  await compare(testBed, daemon, async ({ chain }, i) => {
    play = { chain: chain.map(({ der }) => der), key: keyOf(chain), welcome: "welcome" };
    version = i % 2 === 0 ? "TLS1.3" : "TLS1.2";
    await using end = await plainEnd(daemon.port);
    await end.write(new TextEncoder().encode("hello"));
    const heard = await end.read().catch(() => null);
    return heard !== null;
  });
});

function keyOf([leaf]: readonly pki.Issued[]) {
  assert.ok(leaf);
  return leaf.key;
}
