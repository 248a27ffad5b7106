/**
 * Bridge mode: mTLS in, a new mTLS connection out, and not one byte before both peers are known.
 *
 * @module
 */

import assert from "node:assert/strict";
import { counter, counters, increase } from "../support/adversary/arena.ts";
import { playServer } from "../support/adversary/server.ts";
import { MB, readHash, Sending, tlsEnd, tlsTarget } from "../support/conns.ts";
import { BridgeTestBed } from "../support/bridge_testbed.ts";
import { EchoClient } from "../support/clients.ts";
import { unacceptingTarget } from "../support/proxies.ts";
import { attempt, connectTls, echoBackend } from "../support/peers.ts";
import { dns, type Issued, makeCa, makeLeaf, pathOf } from "../support/pki.ts";
import { serialOf } from "../support/crl.ts";
import { clientHello, Peer, PeerServer } from "../support/sockets.ts";
import { countLog } from "../support/daemon.ts";

/** A server of the upstream domain unless it has another issuer. */
function serverLeaf(issuer: Issued | undefined, name = "localhost", forged = false): Issued {
  return makeLeaf({ role: "server", subject: name, san: [dns(name)], forged }, issuer);
}

/** A serial number as the daemon writes it. */
function hex(issued: Issued): string {
  return serialOf(issued).toHex();
}

Deno.test("bridge: two domains joined, each side in the log, and counted once", async () => {
  await using gateway = await BridgeTestBed.create();
  const { targetPki: upstream } = gateway;
  const { address, clientSerials: clients } = gateway.echo();
  const bridge = await gateway.bridge(address);
  const before = await counters(bridge);
  assert.equal(await attempt(gateway.as(bridge)), "hello");
  assert.deepEqual(clients, [hex(upstream.client)]);
  const downstream = await bridge.waitForLog("listener: accepted connection");
  const dialled = await bridge.waitForLog("dialer: connected");
  assert.equal(downstream.fields.peer_cn, "frontend-service");
  assert.equal(dialled.fields.peer_cn, "localhost");
  assert.equal(dialled.fields.server, address);
  assert.equal(downstream.fields.remote, dialled.fields.remote);
  assert.ok(bridge.lines.indexOf(downstream) < bridge.lines.indexOf(dialled));
  await bridge.waitForLog("listener: connection closed", {
    reason: "completed",
    bytes_in: "5",
    bytes_out: "5",
    peer_cn: "frontend-service",
  });
  assert.deepEqual(increase(before, await counters(bridge)), {
    [counter.accepted]: 1,
    [counter.closed("completed")]: 1,
    [counter.acl("allowed")]: 2,
    'mtlsd_bytes_proxied_total{direction="client_to_target"}': 5,
    'mtlsd_bytes_proxied_total{direction="target_to_client"}': 5,
  });
  const series = await bridge.metrics();
  assert.equal(series.get("mtlsd_tls_handshake_duration_seconds_count"), 2);
  assert.equal(series.get('mtlsd_target_connections_total{target="0"}'), 1);
});

Deno.test("bridge: without upstream_tls one identity and one trust serve both sides", async () => {
  await using gateway = await BridgeTestBed.create();
  const { testBed } = gateway;
  const inner = await testBed.server(testBed.use(echoBackend()).address);
  const { ca, server, serverKey } = testBed.files;
  const both = makeLeaf({ subject: "both", san: [dns("localhost")] }, testBed.pki.ca);
  const cert = await testBed.write("both.pem", both.pem + both.keyPem);
  const bridge = await testBed.daemon({
    mode: "bridge",
    listen: "127.0.0.1:0",
    target: inner.listen,
    tls: { cert, key: cert, ca, server_name: "localhost" },
  });
  assert.equal(await attempt(testBed.as(bridge)), "hello");
  await inner.waitForLog("listener: accepted connection", { peer_cn: "both" });
  // Its certificate is not a client's: the next hop keeps it out, whatever this one thinks.
  const wrong = await testBed.daemon({
    mode: "bridge",
    listen: "127.0.0.1:0",
    target: inner.listen,
    tls: { cert: server, key: serverKey, ca, server_name: "localhost" },
  });
  assert.equal(await attempt(testBed.as(wrong)), "");
  await inner.waitForLog("listener: handshake failed");
});

