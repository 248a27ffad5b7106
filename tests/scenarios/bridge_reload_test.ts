/**
 * Bridge mode while the world changes: each peer of an open connection, the one that connected and the
 * target, is authorized by its own side's trust and rules.
 *
 * @module
 */

import assert from "node:assert/strict";
import { makeCrl } from "../support/crl.ts";
import type { TestDaemon } from "../support/daemon.ts";
import { BridgeTestBed } from "../support/bridge_testbed.ts";
import { EchoClient, EchoLoop } from "../support/clients.ts";
import { chainPem, dns, ip, type Issued, makeCa, makeLeaf } from "../support/pki.ts";
import { byRename, changeFile, changeRules, serialSeen } from "../support/reload.ts";
import { until } from "../support/wait.ts";
import { assertAllClosesCounted, closedSeries } from "../support/metrics.ts";
import { attempt } from "../support/peers.ts";

/** A client of the near domain. */
function client({ testBed }: BridgeTestBed, subject: string, notAfter?: Date): Issued {
  const until = notAfter === undefined ? {} : { notAfter };
  return makeLeaf({ role: "client", subject, ...until }, testBed.pki.ca);
}

/** Opens a connection that is closed at the end. */
async function open(
  gateway: BridgeTestBed,
  bridge: TestDaemon,
  identity = gateway.testBed.pki.client,
): Promise<EchoClient> {
  return gateway.testBed.use(await EchoClient.open({ ...gateway.as(bridge), identity }));
}

/** Everybody with a certificate of the far domain is gone, with this reason. */
async function allEnded(
  bridge: TestDaemon,
  reason: string,
  ...held: readonly EchoClient[]
): Promise<void> {
  for (const one of held) await one.ended();
  await bridge.waitForMetric(closedSeries(reason), held.length);
  await bridge.waitForMetric("mtlsd_active_connections", 0);
  await assertAllClosesCounted(bridge);
}

Deno.test("bridge: a client that its rules no longer admit goes, the others stay", async () => {
  await using gateway = await BridgeTestBed.create();
  const bridge = await gateway.bridge(gateway.echo().address);
  const [red, blue] = [
    await open(gateway, bridge, client(gateway, "red")),
    await open(gateway, bridge, client(gateway, "blue")),
  ];
  await using _chatter = new EchoLoop(blue);
  await changeRules(bridge, { deny_cn: ["red"] });
  await red.ended();
  const line = await bridge.waitForLog("listener: connection closed", { reason: "denied" });
  assert.equal(line.fields.peer_cn, "red");
  assert.equal(line.fields.lost_by, "client");
  assert.match(line.fields.rule ?? "", /deny_cn/);
  await bridge.waitForMetric(closedSeries("denied"), 1);
  await assertAllClosesCounted(bridge);
});

Deno.test("bridge: a target that upstream_acl no longer admits loses every connection", async () => {
  await using gateway = await BridgeTestBed.create();
  const bridge = await gateway.bridge(gateway.echo().address);
  const held = [await open(gateway, bridge), await open(gateway, bridge)];
  {
    await using _chatter = new EchoLoop(...held);
    // The downstream side's rules have nothing to say of the target, and the other way round.
    await changeRules(bridge, { deny_cn: ["localhost"] });
    await changeRules(bridge, { deny_cn: ["frontend-service"] }, "upstream_acl");
    await changeRules(bridge, { mode: "audit", deny_cn: ["localhost"] }, "upstream_acl");
  }
  await changeRules(bridge, { deny_cn: ["localhost"] }, "upstream_acl");
  await allEnded(bridge, "denied", ...held);
  const line = await bridge.waitForLog("listener: connection closed", { reason: "denied" });
  assert.equal(line.fields.peer_cn, "localhost", "the log says who lost its leave");
  assert.equal(line.fields.lost_by, "server");
  assert.equal(await attempt(gateway.as(bridge)), "");
  await bridge.waitForLog("dialer: denied connection", { rule: "upstream_acl.deny_cn: localhost" });
});

Deno.test("bridge: a CA that leaves its bundle takes its side's peers with it, and no others", async () => {
  await using gateway = await BridgeTestBed.create();
  const { testBed, targetPki: upstream, files } = gateway;
  const other = makeCa({ subject: "other CA" });
  await Deno.writeTextFile(testBed.files.ca, chainPem(testBed.pki.ca, other));
  const bridge = await gateway.bridge(gateway.echo().address);
  const foreign = makeLeaf({ role: "client", subject: "foreign" }, other);
  const [mine, theirs] = [
    await open(gateway, bridge),
    await open(gateway, bridge, foreign),
  ];
  {
    await using _chatter = new EchoLoop(mine);
    await changeFile(bridge, testBed.files.ca, testBed.pki.ca.pem);
    await theirs.ended();
    const line = await bridge.waitForLog("listener: connection closed", { reason: "untrusted" });
    assert.equal(line.fields.peer_cn, "foreign");
    // A CA more in the upstream bundle changes nothing.
    await changeFile(bridge, files.ca, chainPem(upstream.ca, other));
  }
  await bridge.waitForMetric(closedSeries("untrusted"), 1);
  // The near domain's CA in place of the far one's does not make it trusted there.
  await changeFile(bridge, files.ca, testBed.pki.ca.pem);
  await mine.ended();
  await bridge.waitForMetric(closedSeries("untrusted"), 2);
  assert.equal(await attempt(gateway.as(bridge)), "");
  await bridge.waitForLog("dialer: handshake failed", { reason: "untrusted" });
  await assertAllClosesCounted(bridge);
});

