/**
 * Handshakes have places of their own: who is slow, or never says a word, does not keep out others.
 *
 * @module
 */

import assert from "node:assert/strict";
import { MAX_HANDSHAKES } from "../../src/proxy/limits.ts";
import type { TestDaemon } from "../support/daemon.ts";
import { EchoClient } from "../support/clients.ts";
import { StallingProxy } from "../support/proxies.ts";
import { octets } from "../support/proxy_protocol.ts";
import { ask, echoBackend } from "../support/peers.ts";
import { settled } from "../support/process.ts";
import { TestBed } from "../support/testbed.ts";
import { Peer } from "../support/sockets.ts";
import { until } from "../support/wait.ts";
import { assertAllClosesCounted, closedSeries } from "../support/metrics.ts";
import { balancer, behind, line, through } from "../support/proxy_protocol_peers.ts";

/** Slow peers stay so long where their place is not needed: longer than any test waits. */
const LONG = { handshake_timeout: "10m" };

/** Connections that the daemon has accepted. */
async function accepted(server: TestDaemon): Promise<number> {
  return (await server.metrics()).get("mtlsd_connections_total") ?? NaN;
}

/** A good client gets in: long before slow peers go by themselves, which takes {@linkcode LONG}. */
async function goodClient(testBed: TestBed, server: TestDaemon): Promise<EchoClient> {
  return testBed.use(await EchoClient.open(testBed.as(server)));
}

Deno.test("300 silent peers and 3 connections: a good client gets in, the oldest give way", async () => {
  await using testBed = await TestBed.create();
  const server = await testBed.server(testBed.use(echoBackend()).address, {
    proxy: { max_connections: 3 },
    tls: LONG,
  });
  const silent = await Promise.all(Array.from({ length: 300 }, () => Peer.connect(server.port)));
  for (const peer of silent) testBed.use(peer);
  const first = await goodClient(testBed, server);
  // Everybody was accepted, and no more than there is room for are still at it.
  const series = await server.metrics();
  const active = series.get("mtlsd_active_connections") ?? NaN;
  assert.ok(active <= MAX_HANDSHAKES + 1, `${active}`);
  const line = await server.waitForLog("listener: handshake failed", { reason: "timeout" });
  assert.match(line.fields.error ?? "", /gave way to newer connections/);
  assert.ok((series.get('mtlsd_tls_handshake_errors_total{reason="timeout"}') ?? 0) >= 44);
  const second = await goodClient(testBed, server);
  const third = await goodClient(testBed, server);
  for (const client of [first, second, third]) await client.echo("still here");
  await assertAllClosesCounted(server);
});

Deno.test("one address that takes all places evicts its own, and nobody at another", async () => {
  await using testBed = await TestBed.create();
  const server = await testBed.server(testBed.use(echoBackend()).address);
  const others = await Promise.all(
    Array.from({ length: 20 }, (_, i) => Peer.connect(server.port, `127.0.0.${2 + i % 4}`)),
  );
  for (const peer of others) testBed.use(peer);
  await server.waitForMetric("mtlsd_active_connections", others.length);
  const flood = await Promise.all(Array.from({ length: 400 }, () => Peer.connect(server.port)));
  for (const peer of flood) testBed.use(peer);
  await server.waitForMetric("mtlsd_connections_total", others.length + flood.length);
  await server.waitForMetric("mtlsd_active_connections", MAX_HANDSHAKES);
  await (await goodClient(testBed, server)).echo("still here");
  // Those that had all the time were there first, and are still.
  assert.ok(others.every(({ ending }) => ending === "open"));
  // Less those who found a place that was free, at most.
  await until(() => flood.filter(({ ending }) => ending !== "open").length >= 164);
  const failed = server.lines.filter(({ fields }) => fields.msg === "listener: handshake failed");
  assert.ok(failed.length > 0);
  for (const { fields } of failed) {
    assert.match(fields.remote ?? "", /^127\.0\.0\.1:/);
    assert.match(
      fields.error ?? "",
      /the oldest of \d+ handshakes from 127\.0\.0\.1, of 257 under/,
    );
  }
  await assertAllClosesCounted(server);
});

Deno.test("behind a balancer it is the client that counts, not the balancer", async () => {
  await using testBed = await TestBed.create();
  const server = await behind(testBed, testBed.use(echoBackend()).address);
  const arrive = async (count: number, host: number) => {
    const peers = await Promise.all(Array.from({ length: count }, () => Peer.connect(server.port)));
    for (const peer of peers) testBed.use(peer);
    await Promise.all(peers.map((peer, i) => peer.send(line(1024 + i, host))));
    return peers;
  };
  // A handshake that has begun, and slowly goes on.
  const slow = await arrive(20, 10);
  for (const peer of slow) await peer.send(Uint8Array.of(22));
  await server.waitForMetric("mtlsd_active_connections", slow.length);
  await arrive(400, 66);
  await server.waitForMetric("mtlsd_connections_total", 420);
  await server.waitForMetric("mtlsd_active_connections", MAX_HANDSHAKES);
  assert.ok(slow.every(({ ending }) => ending === "open"));
  const failed = server.lines.filter(({ fields }) => fields.msg === "listener: handshake failed");
  for (const { fields } of failed) assert.match(fields.remote ?? "", /^198\.51\.100\.66:/);
  const relay = await balancer(testBed, server.port, [octets(line(4711, 11))]);
  assert.equal(await ask(through(testBed, relay), "hello"), "hello");
  assert.ok(slow.every(({ ending }) => ending === "open"));
  await assertAllClosesCounted(server);
});