Deno.test("bridge: who is not let in makes it dial nobody", async () => {
  await using gateway = await BridgeTestBed.create();
  const { testBed, targetPki: upstream } = gateway;
  const target = testBed.use(await PeerServer.listen());
  const bridge = await gateway.bridge(target.address, {
    acl: { allow_cn: ["frontend-service"] },
  });
  const { ca } = testBed.pki;
  const downstream = { port: bridge.port, ca: ca.pem };
  const untrusted = makeLeaf({ role: "client", subject: "frontend-service" }, makeCa());
  const forged = makeLeaf({ role: "client", subject: "frontend-service", forged: true }, ca);
  const past = new Date(Date.now() - 60_000);
  const expired = makeLeaf(
    { role: "client", subject: "frontend-service", notAfter: past },
    ca,
  );
  const other = makeLeaf({ role: "client", subject: "other" }, ca);
  const server = makeLeaf({ role: "server", subject: "frontend-service" }, ca);
  // The far domain's word does not count here, its own client's least of all.
  const impostor = makeLeaf({ role: "client", subject: "frontend-service" }, upstream.ca);
  for (const identity of [untrusted, forged, expired, other, server, impostor, upstream.client]) {
    assert.equal(await attempt({ ...downstream, identity }), "");
  }
  assert.equal(await attempt(downstream), "");
  await bridge.waitForMetric("mtlsd_active_connections", 0);
  assert.equal(target.peers.length, 0);
  const series = await bridge.metrics();
  assert.equal(series.get("mtlsd_connections_total"), 8);
  assert.equal(series.get('mtlsd_acl_decisions_total{result="denied"}'), 1);
  assert.equal(series.get('mtlsd_tls_handshake_errors_total{reason="no_certificate"}'), 1);
  assert.equal(series.get('mtlsd_tls_handshake_errors_total{reason="expired"}'), 1);
  assert.equal(countLog(bridge, "listener: accepted connection"), 0);
});

Deno.test("bridge: half a handshake makes it dial nobody, whatever it says early", async () => {
  await using gateway = await BridgeTestBed.create();
  const target = gateway.testBed.use(await PeerServer.listen());
  const bridge = await gateway.bridge(target.address, { tls: { handshake_timeout: "300ms" } });
  await using silent = await Peer.connect(bridge.port);
  await using half = await Peer.connect(bridge.port);
  await half.send(await clientHello());
  await silent.ended();
  await half.ended();
  await bridge.waitForMetric('mtlsd_tls_handshake_errors_total{reason="timeout"}', 2);
  assert.equal(target.peers.length, 0);
});

Deno.test("bridge: a target that is not what it should be hears not a byte", async () => {
  await using gateway = await BridgeTestBed.create();
  const { testBed, targetPki: upstream } = gateway;
  const target = testBed.use(await PeerServer.listen());
  const bridge = await gateway.bridge(target.address, {
    upstream_acl: { deny_dns: ["banned.example"] },
  });
  const past = new Date(Date.now() - 60_000);
  const san = [dns("localhost")];
  const rogues: readonly (readonly [name: string, leaf: Issued, reason: string])[] = [
    ["of nobody's", serverLeaf(makeCa()), "untrusted"],
    // Clients are verified against that CA; a target that shows its certificate is not.
    ["of the downstream domain", serverLeaf(testBed.pki.ca), "untrusted"],
    ["the bridge's own", testBed.pki.server, "untrusted"],
    ["forged", serverLeaf(upstream.ca, "localhost", true), "untrusted"],
    ["of another name", serverLeaf(upstream.ca, "elsewhere"), "name_mismatch"],
    ["a client of the far domain", upstream.client, "bad_certificate"],
    ["expired", makeLeaf({ role: "server", san, notAfter: past }, upstream.ca), "expired"],
    [
      "kept out by upstream_acl",
      makeLeaf({ role: "server", san: [...san, dns("banned.example")] }, upstream.ca),
      "denied",
    ],
  ];
  for (const [name, leaf, reason] of rogues) {
    for (const version of ["TLS1.2", "TLS1.3"] as const) {
      const before = await counters(bridge);
      const index = target.peers.length;
      const client = testBed.use(await EchoClient.connect(gateway.as(bridge)));
      client.echo("a secret").catch(() => {});
      const betrayed = await playServer(await target.peer(index), version, {
        chain: pathOf(leaf).map(({ der }) => der),
        key: leaf.key,
        welcome: "welcome",
      });
      await client.ended();
      assert.equal(betrayed.text, "", name);
      assert.ok(!betrayed.octets.includes("a secret"), name);
      if (version === "TLS1.3") {
        assert.equal(betrayed.finished, false, name);
        assert.equal(betrayed.certificates, 0, name);
      }
      await bridge.waitForMetric("mtlsd_active_connections", 0);
      const moved = increase(before, await counters(bridge));
      const denied = reason === "denied";
      assert.deepEqual(moved, {
        [counter.accepted]: 1,
        [counter.acl("allowed")]: 1,
        [counter.closed(denied ? "denied" : "dial_failed")]: 1,
        ...denied
          ? { [counter.acl("denied")]: 1 }
          : { [`mtlsd_tls_handshake_errors_total{reason="${reason}"}`]: 1 },
      }, `${name}\n${bridge.log}`);
      assert.equal(client.received, "", name);
    }
  }
  assert.equal(countLog(bridge, "dialer: connected"), 0);
});