for (const side of ["near", "far"] as const) {
  Deno.test(`bridge: a certificate that is revoked on the ${side} side`, async () => {
    await using gateway = await BridgeTestBed.create();
    const { testBed, targetPki: upstream } = gateway;
    await Deno.mkdir(`${testBed.dir}/lists`);
    const downstream = await testBed.write("lists/near.pem", makeCrl(testBed.pki.ca).pem);
    const there = await testBed.write("lists/far.pem", makeCrl(upstream.ca).pem);
    const bridge = await gateway.bridge(gateway.echo().address, {
      tls: { crl: downstream },
      upstream_tls: { crl: there },
    });
    const held = await open(gateway, bridge);
    const other = await open(gateway, bridge, client(gateway, "other"));
    if (side === "near") {
      await using _chatter = new EchoLoop(other);
      const crl = makeCrl(testBed.pki.ca, { revoked: [testBed.pki.client] });
      await changeFile(bridge, downstream, crl.pem);
      await held.ended();
      await bridge.waitForMetric(closedSeries("revoked"), 1);
      assert.equal(await attempt(gateway.as(bridge)), "");
      await bridge.waitForLog("listener: handshake failed", { reason: "revoked" });
    } else {
      await changeFile(bridge, there, makeCrl(upstream.ca, { revoked: [upstream.server] }).pem);
      await allEnded(bridge, "revoked", held, other);
      assert.equal(await attempt(gateway.as(bridge)), "");
      await bridge.waitForLog("dialer: handshake failed", { reason: "revoked" });
    }
  });

  Deno.test(`bridge: a certificate that expires on the ${side} side`, async () => {
    await using gateway = await BridgeTestBed.create();
    const { testBed, targetPki: upstream } = gateway;
    // The second that is written counts in full. The bridge has yet to start.
    const notAfter = new Date(Math.ceil((Date.now() + 7000) / 1000) * 1000);
    const expires = notAfter.getTime() + 1000;
    const san = [dns("localhost"), ip("127.0.0.1")];
    const short = makeLeaf({ role: "server", subject: "short", san, notAfter }, upstream.ca);
    const target = side === "near" ? gateway.echo() : gateway.echo(short);
    const bridge = await gateway.bridge(target.address);
    const downstream = side === "near" ? client(gateway, "short", notAfter) : testBed.pki.client;
    const leaving = await open(gateway, bridge, downstream);
    // What the target's certificate carries is everybody.
    if (side === "near") testBed.use(new EchoLoop(await open(gateway, bridge)));
    const at = performance.timeOrigin + await leaving.ended();
    assert.ok(at >= expires - 5, `${at - expires} ms after it expired`);
    const line = await bridge.waitForLog("listener: connection closed", { reason: "expired" });
    assert.equal(line.fields.peer_cn, "short");
    await bridge.waitForMetric(closedSeries("expired"), 1);
  });
}

Deno.test("bridge: both identities are renewed, under load", async () => {
  await using gateway = await BridgeTestBed.create();
  const { testBed, targetPki: upstream, files } = gateway;
  const target = gateway.echo();
  const bridge = await gateway.bridge(target.address);
  const held = await open(gateway, bridge);
  const [downstream, there] = [
    makeLeaf({ role: "server", subject: "new", san: [dns("localhost")] }, testBed.pki.ca),
    makeLeaf({ role: "client", subject: "new" }, upstream.ca),
  ];
  await using _chatter = new EchoLoop(held);
  const before = await serialSeen(gateway.as(bridge));
  await byRename(testBed.dir, {
    "server.pem": downstream.pem,
    "server-key.pem": downstream.keyPem,
  });
  await until(async () => await serialSeen(gateway.as(bridge)) !== before);
  await byRename(`${testBed.dir}/far`, { "client.pem": there.pem, "client-key.pem": there.keyPem });
  const old = target.clientSerials[0];
  await until(async () => {
    assert.equal(await attempt(gateway.as(bridge)), "hello");
    return target.clientSerials.at(-1) !== old;
  });
  assert.equal(held.endedAt, undefined);
  // A pair that does not match is refused as a whole; both sides go on as they were.
  const serial = await serialSeen(gateway.as(bridge));
  await byRename(`${testBed.dir}/far`, { "client-key.pem": upstream.server.keyPem });
  await bridge.waitForLog("certstore: reload failed, keeping the previous certificates");
  assert.equal(await attempt(gateway.as(bridge)), "hello");
  assert.equal(await serialSeen(gateway.as(bridge)), serial);
  assert.equal(files.client, `${testBed.dir}/far/client.pem`);
});

Deno.test("bridge: a drain lets open connections end, and no new ones begin", async () => {
  await using gateway = await BridgeTestBed.create();
  const bridge = await gateway.bridge(gateway.echo().address);
  const held = await EchoClient.open(gateway.as(bridge));
  bridge.kill("SIGTERM");
  await bridge.waitForLog("shutting down");
  await until(async () => await attempt(gateway.as(bridge)) === "");
  for (let i = 0; i < 20; i++) await held.echo(`${i}`);
  await held[Symbol.asyncDispose]();
  assert.equal(await bridge.exit(), 0);
});
