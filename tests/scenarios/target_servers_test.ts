/**
 * Client mode with several servers: each is verified in full by its own name, and one that is not what
 * it should be is passed over without having heard a byte.
 *
 * @module
 */

import assert from "node:assert/strict";
import { playServer } from "../support/adversary/server.ts";
import { countLog, type TestDaemon } from "../support/daemon.ts";
import { lineBackend } from "../support/peers.ts";
import { chainPem, dns, ip, type Issued, makeCa, makeLeaf, pathOf } from "../support/pki.ts";
import { TestBed } from "../support/testbed.ts";
import { Peer, PeerServer } from "../support/sockets.ts";
import { closedSeries } from "../support/metrics.ts";
import { changeFile, changeRules } from "../support/reload.ts";

/** Loopback addresses, whose names certificates carry. */
const HOSTS = ["127.0.0.1", "127.0.0.2", "127.0.0.3"] as const;

/** A server's certificate for one of them. */
function serverAt(host: string, issuer?: Issued, forged = false): Issued {
  return makeLeaf({ role: "server", subject: host, san: [ip(host)], forged }, issuer);
}

/** An honest server at a host, in front of a backend; where it listens. */
async function honest(testBed: TestBed, host: string, target: string): Promise<TestDaemon> {
  const own = serverAt(host, testBed.pki.ca);
  const file = await testBed.write(`server-${host}.pem`, own.pem + own.keyPem);
  return await testBed.server(target, { listen: `${host}:0`, tls: { cert: file, key: file } });
}

/** Client mode towards several servers. */
function towards(
  testBed: TestBed,
  servers: readonly string[],
  more: Readonly<Record<string, unknown>> = {},
  ca = testBed.files.ca,
): Promise<TestDaemon> {
  const { client: cert, clientKey: key } = testBed.files;
  return testBed.daemon({
    mode: "client",
    listen: "127.0.0.1:0",
    targets: servers,
    tls: { cert, key, ca },
    ...more,
  });
}

/** Says something through the daemon; what comes back. */
async function say(client: TestDaemon, words: string): Promise<string> {
  await using peer = await Peer.connect(client.port);
  void peer.send(words);
  peer.end();
  await peer.ended();
  return peer.text;
}

Deno.test("each server is verified by its own name", async () => {
  await using testBed = await TestBed.create();
  const target = testBed.use(lineBackend()).address;
  const servers = await Promise.all(HOSTS.map((host) => honest(testBed, host, target)));
  const client = await towards(testBed, servers.map(({ listen }) => listen), {
    proxy: { balance: "round_robin" },
  });
  for (let i = 0; i < 6; i++) assert.equal(await say(client, "hello"), "echo: hello");
  for (const { listen } of servers) {
    await client.waitForLog("dialer: connected", { server: listen });
  }
  const series = await client.metrics();
  for (const index of [0, 1, 2]) {
    assert.equal(series.get(`mtlsd_target_connections_total{target="${index}"}`), 2);
  }
});

Deno.test("a first server that is not what it should be hears nothing, and the second serves", async () => {
  await using testBed = await TestBed.create();
  const { ca } = testBed.pki;
  const rogue = testBed.use(await PeerServer.listen());
  const good = await honest(testBed, HOSTS[1], testBed.use(lineBackend()).address);
  const both = [ip(HOSTS[0]), dns("banned.example")];
  const rows: readonly (readonly [name: string, leaf: Issued, reason: string])[] = [
    ["with the second's name", serverAt(HOSTS[1], ca), "name_mismatch"],
    ["of nobody's", serverAt(HOSTS[0], makeCa()), "untrusted"],
    ["forged", serverAt(HOSTS[0], ca, true), "untrusted"],
    ["that is a client", testBed.pki.client, "bad_certificate"],
    ["that the rules keep out", makeLeaf({ role: "server", san: both }, ca), "denied"],
  ];
  for (const [name, leaf, reason] of rows) {
    // A daemon for each: one that failed is left alone for a while.
    const client = await towards(testBed, [rogue.address, good.listen], {
      acl: { deny_dns: ["banned.example"] },
    });
    const index = rogue.peers.length;
    const saying = say(client, "a secret");
    const betrayed = await playServer(await rogue.peer(index), "TLS1.3", {
      chain: pathOf(leaf).map(({ der }) => der),
      key: leaf.key,
      welcome: "welcome",
    });
    assert.equal(await saying, "echo: a secret", name);
    assert.equal(betrayed.text, "", name);
    assert.equal(betrayed.finished, false, name);
    assert.equal(betrayed.certificates, 0, name);
    const series = await client.metrics();
    if (reason === "denied") {
      await client.waitForLog("dialer: denied connection", { server: rogue.address });
      assert.equal(series.get('mtlsd_acl_decisions_total{result="denied"}'), 1);
    } else {
      await client.waitForLog("dialer: handshake failed", { server: rogue.address, reason });
      assert.equal(series.get(`mtlsd_tls_handshake_errors_total{reason="${reason}"}`), 1);
    }
    assert.equal(series.get('mtlsd_target_dial_errors_total{target="0"}'), 1);
    assert.equal(series.get('mtlsd_target_up{target="0"}'), 0);
    await client.waitForMetric(closedSeries("completed"), 1);
    await client.stop();
  }
});