Deno.test("bridge: acl judges who connects, upstream_acl the target, and neither the other", async () => {
  await using gateway = await BridgeTestBed.create();
  const { address, clientSerials: clients } = gateway.echo();
  const rows = [
    // Each side's rules name the other's peer: they admit no peer.
    [{ allow_cn: ["localhost"] }, {}, ""],
    [{}, { allow_cn: ["frontend-service"] }, ""],
    [{ deny_cn: ["frontend-service"] }, {}, ""],
    [{}, { deny_cn: ["localhost"] }, ""],
    // And deny no peer.
    [{ deny_cn: ["localhost"] }, { deny_cn: ["frontend-service"] }, "hello"],
    [{ allow_cn: ["frontend-service"] }, { allow_cn: ["localhost"] }, "hello"],
    [{ allow_cn: ["frontend-service"] }, {}, "hello"],
    [{ mode: "audit", allow_cn: ["nobody"] }, { mode: "audit", deny_cn: ["localhost"] }, "hello"],
  ] as const;
  for (const [acl, upstream_acl, answer] of rows) {
    const bridge = await gateway.bridge(address, { acl, upstream_acl });
    const seen = clients.length;
    assert.equal(await attempt(gateway.as(bridge)), answer, JSON.stringify([acl, upstream_acl]));
    assert.equal(clients.length, answer === "" ? seen : seen + 1);
    await bridge.stop();
  }
});

Deno.test("bridge: 20 MB both ways at once, and half-close", async () => {
  await using gateway = await BridgeTestBed.create();
  const { testBed, targetPki: upstream } = gateway;
  const target = testBed.use(tlsTarget(upstream));
  const bridge = await gateway.bridge(target.address);
  const [downstream, there] = await Promise.all([tlsEnd(bridge.port, testBed.pki), target.next()]);
  await using _downstream = downstream;
  const sending = [new Sending(downstream, 20 * MB), new Sending(there, 20 * MB)] as const;
  const [atDownstream, atUpstream] = await Promise.all([readHash(downstream), readHash(there)]);
  assert.deepEqual(atUpstream, { size: 20 * MB, hash: await sending[0].hash });
  assert.deepEqual(atDownstream, { size: 20 * MB, hash: await sending[1].hash });
  await bridge.waitForLog("listener: connection closed", { reason: "completed" });
  const [asking, answering] = await Promise.all([
    tlsEnd(bridge.port, testBed.pki),
    target.next(),
  ]);
  await using _asking = asking;
  await asking.write(new TextEncoder().encode("question"));
  await asking.closeWrite();
  assert.equal((await readHash(answering)).size, 8);
  // One half is over; the other is as good as before.
  await answering.write(new TextEncoder().encode("the answer"));
  await answering.closeWrite();
  assert.equal((await readHash(asking)).size, 10);
});

Deno.test("bridge: a stop while the target is dialled, or while its handshake hangs", async () => {
  await using gateway = await BridgeTestBed.create();
  using stuck = await unacceptingTarget();
  const silent = gateway.testBed.use(await PeerServer.listen());
  for (const target of [stuck.address, silent.address]) {
    const bridge = await gateway.bridge(target, { proxy: { shutdown_timeout: "200ms" } });
    const waiting = await connectTls(gateway.as(bridge));
    waiting.on("error", () => {});
    await bridge.waitForLog("listener: accepted connection");
    assert.equal(await bridge.stop(), 1);
    await bridge.waitForLog("listener: connection closed", { reason: "shutdown" });
    waiting.destroy();
  }
  assert.ok(silent.peers.every(({ text }) => !text.includes("hello")));
});

Deno.test("bridge: dial_timeout covers the target's handshake", async () => {
  await using gateway = await BridgeTestBed.create();
  const silent = gateway.testBed.use(await PeerServer.listen());
  // Enough to connect on a busy machine, and the rest of it for the handshake that never is.
  const bridge = await gateway.bridge(silent.address, { proxy: { dial_timeout: "3s" } });
  assert.equal(await attempt(gateway.as(bridge)), "");
  await bridge.waitForLog("dialer: handshake failed", { reason: "timeout" });
  await bridge.waitForLog("listener: connection closed", { reason: "dial_failed" });
});
