/**
 * Connections lose what they were let in with: after a change of rules or CAs, or when the peer's
 * certificate expires, those that would not be let in now are closed, and the others do not notice.
 *
 * @module
 */

import assert from "node:assert/strict";
import { EchoClient, EchoLoop } from "../support/clients.ts";
import { StallingProxy, unacceptingTarget } from "../support/proxies.ts";
import { type ClientOptions, connectTls, echoBackend } from "../support/peers.ts";
import { chainPem, type Issued, makeCa, makeLeaf } from "../support/pki.ts";
import { TestBed } from "../support/testbed.ts";
import { Peer } from "../support/sockets.ts";
import { assertAllClosesCounted, closedSeries } from "../support/metrics.ts";
import { changeFile, changeRules } from "../support/reload.ts";

/** A client of the test bed's CA, or of another. */
function client(testBed: TestBed, subject: string, issuer = testBed.pki.ca): Issued {
  return makeLeaf({ role: "client", subject }, issuer);
}

/** Opens a connection that is closed at the end of the test. */
async function open(testBed: TestBed, options: ClientOptions): Promise<EchoClient> {
  return testBed.use(await EchoClient.open(options));
}

Deno.test("a change of rules closes whom they do not admit, and says why", async () => {
  await using testBed = await TestBed.create();
  const server = await testBed.server(testBed.use(echoBackend()).address);
  const as = (name: string) => ({ ...testBed.as(server), identity: client(testBed, name) });
  const [red, green, blue] = [
    await open(testBed, as("red")),
    await open(testBed, as("green")),
    await open(testBed, as("blue")),
  ];
  {
    await using chatter = new EchoLoop(red, blue);
    await changeRules(server, { deny_cn: ["green"] });
    await green.ended();
    const line = await server.waitForLog("listener: connection closed", { reason: "denied" });
    assert.equal(line.fields.peer_cn, "green");
    assert.match(line.fields.rule ?? "", /deny_cn/);
    assert.equal(line.fields.error, "a deny rule matches");
    const before = chatter.rounds;
    await server.waitForMetric(closedSeries("denied"), 1);
    assert.ok(chatter.rounds >= before);
  }
  {
    await using _chatter = new EchoLoop(blue);
    await changeRules(server, { allow_cn: ["blue"] });
    await red.ended();
    await server.waitForMetric(closedSeries("denied"), 2);
  }
  // Counting is for those who ask to come in.
  const series = await server.metrics();
  assert.equal(series.get('mtlsd_acl_decisions_total{result="denied"}'), 0);
  assert.equal(series.get("mtlsd_active_connections"), 1);
  await assertAllClosesCounted(server);
});

Deno.test("rules on trial close nobody; put in force, they do", async () => {
  await using testBed = await TestBed.create();
  const server = await testBed.server(testBed.use(echoBackend()).address);
  const red = await open(testBed, { ...testBed.as(server), identity: client(testBed, "red") });
  await changeRules(server, { mode: "audit", allow_cn: ["nobody"] });
  await changeRules(server, { mode: "audit", deny_cn: ["red"] });
  for (let i = 0; i < 20; i++) await red.echo(`${i}`);
  assert.equal((await server.metrics()).get(closedSeries("denied")), 0);
  await changeRules(server, { deny_cn: ["red"] });
  await red.ended();
  await server.waitForMetric(closedSeries("denied"), 1);
});

Deno.test("a CA that leaves the bundle takes its connections with it", async () => {
  await using testBed = await TestBed.create();
  const other = makeCa({ subject: "other CA" });
  await Deno.writeTextFile(testBed.files.ca, chainPem(testBed.pki.ca, other));
  const server = await testBed.server(testBed.use(echoBackend()).address);
  const mine = await open(testBed, testBed.as(server));
  const theirs = await open(testBed, {
    ...testBed.as(server),
    identity: client(testBed, "foreign", other),
  });
  await using _chatter = new EchoLoop(mine);
  await changeFile(server, testBed.files.ca, testBed.pki.ca.pem);
  await theirs.ended();
  const line = await server.waitForLog("listener: connection closed", { reason: "untrusted" });
  assert.equal(line.fields.peer_cn, "foreign");
  assert.match(line.fields.error ?? "", /no chain of valid signatures/);
  await server.waitForMetric(closedSeries("untrusted"), 1);
  await assertAllClosesCounted(server);
});

