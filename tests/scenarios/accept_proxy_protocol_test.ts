/**
 * Behind a load balancer: the true client's address in the log and in limits, however the header comes.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { encodeHeader } from "../../src/proxy_protocol/encode.ts";
import {
  balancer,
  behind,
  CLIENT,
  haproxy,
  line,
  type Manner,
  nginx,
  realTest,
  through,
  TOGETHER,
  TRUSTED,
} from "../support/proxy_protocol_peers.ts";
import { binary, octets } from "../support/proxy_protocol.ts";
import { EchoClient } from "../support/clients.ts";
import { ask, attempt, echoBackend, lineBackend, ownAddress, split } from "../support/peers.ts";
import { TestBed } from "../support/testbed.ts";
import { Peer, PeerServer } from "../support/sockets.ts";
import { countLog } from "../support/daemon.ts";

for (const option of ["send-proxy", "send-proxy-v2"]) {
  realTest("haproxy", `${option} in front: log, limits and target know the client`, async () => {
    const [address, receiver] = [ownAddress(), ownAddress()];
    await using testBed = await TestBed.create();
    await using _nginx = await nginx(
      `server {
  listen ${receiver} proxy_protocol;
  return "$proxy_protocol_addr:$proxy_protocol_port $proxy_protocol_server_addr:$proxy_protocol_server_port;";
}`,
      [receiver],
    );
    // Both settings at once: what one balancer reports is passed on to the next.
    const server = await behind(testBed, receiver, { proxy: { proxy_protocol: "v2" } });
    await using _haproxy = await haproxy(
      () =>
        `listen l
  mode tcp
  bind ${address}
  server s ${server.listen} ${option}
`,
      [address],
    );
    const { hostname: host, port } = split(address);
    const answer = await ask({ ...testBed.as(server), host, port }, "");
    const [, from] = /^(\S+) (\S+);$/.exec(answer) ?? [];
    assert.ok(answer.endsWith(` ${address};`), answer);
    const accepted = await server.waitForLog("listener: accepted connection");
    assert.equal(accepted.fields.remote, from);
    assert.match(accepted.fields.via ?? "", /^127\.0\.0\.1:\d+$/);
    assert.notEqual(accepted.fields.via, from);
    const closed = await server.waitForLog("listener: connection closed", { remote: from ?? "" });
    assert.equal(closed.fields.via, accepted.fields.via);
  });
}

Deno.test("header and ClientHello in one segment, in two, and octet by octet", async () => {
  await using testBed = await TestBed.create();
  const server = await behind(testBed, testBed.use(echoBackend()).address);
  const octetByOctet: Manner = async (header, first, to) => {
    for (const octet of header) {
      await to.send(Uint8Array.of(octet));
      // A turn for the other side.
      await new Promise((done) => setTimeout(done, 1));
    }
    await to.send(first);
  };
  const inTwo: Manner = async (header, first, to) => {
    await to.send(header);
    await new Promise((done) => setTimeout(done, 5));
    await to.send(first);
  };
  const pair = {
    source: { host: "2001:db8::9", port: 7 },
    destination: { host: "192.0.2.1", port: 443 },
  };
  const headers = [octets(line()), encodeHeader("v2", pair, { checksum: true }).bytes];
  for (const manner of [TOGETHER, inTwo, octetByOctet]) {
    const relay = await balancer(testBed, server.port, headers, manner);
    for (const remote of [CLIENT, "[2001:db8::9]:7"]) {
      const from = server.lines.length;
      assert.equal(await ask(through(testBed, relay), "hello"), "hello");
      await server.waitForLog("listener: accepted connection", { remote }, from);
    }
  }
});

Deno.test("a header and a ClientHello that are cut anywhere", async () => {
  await using testBed = await TestBed.create();
  const server = await behind(testBed, testBed.use(echoBackend()).address);
  const header = octets(line());
  const cuts = Array.from({ length: header.length + 7 }, (_, cut) => cut + 1);
  let next = 0;
  const relay = await balancer(testBed, server.port, [header], async (header, first, to) => {
    const cut = cuts[next++] ?? 0;
    const all = Buffer.concat([header, first]);
    await to.send(all.subarray(0, cut));
    await new Promise((done) => setTimeout(done, 2));
    await to.send(all.subarray(cut));
  });
  await Promise.all(cuts.map(async () => {
    assert.equal(await ask(through(testBed, relay), "hello"), "hello");
  }));
  assert.equal(next, cuts.length);
  assert.equal(countLog(server, "listener: accepted connection"), cuts.length);
});

Deno.test("limits on each peer go by the address that the header names", async () => {
  await using testBed = await TestBed.create();
  const server = await behind(testBed, testBed.use(echoBackend()).address, {
    tls: { client_auth: "optional" },
    proxy: { max_connections_per_peer: 1 },
  });
  const headers = [line(1, 1), line(2, 2), line(3, 1)].map(octets);
  const relay = await balancer(testBed, server.port, headers);
  const nameless = { port: relay.port, ca: testBed.pki.ca.pem };
  await using first = await EchoClient.open(nameless);
  await using second = await EchoClient.open(nameless);
  assert.equal(await attempt(nameless), "");
  const denied = await server.waitForLog("listener: denied connection");
  assert.equal(denied.fields.remote, "198.51.100.1:3");
  // The balancer's own address stands beside it, in this line and in the last one.
  const { via } = denied.fields;
  assert.match(via ?? "", /^127\.0\.0\.1:\d+$/);
  await server.waitForLog("listener: connection closed", {
    remote: "198.51.100.1:3",
    via: via ?? "",
    reason: "denied",
  });
  await first.echo("still");
  await second.echo("here");
});

Deno.test("client mode: the header is taken off, and the caller is who it names", async () => {
  await using testBed = await TestBed.create();
  const server = await testBed.server(testBed.use(lineBackend()).address);
  const client = await testBed.client(server.listen, { proxy: { accept_proxy_protocol: TRUSTED } });
  await using peer = await Peer.connect(client.port);
  await peer.send(`${line()}hello`);
  peer.end();
  await peer.receives("echo: hello");
  assert.equal(peer.text, "echo: hello");
  await client.waitForLog("dialer: connected", { remote: CLIENT });
  const closed = await client.waitForLog("dialer: connection closed", { remote: CLIENT });
  assert.match(closed.fields.via ?? "", /^127\.0\.0\.1:/);
  // Without one no target is dialled.
  const before = (await server.metrics()).get("mtlsd_connections_total");
  await using rude = await Peer.connect(client.port);
  await rude.send("hello, this is no header");
  await rude.ended();
  assert.equal(rude.received, 0);
  await client.waitForLog("dialer: refused PROXY header", { reason: "missing" });
  assert.equal((await server.metrics()).get("mtlsd_connections_total"), before);
});

Deno.test("a sender that speaks for itself is the client", async () => {
  await using testBed = await TestBed.create();
  const target = testBed.use(await PeerServer.listen());
  const server = await behind(testBed, target.address, { proxy: { proxy_protocol: "v1" } });
  const relay = await balancer(testBed, server.port, [
    octets("PROXY UNKNOWN\r\n"),
    binary("20 00"),
  ]);
  for (let index = 0; index < 2; index++) {
    const held = testBed.use(await EchoClient.connect(through(testBed, relay)));
    const { upstream } = await relay.link(index);
    const remote = `127.0.0.1:${upstream.localPort}`;
    await server.waitForLog("listener: accepted connection", { remote });
    const peer = await target.peer(index);
    await peer.receives(`PROXY TCP4 127.0.0.1 127.0.0.1 ${upstream.localPort} ${server.port}\r\n`);
    await held[Symbol.asyncDispose]();
  }
});
