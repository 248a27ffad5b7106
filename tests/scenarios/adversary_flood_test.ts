/**
 * The adversary's suite, quantity: peers that are slow, and many, and never come to the point. They cost
 * little, and keep no other peer out.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Arena, assertWholeLines, counter, holder } from "../support/adversary/arena.ts";
import { type ClientPlay, EARLY, playClient } from "../support/adversary/client.ts";
import { echoBackend } from "../support/peers.ts";
import { descriptors, residentBytes, waitForDescriptors } from "../support/process.ts";
import { TestBed } from "../support/testbed.ts";
import { Peer } from "../support/sockets.ts";
import { until } from "../support/wait.ts";
import { slowRows } from "./adversary/slow.ts";

Deno.test("peers that begin and do not go on", async (t) => {
  await using testBed = await TestBed.create();
  const { client } = testBed.pki;
  const backend = testBed.use(echoBackend());
  // A byte every 40 ms takes 5 s for a hello, and its 10 pieces less than half a second.
  const daemon = await testBed.server(backend.address, { tls: { handshake_timeout: "2s" } });
  const rows = slowRows(client);
  const from = daemon.lines.length;
  const attacks = rows.map(({ version, peer }) => playClient(daemon.port, version, peer));
  await daemon.waitForMetric("mtlsd_active_connections", rows.length);
  for (const version of ["TLS1.2", "TLS1.3"] as const) {
    const { text } = await playClient(daemon.port, version, holder(client));
    assert.equal(text, EARLY, "an honest client beside them");
  }
  const served = backend.connections;
  assert.equal(served, 2);
  const seen = await Promise.all(attacks);
  for (const [i, { name, version, refused }] of rows.entries()) {
    await t.step(`${name}, ${version}`, async () => {
      const { text, tickets, port } = seen[i] ?? assert.fail();
      const remote = `127.0.0.1:${port}`;
      const { fields } = await daemon.waitForLog("listener: handshake failed", { remote }, from);
      assert.equal(fields.reason, "handshake" in refused && refused.handshake);
      assert.match(fields.error ?? "", "error" in refused ? refused.error : /^$/);
      await daemon.waitForLog("listener: connection closed", { remote, reason: "error" }, from);
      assert.deepEqual({ text, tickets }, { text: "", tickets: 0 });
    });
  }
  await daemon.waitForMetric(counter.handshake("timeout"), rows.length);
  assert.equal(backend.connections, served);
  const arena = new Arena({ daemon, backend, good: holder(client) });
  for (const { name, version, control } of rows) {
    await t.step(`control: ${name}, ${version}`, () => arena.admits(version, control));
  }
  assertWholeLines(daemon);
});

for (const count of [200, 300]) {
  Deno.test(`${count} half-open handshakes`, async () => {
    await using testBed = await TestBed.create();
    const { client } = testBed.pki;
    const backend = testBed.use(echoBackend());
    const daemon = await testBed.server(backend.address);
    await daemon.metrics();
    const base = await descriptors(daemon.pid);
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    const open = (): Promise<unknown>[] => {
      const play: ClientPlay = {
        ...holder(client),
        hold: (step, peer) =>
          step === "certificate"
            ? Promise.race([released, peer.ended().then(() => {})])
            : Promise.resolve(),
        leave: { after: "certificate", how: "end" },
      };
      return Array.from({ length: count }, () => playClient(daemon.port, "TLS1.3", play));
    };
    const plays = open();
    // There are 256 places: beyond them the oldest are evicted.
    await daemon.waitForMetric(counter.accepted, count);
    const started = performance.now();
    const { text } = await playClient(daemon.port, "TLS1.3", holder(client));
    assert.equal(text, EARLY);
    assert.ok(performance.now() - started < 60_000);
    assert.equal(backend.connections, 1);
    release();
    await Promise.all(plays);
    await daemon.waitForMetric("mtlsd_active_connections", 0);
    await waitForDescriptors(daemon.pid, base);
    assert.equal(backend.connections, 1);
    // Those that go on get in; beyond the places the slowest would be evicted on a busy machine.
    const going = Math.min(count, 200);
    const control = Array.from(
      { length: going },
      () => playClient(daemon.port, "TLS1.3", holder(client)),
    );
    assert.deepEqual((await Promise.all(control)).filter((seen) => seen.text !== EARLY), []);
    assert.equal(backend.connections, going + 1);
  });
}

Deno.test("peers that have reset their connection before it was accepted", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const daemon = await testBed.server(backend.address);
  const good = holder(testBed.pki.client);
  daemon.kill("SIGSTOP");
  try {
    const peers = await Promise.all(Array.from({ length: 300 }, () => Peer.connect(daemon.port)));
    await Promise.all(peers.map((peer) => peer.send("x")));
    for (const peer of peers) peer.reset();
    await Promise.all(peers.map((peer) => peer[Symbol.asyncDispose]()));
  } finally {
    daemon.kill("SIGCONT");
  }
  // With a pause for each of them it would be minutes until the first honest one behind them is served.
  const started = performance.now();
  assert.equal((await playClient(daemon.port, "TLS1.3", good)).text, EARLY);
  assert.ok(performance.now() - started < 60_000, `${performance.now() - started} ms`);
  assert.equal(backend.connections, 1);
  assert.doesNotMatch(daemon.log, /accept failed/);
});

Deno.test("a peer that sends without end before it is let in fills no memory", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const daemon = await testBed.server(backend.address);
  const good = holder(testBed.pki.client);
  assert.equal((await playClient(daemon.port, "TLS1.3", good)).text, EARLY);
  const before = await residentBytes(daemon.pid);
  // Empty ChangeCipherSpec records are allowed in the middle of a handshake (RFC 8446 section 5).
  const block = new Uint8Array(Array.from({ length: 20_000 }, () => [20, 3, 3, 0, 1, 1]).flat());
  const seen = await playClient(daemon.port, "TLS1.3", {
    ...good,
    open: async (flight, peer) => {
      await peer.send(flight);
      for (let sent = 0; sent < 50_000_000 && peer.ending === "open"; sent += block.length) {
        await peer.send(block);
      }
    },
  });
  assert.equal(seen.text, "");
  await until(async () => await residentBytes(daemon.pid) - before < 16_000_000);
  assert.equal(backend.connections, 1);
  assert.equal((await playClient(daemon.port, "TLS1.3", good)).text, EARLY);
});
