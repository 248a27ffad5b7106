/**
 * `proxy.max_lifetime`: no connection gets older, busy or not.
 *
 * @module
 */

import assert from "node:assert/strict";
import { assertBalanced, Chatter, closedBy, HeldClient } from "../support/held.ts";
import { stuckTarget } from "../support/hold_back.ts";
import { echoBackend } from "../support/peers.ts";
import { Scene } from "../support/scene.ts";
import { Peer } from "../support/sockets.ts";

Deno.test("max_lifetime closes a connection at that age, however busy it is", async () => {
  await using scene = await Scene.create();
  const { server, client } = await scene.tunnel(scene.use(echoBackend()).address, {
    server: { proxy: { max_lifetime: "1500ms" } },
  });
  const from = performance.now();
  const held = scene.use(await HeldClient.open(scene.as(server)));
  // It is told by its own failure; what counts here is when it ends.
  const chatter = new Chatter(held);
  const age = await held.ended() - from;
  await chatter[Symbol.asyncDispose]().catch(() => {});
  assert.ok(age >= 1490, `${age} ms`);
  assert.ok(chatter.rounds > 10);
  await server.waitForLog("listener: connection closed", { reason: "max_lifetime" });
  await server.waitForMetric(closedBy("max_lifetime"), 1);
  await assertBalanced(server);
  await assertBalanced(client);
});

Deno.test("max_lifetime holds in client mode, and while the target is dialled", async () => {
  await using scene = await Scene.create();
  const proxy = { max_lifetime: "700ms" };
  const server = await scene.server(scene.use(echoBackend()).address);
  const client = await scene.client(server.listen, { proxy });
  const peer = scene.use(await Peer.connect(client.port));
  await peer.send("hello");
  await peer.receives("hello");
  await peer.ended();
  await client.waitForLog("dialer: connection closed", { reason: "max_lifetime" });

  using target = await stuckTarget();
  const stuck = await scene.client(target.address, { proxy });
  const waiting = scene.use(await Peer.connect(stuck.port));
  await waiting.ended();
  await stuck.waitForMetric(closedBy("max_lifetime"), 1);
  assert.equal((await stuck.metrics()).get("mtlsd_dial_errors_total"), 0);
  await assertBalanced(stuck);
});

Deno.test("max_lifetime counts from accept: it cuts a handshake that takes longer", async () => {
  await using scene = await Scene.create();
  const server = await scene.server(scene.use(echoBackend()).address, {
    proxy: { max_lifetime: "300ms" },
  });
  const silent = scene.use(await Peer.connect(server.port));
  await silent.ended();
  await server.waitForMetric(closedBy("max_lifetime"), 1);
  await server.waitForMetric('mtlsd_tls_handshake_errors_total{reason="timeout"}', 1);
  await assertBalanced(server);
});
