/**
 * The PROXY protocol to the target: real receivers learn who called, and the header is the very first
 * thing that a target hears, once, whatever the client does.
 *
 * @module
 */

import assert from "node:assert/strict";
import { haproxy, heard, inFrontOf, nginx, realTest } from "../support/proxy_protocol_peers.ts";
import { type ClientOptions, connectTls, ownAddress } from "../support/peers.ts";
import { TestBed } from "../support/testbed.ts";
import { PeerServer } from "../support/sockets.ts";
import { until } from "../support/wait.ts";
import { bytesOf } from "../support/tls/ends.ts";

/** Asks through the daemon; the answer, and where the client was. */
async function call(
  options: ClientOptions,
  words: string,
): Promise<{ readonly from: string; readonly answer: string }> {
  const socket = await connectTls(options);
  const from = `${socket.localAddress}:${socket.localPort}`;
  const closed = new Promise<void>((done) => socket.once("close", () => done()));
  let answer = "";
  socket.on("data", (bytes: Uint8Array) => answer += new TextDecoder().decode(bytes));
  socket.on("error", () => {});
  socket.once("end", () => socket.end());
  socket.write(words);
  await closed;
  return { from, answer };
}

const REQUEST = "GET / HTTP/1.0\r\n\r\n";

realTest("haproxy", "is told who called, by every version", async () => {
  const address = ownAddress();
  await using testBed = await TestBed.create();
  await using _haproxy = await haproxy(
    () =>
      `frontend in
  mode http
  bind ${address} accept-proxy
  http-request return status 200 content-type text/plain lf-string \
"rcvd=%[fc_rcvd_proxy] %[src]:%[src_port] %[dst]:%[dst_port] authority=%[fc_pp_authority];"
`,
    [address],
  );
  for (const version of ["v1", "v2", "v2-tls"]) {
    const server = await testBed.server(address, { proxy: { proxy_protocol: version } });
    const { from, answer } = await call(testBed.as(server), REQUEST);
    const authority = version === "v2-tls" ? "localhost" : "";
    const expected = `rcvd=1 ${from} ${server.listen} authority=${authority};`;
    assert.ok(answer.includes(expected), `${version}: ${answer}, not ${expected}`);
  }
});

realTest("nginx", "is told who called", async () => {
  const address = ownAddress();
  await using testBed = await TestBed.create();
  await using _nginx = await nginx(
    `server {
  listen ${address} proxy_protocol;
  return "$proxy_protocol_addr:$proxy_protocol_port $proxy_protocol_server_addr:$proxy_protocol_server_port;";
}`,
    [address],
  );
  for (const version of ["v1", "v2"]) {
    // Every interface: the header has the address that the client did connect to.
    const listen = version === "v1" ? ":0" : "127.0.0.1:0";
    const server = await testBed.server(address, { listen, proxy: { proxy_protocol: version } });
    const { from, answer } = await call(testBed.as(server), "hello");
    assert.equal(answer, `${from} 127.0.0.1:${server.port};`);
  }
});

Deno.test("the header comes before the client has said a word, and once", async () => {
  await using testBed = await TestBed.create();
  for (const version of ["v1", "v2", "v2-tls"]) {
    const { target, server } = await inFrontOf(testBed, version);
    const socket = await connectTls(testBed.as(server));
    const peer = await target.peer(0);
    const { source, destination, rest } = await heard(peer);
    assert.equal(source, `127.0.0.1:${socket.localPort}`);
    assert.equal(destination, server.listen);
    assert.equal(rest(), "");
    // What looks like another header is the client's own words.
    const words = "PROXY TCP4 10.0.0.1 10.0.0.1 1 1\r\nhello";
    socket.write(words);
    await until(() => rest() === words, { what: () => rest() });
    await peer.send("welcome");
    const answer = await new Promise<string>((done) =>
      socket.once("data", (bytes) => done(String(bytes)))
    );
    assert.equal(answer, "welcome");
    socket.destroy();
    await peer.ended();
    peer.end();
    assert.equal(rest(), words);
    assert.equal(target.peers.length, 1);
    // The client's bytes are counted, ours are not.
    await server.waitForMetric(
      'mtlsd_bytes_proxied_total{direction="client_to_target"}',
      words.length,
    );
    await server.stop();
  }
});

Deno.test("what a client sends at once does not overtake the header", async () => {
  await using testBed = await TestBed.create();
  const { target, server } = await inFrontOf(testBed, "v2-tls");
  const words = "x".repeat(100_000);
  const calls = Array.from({ length: 20 }, () => call(testBed.as(server), words));
  for (let index = 0; index < calls.length; index++) {
    const peer = await target.peer(index);
    const { rest } = await heard(peer);
    await until(() => rest().length >= words.length);
    assert.equal(rest(), words);
    await peer.send("done");
    peer.end();
  }
  for (const { answer } of await Promise.all(calls)) assert.equal(answer, "done");
});

Deno.test("IPv6", async () => {
  await using testBed = await TestBed.create();
  const { target, server } = await inFrontOf(testBed, "v1", { listen: "[::1]:0" });
  const socket = await connectTls({ ...testBed.as(server), host: "::1" });
  const peer = await target.peer(0);
  await peer.receives(`PROXY TCP6 ::1 ::1 ${socket.localPort} ${server.port}\r\n`);
  socket.destroy();
  await peer.ended();
});

Deno.test("every target that is tried gets the header first, those that fail in it are passed over", async () => {
  await using testBed = await TestBed.create();
  const first = testBed.use(await PeerServer.listen());
  const second = testBed.use(await PeerServer.listen());
  const { server: cert, serverKey: key, ca } = testBed.files;
  const refusing = ownAddress();
  const server = await testBed.daemon({
    mode: "server",
    listen: "127.0.0.1:0",
    targets: [refusing, first.address, second.address],
    tls: { cert, key, ca },
    proxy: { proxy_protocol: "v1", balance: "failover" },
  });
  const socket = await connectTls(testBed.as(server));
  socket.write("hello");
  const { source, rest } = await heard(await first.peer(0));
  assert.equal(source, `127.0.0.1:${socket.localPort}`);
  await until(() => rest() === "hello");
  assert.equal(second.peers.length, 0);
  socket.destroy();
});

Deno.test("off is off: the target hears the client alone", async () => {
  await using testBed = await TestBed.create();
  const { target, server } = await inFrontOf(testBed, "off");
  const socket = await connectTls(testBed.as(server));
  const words = bytesOf(1000);
  socket.write(words);
  const peer = await target.peer(0);
  await until(() => peer.received === words.length);
  assert.deepEqual(new Uint8Array(peer.bytes), words);
  socket.destroy();
});