Deno.test("a connection ends with its certificate", async () => {
  await using testBed = await TestBed.create();
  const server = await testBed.server(testBed.use(echoBackend()).address);
  // The second that is written counts in full.
  const notAfter = new Date(Math.ceil((Date.now() + 5000) / 1000) * 1000);
  const expires = notAfter.getTime() + 1000;
  const short = makeLeaf({ role: "client", subject: "short", notAfter }, testBed.pki.ca);
  const leaving = await open(testBed, { ...testBed.as(server), identity: short });
  const staying = await open(testBed, testBed.as(server));
  await using _chatter = new EchoLoop(staying);
  const at = performance.timeOrigin + await leaving.ended();
  assert.ok(at >= expires - 5, `${at - expires} ms after it expired`);
  const line = await server.waitForLog("listener: connection closed", { reason: "expired" });
  assert.equal(line.fields.peer_cn, "short");
  await server.waitForMetric(closedSeries("expired"), 1);
});

Deno.test("of 300 connections the half that loses access is closed, the other half stays", async () => {
  await using testBed = await TestBed.create();
  const server = await testBed.server(testBed.use(echoBackend()).address);
  const clients: EchoClient[] = [];
  let next = 0;
  const opener = async () => {
    while (next < 300) {
      const number = next++;
      const identity = client(testBed, `${number % 2 === 0 ? "even" : "odd"}`);
      clients[number] = await open(testBed, { ...testBed.as(server), identity });
    }
  };
  await Promise.all(Array.from({ length: 16 }, opener));
  const [even, odd] = [0, 1].map((rest) => clients.filter((_, number) => number % 2 === rest));
  assert.ok(even && odd);
  {
    await using _chatter = new EchoLoop(...even.slice(0, 20));
    await changeRules(server, { deny_cn: ["odd"] });
    // How soon, the fault suite measures.
    await Promise.all(odd.map((client) => client.ended()));
  }
  await Promise.all(even.map((client) => client.echo("still here")));
  await server.waitForMetric(closedSeries("denied"), 150);
  await server.waitForLog("listener: reauthorized open connections", {
    checked: "300",
    ended: "150",
  });
  await assertAllClosesCounted(server);
});

Deno.test("a change during the handshake is part of the decision", async () => {
  for (const change of ["rules", "bundle"] as const) {
    await using testBed = await TestBed.create();
    const backend = testBed.use(echoBackend());
    const other = makeCa({ subject: "other CA" });
    await Deno.writeTextFile(testBed.files.ca, chainPem(testBed.pki.ca, other));
    const server = await testBed.server(backend.address);
    const way = testBed.use(new StallingProxy(server.port));
    const identity = client(testBed, "late", other);
    const connecting = EchoClient.connect({ ...testBed.as(server), port: way.port, identity });
    const late = testBed.use(await connecting);
    // With TLS 1.3 the client is done; its certificate is on the way.
    if (change === "rules") await changeRules(server, { deny_cn: ["late"] });
    else await changeFile(server, testBed.files.ca, testBed.pki.ca.pem);
    assert.equal(late.endedAt, undefined);
    assert.equal(way.held, 1);
    way.release();
    await late.ended();
    if (change === "rules") {
      await server.waitForLog("listener: denied connection", { peer_cn: "late" });
      await server.waitForMetric(closedSeries("denied"), 1);
    } else {
      await server.waitForLog("listener: handshake failed", { reason: "untrusted" });
      await server.waitForMetric(closedSeries("untrusted"), 1);
    }
    assert.equal(backend.connections, 0);
    await assertAllClosesCounted(server);
  }
});