Deno.test("200 half-open handshakes do not keep out a good client", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const server = await testBed.server(backend.address, {
    proxy: { max_connections: 3 },
    tls: LONG,
  });
  const way = testBed.use(new StallingProxy(server.port));
  const opening = Array.from(
    { length: 200 },
    () => EchoClient.connect({ ...testBed.as(server), port: way.port }),
  );
  const halfOpen = await Promise.all(opening);
  for (const client of halfOpen) testBed.use(client);
  const good = await goodClient(testBed, server);
  assert.equal(backend.connections, 1);
  await good.echo("still here");
  assert.equal((await server.metrics()).get("mtlsd_active_connections"), 201);
  await assertAllClosesCounted(server);
});

Deno.test("handshakes that finish all at once: no more than max_connections are served, the rest wait", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const server = await testBed.server(backend.address, {
    proxy: { max_connections: 3 },
    tls: LONG,
  });
  const way = testBed.use(new StallingProxy(server.port));
  const connect = () => EchoClient.connect({ ...testBed.as(server), port: way.port });
  const clients = await Promise.all(Array.from({ length: 20 }, connect));
  for (const client of clients) testBed.use(client);
  way.release();
  const waiting = new Set(clients);
  const served: EchoClient[] = [];
  for (const client of clients) {
    void client.echo("hello").then(() => {
      waiting.delete(client);
      served.push(client);
    }, () => {});
  }
  for (let round = 3; round <= 20; round++) {
    await until(() => served.length >= round);
    await settled(() => served.length, 100);
    assert.equal(served.length, round);
    assert.equal(backend.connections, round);
    await served[round - 3]?.[Symbol.asyncDispose]();
  }
  assert.equal(waiting.size, 0);
  await assertAllClosesCounted(server);
});

Deno.test("with all connections taken nobody is accepted, nor told; then the next is served", async () => {
  await using testBed = await TestBed.create();
  const server = await testBed.server(testBed.use(echoBackend()).address, {
    proxy: { max_connections: 2 },
    tls: { handshake_timeout: "2s" },
  });
  const first = await goodClient(testBed, server);
  await goodClient(testBed, server);
  const waiting = EchoClient.open(testBed.as(server));
  // Longer than a handshake may take: that time starts with its turn.
  assert.equal(await settled(() => accepted(server), 2500), 2);
  await first[Symbol.asyncDispose]();
  testBed.use(await waiting);
  assert.equal(await accepted(server), 3);
  assert.equal((await server.metrics()).get("mtlsd_active_connections"), 2);
});

Deno.test("a stop ends the waits of those who have no connection yet", async () => {
  await using testBed = await TestBed.create();
  const server = await testBed.server(testBed.use(echoBackend()).address, {
    proxy: { max_connections: 1, shutdown_timeout: "500ms" },
  });
  const way = testBed.use(new StallingProxy(server.port));
  const connect = () => EchoClient.connect({ ...testBed.as(server), port: way.port });
  for (const client of await Promise.all([connect(), connect(), connect()])) testBed.use(client);
  way.release();
  await server.waitForMetric('mtlsd_acl_decisions_total{result="allowed"}', 3);
  await server.waitForLog("listener: accepted connection");
  assert.equal(await server.stop(), 1);
  const closed = server.lines.filter(({ fields }) => fields.msg === "listener: connection closed");
  assert.deepEqual(closed.map(({ fields }) => fields.reason), Array(3).fill("shutdown"));
});

Deno.test("slow peers go at the end of handshake_timeout when nobody needs their place", async () => {
  await using testBed = await TestBed.create();
  const server = await testBed.server(testBed.use(echoBackend()).address, {
    tls: { handshake_timeout: "2s" },
  });
  const silent = await Promise.all(Array.from({ length: 20 }, () => Peer.connect(server.port)));
  for (const peer of silent) testBed.use(peer);
  for (const peer of silent) await peer.ended();
  await server.waitForMetric('mtlsd_tls_handshake_errors_total{reason="timeout"}', 20);
  await server.waitForMetric(closedSeries("error"), 20);
  assert.doesNotMatch(server.log, /gave way/);
  await assertAllClosesCounted(server);
});
