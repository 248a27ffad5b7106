/**
 * Connections lose what they were let in with: after a change of rules or CAs, or when the peer's
 * certificate expires, those that would not be let in now are closed, and the others do not notice.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  assertBalanced,
  changeFile,
  changeRules,
  Chatter,
  closedBy,
  HeldClient,
} from "../support/held.ts";
import { HoldBack, stuckTarget } from "../support/hold_back.ts";
import { type ClientOptions, connectTls, echoBackend } from "../support/peers.ts";
import { chainPem, type Issued, makeCa, makeLeaf } from "../support/pki.ts";
import { Scene } from "../support/scene.ts";
import { Peer } from "../support/sockets.ts";

/** A client of the scene's CA, or of another. */
function client(scene: Scene, subject: string, issuer = scene.pki.ca): Issued {
  return makeLeaf({ role: "client", subject }, issuer);
}

/** Opens a connection that is closed at the end of the scene. */
async function open(scene: Scene, options: ClientOptions): Promise<HeldClient> {
  return scene.use(await HeldClient.open(options));
}

Deno.test("a change of rules closes whom they do not admit, and says why", async () => {
  await using scene = await Scene.create();
  const server = await scene.server(scene.use(echoBackend()).address);
  const as = (name: string) => ({ ...scene.as(server), identity: client(scene, name) });
  const [red, green, blue] = [
    await open(scene, as("red")),
    await open(scene, as("green")),
    await open(scene, as("blue")),
  ];
  {
    await using chatter = new Chatter(red, blue);
    await changeRules(server, { deny_cn: ["green"] });
    await green.ended();
    const line = await server.waitForLog("listener: connection closed", { reason: "denied" });
    assert.equal(line.fields.peer_cn, "green");
    assert.match(line.fields.rule ?? "", /deny_cn/);
    assert.equal(line.fields.error, "a deny rule matches");
    const before = chatter.rounds;
    await server.waitForMetric(closedBy("denied"), 1);
    assert.ok(chatter.rounds >= before);
  }
  {
    await using _chatter = new Chatter(blue);
    await changeRules(server, { allow_cn: ["blue"] });
    await red.ended();
    await server.waitForMetric(closedBy("denied"), 2);
  }
  // Counting is for those who ask to come in.
  const series = await server.metrics();
  assert.equal(series.get('mtlsd_acl_decisions_total{result="denied"}'), 0);
  assert.equal(series.get("mtlsd_active_connections"), 1);
  await assertBalanced(server);
});

Deno.test("rules on trial close nobody; put in force, they do", async () => {
  await using scene = await Scene.create();
  const server = await scene.server(scene.use(echoBackend()).address);
  const red = await open(scene, { ...scene.as(server), identity: client(scene, "red") });
  await changeRules(server, { mode: "audit", allow_cn: ["nobody"] });
  await changeRules(server, { mode: "audit", deny_cn: ["red"] });
  for (let i = 0; i < 20; i++) await red.echo(`${i}`);
  assert.equal((await server.metrics()).get(closedBy("denied")), 0);
  await changeRules(server, { deny_cn: ["red"] });
  await red.ended();
  await server.waitForMetric(closedBy("denied"), 1);
});

Deno.test("a CA that leaves the bundle takes its connections with it", async () => {
  await using scene = await Scene.create();
  const other = makeCa({ subject: "other CA" });
  await Deno.writeTextFile(scene.files.ca, chainPem(scene.pki.ca, other));
  const server = await scene.server(scene.use(echoBackend()).address);
  const mine = await open(scene, scene.as(server));
  const theirs = await open(scene, {
    ...scene.as(server),
    identity: client(scene, "foreign", other),
  });
  await using _chatter = new Chatter(mine);
  await changeFile(server, scene.files.ca, scene.pki.ca.pem);
  await theirs.ended();
  const line = await server.waitForLog("listener: connection closed", { reason: "untrusted" });
  assert.equal(line.fields.peer_cn, "foreign");
  assert.match(line.fields.error ?? "", /no chain of valid signatures/);
  await server.waitForMetric(closedBy("untrusted"), 1);
  await assertBalanced(server);
});