Deno.test("a change while the target is dialled ends the attempt", async () => {
  await using testBed = await TestBed.create();
  using target = await unacceptingTarget();
  const server = await testBed.server(target.address);
  const waiting = testBed.use(await EchoClient.connect(testBed.as(server)));
  await server.waitForLog("listener: accepted connection");
  await changeRules(server, { deny_org: ["acme"] });
  await waiting.ended();
  const line = await server.waitForLog("listener: connection closed", { reason: "denied" });
  assert.match(line.fields.rule ?? "", /deny_org/);
  assert.equal((await server.metrics()).get("mtlsd_dial_errors_total"), 0);
  await assertAllClosesCounted(server);
});

Deno.test("changes during a storm of handshakes let nobody slip through", async () => {
  await using testBed = await TestBed.create();
  const server = await testBed.server(testBed.use(echoBackend()).address);
  const identity = client(testBed, "storm");
  const opened: EchoClient[] = [];
  let storming = true;
  const storm = async () => {
    while (storming) {
      const one = await EchoClient.connect({ ...testBed.as(server), identity }).catch(() => {});
      if (one !== undefined) opened.push(testBed.use(one));
    }
  };
  const storms = Array.from({ length: 8 }, storm);
  for (let i = 0; i < 5; i++) {
    await changeRules(server, { allow_cn: ["storm"] });
    await changeRules(server, { deny_cn: ["storm"] });
  }
  storming = false;
  await Promise.all(storms);
  // Connections accepted in between were found again: the current rules admit none of them.
  await server.waitForMetric("mtlsd_active_connections", 0);
  await Promise.all(opened.map((one) => one.ended()));
  await assertAllClosesCounted(server);
});

Deno.test("a peer without a certificate is judged again like everybody", async () => {
  await using testBed = await TestBed.create();
  const rules = { allow_cn: ["frontend-service"] };
  const server = await testBed.server(testBed.use(echoBackend()).address, {
    tls: { client_auth: "optional" },
    acl: { ...rules, allow_anonymous: true },
  });
  const named = await open(testBed, testBed.as(server));
  const nameless = await open(testBed, { port: server.port, ca: testBed.pki.ca.pem });
  await using _chatter = new EchoLoop(named);
  await changeRules(server, { ...rules, allow_anonymous: false });
  await nameless.ended();
  await server.waitForLog("listener: connection closed", {
    reason: "denied",
    error: /no certificate shown/,
  });
  await server.waitForMetric(closedSeries("denied"), 1);
});

Deno.test("client mode judges the server again, by rules and by CAs", async () => {
  await using testBed = await TestBed.create();
  const ca = await testBed.write("near-ca.pem", testBed.pki.ca.pem);
  const { client: downstream, server } = await testBed.tunnel(testBed.use(echoBackend()).address, {
    client: { tls: { ca } },
  });
  const echo = async () => {
    const peer = testBed.use(await Peer.connect(downstream.port));
    await peer.send("hello");
    await peer.receives("hello");
    return peer;
  };
  const denied = await echo();
  await changeRules(downstream, { deny_dns: ["localhost"] });
  await denied.ended();
  const line = await downstream.waitForLog("dialer: connection closed", { reason: "denied" });
  assert.match(line.fields.rule ?? "", /deny_dns/);
  await changeRules(downstream, {});
  const untrusted = await echo();
  const other = makeCa({ subject: "other CA" });
  await changeFile(downstream, ca, other.pem);
  await untrusted.ended();
  await downstream.waitForLog("dialer: connection closed", { reason: "untrusted" });
  await downstream.waitForMetric("mtlsd_active_connections", 0);
  await server.waitForMetric("mtlsd_active_connections", 0);
  await assertAllClosesCounted(downstream);
  await assertAllClosesCounted(server);
});

Deno.test("a renewal of the own certificate closes nobody", async () => {
  await using testBed = await TestBed.create();
  const server = await testBed.server(testBed.use(echoBackend()).address);
  const held = await open(testBed, testBed.as(server));
  const from = server.lines.length;
  server.kill("SIGHUP");
  await server.waitForLog("certstore: certificates reloaded successfully", {}, from);
  await held.echo("still here");
  const socket = await connectTls(testBed.as(server));
  socket.destroy();
  assert.equal(held.endedAt, undefined);
});