Deno.test("servers none of which is what it should be: the caller hears nothing", async () => {
  await using testBed = await TestBed.create();
  const target = testBed.use(lineBackend());
  const [first, second] = await Promise.all([
    honest(testBed, HOSTS[1], target.address),
    honest(testBed, HOSTS[2], target.address),
  ]);
  const other = makeCa();
  const ca = await testBed.write("other-ca.pem", other.pem);
  const client = await towards(testBed, [first.listen, second.listen], {}, ca);
  assert.equal(await say(client, "a secret"), "");
  await client.waitForLog("dialer: no target took the connection");
  await client.waitForMetric(closedSeries("dial_failed"), 1);
  assert.equal(countLog(client, "dialer: handshake failed"), 2);
  assert.equal((await client.metrics()).get("mtlsd_dial_errors_total"), 0);
  assert.equal(target.connections, 0);
  // With the right CA they are tried at once: what they failed by has changed.
  await changeFile(client, ca, chainPem(other, testBed.pki.ca));
  assert.equal(await say(client, "hello"), "echo: hello");
  await changeRules(client, { deny_ip: ["127.0.0.0/8"] });
  assert.equal(await say(client, "a secret"), "");
  await client.waitForMetric(closedSeries("denied"), 1);
});

Deno.test("a server that was not trusted is asked at once when it may be", async () => {
  await using testBed = await TestBed.create();
  const target = testBed.use(lineBackend()).address;
  const other = makeCa({ subject: "other CA" });
  const ca = await testBed.write("far-ca.pem", testBed.pki.ca.pem);
  const foreign = serverAt(HOSTS[1], other);
  const file = await testBed.write("foreign.pem", foreign.pem + foreign.keyPem);
  const first = await testBed.server(target, {
    listen: `${HOSTS[1]}:0`,
    tls: { cert: file, key: file },
  });
  const second = await honest(testBed, HOSTS[2], target);
  const client = await towards(testBed, [first.listen, second.listen], {}, ca);
  assert.equal(await say(client, "hello"), "echo: hello");
  await client.waitForLog("dialer: connected", { server: second.listen });
  // It is left alone for the time that it has failed, unless what it failed by changes.
  await changeFile(client, ca, chainPem(testBed.pki.ca, other));
  assert.equal(await say(client, "hello"), "echo: hello");
  await client.waitForLog("dialer: connected", { server: first.listen });
});

Deno.test("a silent server takes its share of dial_timeout and no more", async () => {
  await using testBed = await TestBed.create();
  const silent = testBed.use(await PeerServer.listen());
  const good = await honest(testBed, HOSTS[1], testBed.use(lineBackend()).address);
  const client = await towards(testBed, [silent.address, good.listen], {
    proxy: { dial_timeout: "6s" },
  });
  assert.equal(await say(client, "hello"), "echo: hello");
  await client.waitForLog("dialer: handshake failed", {
    reason: "timeout",
    // Half of it, of which connecting has taken something.
    error: /no handshake within (3|[12]\.\d+)s$/,
  });
  assert.ok(silent.peers.every(({ text }) => !text.includes("hello")));
});