Deno.test("a connection ends with its certificate", async () => {
  await using scene = await Scene.create();
  const server = await scene.server(scene.use(echoBackend()).address);
  // The second that is written counts in full.
  const notAfter = new Date(Math.ceil((Date.now() + 2500) / 1000) * 1000);
  const expires = notAfter.getTime() + 1000;
  const short = makeLeaf({ role: "client", subject: "short", notAfter }, scene.pki.ca);
  const leaving = await open(scene, { ...scene.as(server), identity: short });
  const staying = await open(scene, scene.as(server));
  await using _chatter = new Chatter(staying);
  const at = performance.timeOrigin + await leaving.ended();
  assert.ok(at >= expires - 5, `${at - expires} ms after it expired`);
  const line = await server.waitForLog("listener: connection closed", { reason: "expired" });
  assert.equal(line.fields.peer_cn, "short");
  await server.waitForMetric(closedBy("expired"), 1);
});

Deno.test("of 300 connections the half that loses access is closed, the other half stays", async () => {
  await using scene = await Scene.create();
  const server = await scene.server(scene.use(echoBackend()).address);
  const clients: HeldClient[] = [];
  let next = 0;
  const opener = async () => {
    while (next < 300) {
      const number = next++;
      const identity = client(scene, `${number % 2 === 0 ? "even" : "odd"}`);
      clients[number] = await open(scene, { ...scene.as(server), identity });
    }
  };
  await Promise.all(Array.from({ length: 16 }, opener));
  const [even, odd] = [0, 1].map((rest) => clients.filter((_, number) => number % 2 === rest));
  assert.ok(even && odd);
  {
    await using _chatter = new Chatter(...even.slice(0, 20));
    await changeRules(server, { deny_cn: ["odd"] });
    // How soon, the fault suite measures.
    await Promise.all(odd.map((client) => client.ended()));
  }
  await Promise.all(even.map((client) => client.echo("still here")));
  await server.waitForMetric(closedBy("denied"), 150);
  await server.waitForLog("listener: judged open connections again", {
    judged: "300",
    ended: "150",
  });
  await assertBalanced(server);
});

Deno.test("a change during the handshake is part of the decision", async () => {
  for (const change of ["rules", "bundle"] as const) {
    await using scene = await Scene.create();
    const backend = scene.use(echoBackend());
    const other = makeCa({ subject: "other CA" });
    await Deno.writeTextFile(scene.files.ca, chainPem(scene.pki.ca, other));
    const server = await scene.server(backend.address);
    const way = scene.use(new HoldBack(server.port));
    const identity = client(scene, "late", other);
    const connecting = HeldClient.connect({ ...scene.as(server), port: way.port, identity });
    const late = scene.use(await connecting);
    // With TLS 1.3 the client is done; its certificate is on the way.
    if (change === "rules") await changeRules(server, { deny_cn: ["late"] });
    else await changeFile(server, scene.files.ca, scene.pki.ca.pem);
    assert.equal(late.endedAt, undefined);
    assert.equal(way.held, 1);
    way.release();
    await late.ended();
    if (change === "rules") {
      await server.waitForLog("listener: denied connection", { peer_cn: "late" });
      await server.waitForMetric(closedBy("denied"), 1);
    } else {
      await server.waitForLog("listener: handshake failed", { reason: "untrusted" });
      await server.waitForMetric(closedBy("untrusted"), 1);
    }
    assert.equal(backend.connections, 0);
    await assertBalanced(server);
  }
});

