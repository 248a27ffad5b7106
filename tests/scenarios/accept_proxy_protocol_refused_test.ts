/**
 * Headers that are wrong, late, missing, or of a source that may not send any: nothing is to be had by
 * them, and others do not notice.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { binary, octets } from "../support/proxy_protocol.ts";
import { ask, attempt, echoBackend, lineBackend } from "../support/peers.ts";
import { MIB, residentBytes, settled } from "../support/process.ts";
import { TestBed } from "../support/testbed.ts";
import { clientHello, Peer } from "../support/sockets.ts";
import { until } from "../support/wait.ts";
import { closedSeries } from "../support/metrics.ts";
import { countLog } from "../support/daemon.ts";
import {
  balancer,
  behind,
  CLIENT,
  line,
  through,
  TRUSTED,
} from "../support/proxy_protocol_peers.ts";

Deno.test("an unlisted source hears nothing and is not listened to", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const server = await behind(testBed, backend.address, {
    proxy: { accept_proxy_protocol: ["192.0.2.0/24", "::1", "127.0.0.2"] },
  });
  const hello = await clientHello();
  for (const said of [octets(line()), hello, Buffer.concat([octets(line()), hello]), octets("x")]) {
    await using peer = await Peer.connect(server.port);
    void peer.send(said);
    await peer.ended();
    assert.equal(peer.received, 0);
  }
  // Nor does it take a word to be sent away.
  await using silent = await Peer.connect(server.port);
  await silent.ended();
  assert.equal(silent.received, 0);
  await server.waitForMetric(closedSeries("denied"), 5);
  const denied = await server.waitForLog("listener: denied connection", { reason: "unlisted" });
  assert.match(denied.fields.remote ?? "", /^127\.0\.0\.1:/);
  assert.equal(backend.connections, 0);
  assert.equal((await server.metrics()).get('mtlsd_acl_decisions_total{result="denied"}'), 0);
});

Deno.test("a header that is missing or wrong ends the connection without an answer", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const server = await behind(testBed, backend.address);
  const hello = await clientHello();
  const rows: readonly (readonly [said: Uint8Array, reason: string])[] = [
    [hello, "missing"],
    [octets("GET / HTTP/1.0\r\n\r\n"), "missing"],
    [octets("proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n"), "missing"],
    [octets("PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n"), "malformed"],
    [octets("PROXY TCP4 1.2.3.4 5.6.7.8 1 99999\r\n"), "malformed"],
    [octets("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n"), "malformed"],
    [octets(`PROXY ${"x".repeat(200)}`), "malformed"],
    [octets('PROXY TCP4 "\r\nlevel=ERROR msg=forged\r\n'), "malformed"],
    [binary("31 11", "c0000201 c0000202 0001 0002"), "malformed"],
    [binary("21 11", "c0000201"), "malformed"],
    [octets("\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"), "malformed"],
  ];
  for (const [said, reason] of rows) {
    const from = server.lines.length;
    await using peer = await Peer.connect(server.port);
    void peer.send(said);
    await peer.ended();
    assert.equal(peer.received, 0);
    const refused = await server.waitForLog("listener: refused PROXY header", { reason }, from);
    assert.equal(refused.fields.level, "WARN");
    assert.match(refused.fields.error ?? "", /^Cannot take the PROXY header: /);
  }
  await server.waitForMetric(closedSeries("error"), rows.length);
  // Each is one line, whatever it quotes.
  assert.ok(server.lines.every(({ raw }) => raw.startsWith("time=")));
  assert.equal(backend.connections, 0);
  const relay = await balancer(testBed, server.port, [octets(line())]);
  assert.equal(await ask(through(testBed, relay), "hello"), "hello");
});

Deno.test("a second header is no part of TLS: who forwards what it was sent is refused", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const server = await behind(testBed, backend.address);
  // The client itself begins with a header; the balancer puts the true one in front.
  const relay = await balancer(testBed, server.port, [octets(line() + line(1, 1))]);
  assert.equal(await attempt(through(testBed, relay)), "");
  await server.waitForLog("listener: handshake failed", { remote: CLIENT });
  assert.equal(backend.connections, 0);
});

Deno.test("handshake_timeout covers the header and TLS together", async () => {
  await using testBed = await TestBed.create();
  const server = await behind(testBed, testBed.use(echoBackend()).address, {
    tls: { handshake_timeout: "3s" },
  });
  const partial = [new Uint8Array(), octets("PRO"), octets(line()).subarray(0, -1)];
  await Promise.all(partial.map(async (said) => {
    await using peer = await Peer.connect(server.port);
    if (said.length > 0) await peer.send(said);
    await peer.ended();
    assert.equal(peer.received, 0);
  }));
  // A peer may see its end before the line about it is read.
  const closed = () => server.lines.filter(({ fields }) => fields.reason === "timeout").length;
  await until(() => closed() >= 3);
  assert.equal(closed(), 3);
  assert.equal(countLog(server, "listener: refused PROXY header"), 3);
  // What the header took is not there for the handshake.
  await using late = await Peer.connect(server.port);
  const via = `127.0.0.1:${late.localPort}`;
  await new Promise((done) => setTimeout(done, 1000));
  await late.send(octets(line()));
  await late.ended();
  await server.waitForLog("listener: handshake failed", {
    reason: "timeout",
    // 3 s less the second before the header, as the two clocks measure it.
    error: /no handshake within ([01]\.\d+s|2(\.0\d*)?s|\d+ms)$/,
    remote: CLIENT,
    via,
  });
});

Deno.test("300 silent connections do not keep others out", async () => {
  await using testBed = await TestBed.create();
  const server = await behind(testBed, testBed.use(echoBackend()).address, {
    proxy: { max_connections: 20 },
  });
  for (let i = 0; i < 300; i++) {
    const silent = testBed.use(await Peer.connect(server.port));
    // Some with half a header.
    if (i % 2 === 0) void silent.send("PROXY TCP4 ");
  }
  const relay = await balancer(testBed, server.port, [octets(line())]);
  assert.equal(await ask(through(testBed, relay), "hello"), "hello");
});

Deno.test("client mode: silent connections do not keep others out", async () => {
  await using testBed = await TestBed.create();
  const server = await testBed.server(testBed.use(lineBackend()).address);
  const client = await testBed.client(server.listen, {
    proxy: { accept_proxy_protocol: TRUSTED, max_connections: 5 },
  });
  for (let i = 0; i < 20; i++) testBed.use(await Peer.connect(client.port));
  await using peer = await Peer.connect(client.port);
  await peer.send(`${line()}hello`);
  peer.end();
  await peer.ended(8000);
  assert.equal(peer.text, "echo: hello");
});

Deno.test("client mode: who has had its header does not give way to those who have not", async () => {
  await using testBed = await TestBed.create();
  const server = await testBed.server(testBed.use(echoBackend()).address);
  const client = await testBed.client(server.listen, { proxy: { accept_proxy_protocol: TRUSTED } });
  await using peer = await Peer.connect(client.port);
  await peer.send(`${line()}hello`);
  await peer.receives("hello");
  const silent: Peer[] = [];
  for (let i = 0; i < 300; i++) silent.push(testBed.use(await Peer.connect(client.port)));
  await until(() => silent.some(({ ending }) => ending !== "open"));
  await peer.send(" still here");
  await peer.receives("hello still here");
});

Deno.test("a flood of headers as long as may be takes no memory that stays", async () => {
  await using testBed = await TestBed.create();
  const server = await behind(testBed, testBed.use(echoBackend()).address);
  const whole = binary("21 11", `c0000201 c0000202 0001 0002 ${"00".repeat(4096 - 28)}`);
  assert.equal(whole.length, 4096);
  const flood = async () => {
    const peers = await Promise.all(Array.from({ length: 200 }, () => Peer.connect(server.port)));
    // All but the last octet, so that each is held as long as can be.
    await Promise.all(peers.map((peer) => peer.send(whole.subarray(0, -1))));
    for (const peer of peers) await peer[Symbol.asyncDispose]();
    await server.waitForMetric("mtlsd_active_connections", 0);
  };
  await flood();
  await flood();
  const before = await settled(() => residentBytes(server.pid), 100);
  for (let i = 0; i < 5; i++) await flood();
  const grown = await residentBytes(server.pid) - before;
  assert.ok(grown < 40 * MIB, `${grown / MIB} MiB`);
  const relay = await balancer(testBed, server.port, [octets(line())]);
  assert.equal(await ask(through(testBed, relay), "hello"), "hello");
  await until(async () => (await server.metrics()).get(closedSeries("peer_reset")) === 1400);
});
