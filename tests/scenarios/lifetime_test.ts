/**
 * `proxy.max_lifetime`: no connection gets older, busy or not.
 *
 * @module
 */

import assert from "node:assert/strict";
import { EchoClient, EchoLoop } from "../support/clients.ts";
import { unacceptingTarget } from "../support/proxies.ts";
import { echoBackend } from "../support/peers.ts";
import { TestBed } from "../support/testbed.ts";
import { Peer } from "../support/sockets.ts";
import { assertAllClosesCounted, closedSeries } from "../support/metrics.ts";

Deno.test("max_lifetime closes a connection at that age, however busy it is", async () => {
  await using testBed = await TestBed.create();
  const { server, client } = await testBed.tunnel(testBed.use(echoBackend()).address, {
    server: { proxy: { max_lifetime: "3s" } },
  });
  const from = performance.now();
  const held = testBed.use(await EchoClient.open(testBed.as(server)));
  // Its own failure shows it; what counts here is when it ends.
  const chatter = new EchoLoop(held);
  const age = await held.ended() - from;
  await chatter[Symbol.asyncDispose]().catch(() => {});
  assert.ok(age >= 2990, `${age} ms`);
  assert.ok(chatter.rounds > 10);
  await server.waitForLog("listener: connection closed", { reason: "max_lifetime" });
  await server.waitForMetric(closedSeries("max_lifetime"), 1);
  await assertAllClosesCounted(server);
  await assertAllClosesCounted(client);
});

Deno.test("max_lifetime holds in client mode, and while the target is dialled", async () => {
  await using testBed = await TestBed.create();
  const proxy = { max_lifetime: "2s" };
  const server = await testBed.server(testBed.use(echoBackend()).address);
  const client = await testBed.client(server.listen, { proxy });
  const peer = testBed.use(await Peer.connect(client.port));
  await peer.send("hello");
  await peer.receives("hello");
  await peer.ended();
  await client.waitForLog("dialer: connection closed", { reason: "max_lifetime" });

  using target = await unacceptingTarget();
  const stuck = await testBed.client(target.address, { proxy });
  const waiting = testBed.use(await Peer.connect(stuck.port));
  await waiting.ended();
  await stuck.waitForMetric(closedSeries("max_lifetime"), 1);
  assert.equal((await stuck.metrics()).get("mtlsd_dial_errors_total"), 0);
  await assertAllClosesCounted(stuck);
});

Deno.test("max_lifetime counts from accept: it cuts a handshake that takes longer", async () => {
  await using testBed = await TestBed.create();
  const server = await testBed.server(testBed.use(echoBackend()).address, {
    proxy: { max_lifetime: "300ms" },
  });
  const silent = testBed.use(await Peer.connect(server.port));
  await silent.ended();
  await server.waitForMetric(closedSeries("max_lifetime"), 1);
  await server.waitForMetric('mtlsd_tls_handshake_errors_total{reason="timeout"}', 1);
  await assertAllClosesCounted(server);
});