Deno.test("a change while the target is dialled ends the attempt", async () => {
  await using scene = await Scene.create();
  using target = await stuckTarget();
  const server = await scene.server(target.address);
  const waiting = scene.use(await HeldClient.connect(scene.as(server)));
  await server.waitForLog("listener: accepted connection");
  await changeRules(server, { deny_org: ["acme"] });
  await waiting.ended();
  const line = await server.waitForLog("listener: connection closed", { reason: "denied" });
  assert.match(line.fields.rule ?? "", /deny_org/);
  assert.equal((await server.metrics()).get("mtlsd_dial_errors_total"), 0);
  await assertBalanced(server);
});

Deno.test("changes during a storm of handshakes let nobody slip through", async () => {
  await using scene = await Scene.create();
  const server = await scene.server(scene.use(echoBackend()).address);
  const identity = client(scene, "storm");
  const opened: HeldClient[] = [];
  let storming = true;
  const storm = async () => {
    while (storming) {
      const one = await HeldClient.connect({ ...scene.as(server), identity }).catch(() => {});
      if (one !== undefined) opened.push(scene.use(one));
    }
  };
  const storms = Array.from({ length: 8 }, storm);
  for (let i = 0; i < 5; i++) {
    await changeRules(server, { allow_cn: ["storm"] });
    await changeRules(server, { deny_cn: ["storm"] });
  }
  storming = false;
  await Promise.all(storms);
  // Whoever got in between was found again: with the rules as they are nobody may be left.
  await server.waitForMetric("mtlsd_active_connections", 0);
  await Promise.all(opened.map((one) => one.ended()));
  await assertBalanced(server);
});

Deno.test("a peer without a certificate is judged again like everybody", async () => {
  await using scene = await Scene.create();
  const rules = { allow_cn: ["frontend-service"] };
  const server = await scene.server(scene.use(echoBackend()).address, {
    tls: { client_auth: "optional" },
    acl: { ...rules, allow_anonymous: true },
  });
  const named = await open(scene, scene.as(server));
  const nameless = await open(scene, { port: server.port, ca: scene.pki.ca.pem });
  await using _chatter = new Chatter(named);
  await changeRules(server, { ...rules, allow_anonymous: false });
  await nameless.ended();
  await server.waitForLog("listener: connection closed", {
    reason: "denied",
    error: /no certificate shown/,
  });
  await server.waitForMetric(closedBy("denied"), 1);
});

Deno.test("client mode judges the server again, by rules and by CAs", async () => {
  await using scene = await Scene.create();
  const ca = await scene.write("near-ca.pem", scene.pki.ca.pem);
  const { client: near, server } = await scene.tunnel(scene.use(echoBackend()).address, {
    client: { tls: { ca } },
  });
  const echo = async () => {
    const peer = scene.use(await Peer.connect(near.port));
    await peer.send("hello");
    await peer.receives("hello");
    return peer;
  };
  const denied = await echo();
  await changeRules(near, { deny_dns: ["localhost"] });
  await denied.ended();
  const line = await near.waitForLog("dialer: connection closed", { reason: "denied" });
  assert.match(line.fields.rule ?? "", /deny_dns/);
  await changeRules(near, {});
  const untrusted = await echo();
  const other = makeCa({ subject: "other CA" });
  await changeFile(near, ca, other.pem);
  await untrusted.ended();
  await near.waitForLog("dialer: connection closed", { reason: "untrusted" });
  await near.waitForMetric("mtlsd_active_connections", 0);
  await server.waitForMetric("mtlsd_active_connections", 0);
  await assertBalanced(near);
  await assertBalanced(server);
});

Deno.test("a renewal of the own certificate closes nobody", async () => {
  await using scene = await Scene.create();
  const server = await scene.server(scene.use(echoBackend()).address);
  const held = await open(scene, scene.as(server));
  const from = server.lines.length;
  server.kill("SIGHUP");
  await server.waitForLog("certstore: certificates reloaded successfully", {}, from);
  await held.echo("still here");
  const socket = await connectTls(scene.as(server));
  socket.destroy();
  assert.equal(held.endedAt, undefined);
});
