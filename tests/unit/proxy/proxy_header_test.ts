import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import net from "node:net";
import tls from "node:tls";
import { type Conn, ConnError, pipeByReading } from "../../../src/net/conn.ts";
import { listenTcp } from "../../../src/net/mod.ts";
import { acceptHeader } from "../../../src/proxy/proxy_header.ts";
import { encodeHeader } from "../../../src/proxy_protocol/encode.ts";
import { binary, octets } from "../../support/proxy_protocol.ts";
import { tcpPair } from "../../support/tls/tcp_backends.ts";
import {
  admit,
  bytesOf,
  connOf,
  failsWith,
  limits,
  pki,
  readAll,
  readSome,
} from "../../support/tls/ends.ts";
import { server, text, words } from "../../support/tls/ends.ts";
import { CLIENT, LINE, readText, settings, taken } from "./proxy_header_support.ts";
import { FakeChannel } from "./fake_conn.ts";

Deno.test("the client is who the header says, and its bytes come first", async () => {
  const inner = new FakeChannel();
  inner.push(`${LINE}hello `);
  const { conn, via, destination } = taken(await acceptHeader(inner, settings()));
  assert.equal(conn.remote, CLIENT);
  assert.equal(via, "192.0.2.7:1234");
  assert.deepEqual(destination, { host: "203.0.113.1", port: 443 });
  inner.push("world");
  inner.end();
  assert.equal(await readText(conn), "hello ");
  assert.equal(await readText(conn), "world");
  assert.equal(await readText(conn), null);
});

Deno.test("an IPv6 client is written as every remote is", async () => {
  const inner = new FakeChannel();
  inner.push("PROXY TCP6 2001:DB8:0::9 ::1 1 2\r\n");
  assert.equal(taken(await acceptHeader(inner, settings())).conn.remote, "[2001:db8::9]:1");
});

Deno.test("nothing is read that the header does not need", async () => {
  const inner = new FakeChannel();
  inner.push(LINE);
  const { conn } = taken(await acceptHeader(inner, settings()));
  assert.deepEqual([inner.reads, inner.pending], [1, 0]);
  // Nor later: reading is pulled.
  await conn.write(text("x"));
  assert.equal(inner.reads, 1);
  const reading = conn.read();
  assert.equal(inner.reads, 2);
  inner.push("hello");
  assert.equal(words(await reading ?? new Uint8Array()), "hello");
});

Deno.test("a header may be cut anywhere", async () => {
  const whole = `${LINE}hello`;
  for (let cut = 1; cut < whole.length; cut++) {
    const inner = new FakeChannel();
    inner.push(whole.slice(0, cut));
    inner.push(whole.slice(cut));
    inner.end();
    const { conn } = taken(await acceptHeader(inner, settings()));
    assert.equal(conn.remote, CLIENT);
    assert.equal(words(await readAll(conn)), "hello", `cut at ${cut}`);
  }
});

Deno.test("channels reuse their buffers: octet by octet through one of a single octet", async () => {
  const { bytes } = encodeHeader("v2-tls", {
    source: { host: "198.51.100.9", port: 56324 },
    destination: { host: "203.0.113.1", port: 443 },
    tls: {
      protocol: "TLSv1.3",
      certificate: { der: bytesOf(3000), commonName: "web", resumed: false },
    },
  }, { checksum: true });
  const stream = Uint8Array.of(...bytes, 1, 2, 3);
  const buffer = new Uint8Array(1);
  let at = 0;
  const inner: Conn = {
    remote: "192.0.2.7:1234",
    local: "192.0.2.1:443",
    pipeTo: (take) => pipeByReading(inner, take),
    read() {
      buffer[0] = stream[at++] ?? 0;
      return Promise.resolve(at > stream.length ? null : buffer);
    },
    write: () => Promise.resolve(),
    closeWrite: () => Promise.resolve(),
    close() {},
    reset() {},
  };
  const { conn } = taken(await acceptHeader(inner, settings()));
  assert.equal(at, bytes.length);
  assert.equal(conn.remote, CLIENT);
  assert.deepEqual(await readAll(conn), Uint8Array.of(1, 2, 3));
});

Deno.test("channels reuse their buffers: what came along is not overwritten", async () => {
  const buffer = Buffer.from(`${LINE}hello`);
  const inner = new FakeChannel();
  inner.read = () => Promise.resolve(buffer);
  const { conn } = taken(await acceptHeader(inner, settings()));
  buffer.fill(0);
  assert.equal(await readText(conn), "hello");
});

Deno.test("a sender that speaks for itself is the client", async () => {
  for (const header of ["PROXY UNKNOWN\r\n", String.fromCharCode(...binary("20 00"))]) {
    const inner = new FakeChannel();
    inner.push(`${header}hello`);
    const { conn, via, destination } = taken(await acceptHeader(inner, settings()));
    assert.equal(conn.remote, "192.0.2.7:1234");
    assert.equal(via, "192.0.2.7:1234");
    assert.equal(destination, undefined);
    assert.equal(await readText(conn), "hello");
  }
});

Deno.test("malformed: a header behind a header is the client's own words", async () => {
  const inner = new FakeChannel();
  inner.push(`${LINE}PROXY TCP4 10.0.0.1 10.0.0.1 1 1\r\n`);
  const { conn } = taken(await acceptHeader(inner, settings()));
  assert.equal(conn.remote, CLIENT);
  assert.equal(await readText(conn), "PROXY TCP4 10.0.0.1 10.0.0.1 1 1\r\n");
});

Deno.test("the timeout is over once the header is there", async () => {
  const inner = new FakeChannel();
  inner.push(LINE);
  taken(await acceptHeader(inner, settings({ timeout: 5 })));
  // Timers fire in the order in which they are due.
  await new Promise((done) => setTimeout(done, 6));
  assert.equal(inner.closed, false);
});

Deno.test("a cut that comes later is not ours any more", async () => {
  const controller = new AbortController();
  const inner = new FakeChannel();
  inner.push(LINE);
  taken(await acceptHeader(inner, settings({ signal: controller.signal })));
  controller.abort();
  assert.equal(inner.closed, false);
});

Deno.test("writing, ending, closing and breaking are those of the connection", async () => {
  const inner = new FakeChannel();
  inner.push(`${LINE}hello`);
  const { conn } = taken(await acceptHeader(inner, settings()));
  inner.stall();
  let written = false;
  const writing = Promise.resolve(conn.write(text("answer"))).then(() => written = true);
  await inner.until(() => inner.pending === 1);
  assert.equal(written, false);
  inner.release();
  await writing;
  assert.equal(inner.written, "answer");
  await conn.closeWrite();
  assert.equal(inner.endedAt, 6);
  // What came before it broke can still be read.
  inner.breakRead("reset");
  assert.equal(await readText(conn), "hello");
  await failsWith(conn.read(), "reset");
  inner.breakWrite("reset");
  await failsWith(conn.write(text("x")), "reset");
  conn.close();
  conn.close();
  assert.equal(inner.closed, true);
});

Deno.test("what came along with the header is not read from a closed connection", async () => {
  const inner = new FakeChannel();
  inner.push(`${LINE}hello`);
  const { conn } = taken(await acceptHeader(inner, settings()));
  conn.close();
  await assert.rejects(conn.read(), ConnError);
  await assert.rejects(async () => await conn.write(text("x")), ConnError);
  await assert.rejects(conn.closeWrite(), ConnError);
});

Deno.test("what came along with the header is pumped first, and only once", async () => {
  const inner = new FakeChannel();
  inner.push(`${LINE}hello `);
  const { conn } = taken(await acceptHeader(inner, settings()));
  inner.push("world");
  inner.end();
  let pumped = "";
  await conn.pipeTo((bytes) => {
    pumped += words(bytes);
    return pumped === "hello " ? Promise.resolve() : undefined;
  });
  assert.equal(pumped, "hello world");
});

Deno.test("closing settles a read", async () => {
  const inner = new FakeChannel();
  inner.push(LINE);
  const { conn } = taken(await acceptHeader(inner, settings()));
  const reading = failsWith(conn.read(), "closed");
  conn.close();
  await reading;
});

Deno.test("TCP: a megabyte behind the header, both ways", async () => {
  const [near, far] = await tcpPair();
  const bytes = bytesOf(1 << 20);
  const sent = Uint8Array.of(...octets(LINE), ...bytes.subarray(0, 100_000));
  const send = async () => {
    await near.write(sent);
    await near.write(bytes.subarray(100_000));
    await near.closeWrite();
  };
  const sending = send();
  const { conn } = taken(await acceptHeader(far, settings()));
  assert.deepEqual(await readAll(conn), bytes);
  await sending;
  await conn.write(octets("thanks"));
  await conn.closeWrite();
  assert.equal(words(await readAll(near)), "thanks");
  near.close();
  conn.close();
});

Deno.test("TLS behind the header: the handshake knows the client's address", async () => {
  const listener = listenTcp({ host: "127.0.0.1", port: 0 });
  const socket = net.connect({ port: listener.port, host: "127.0.0.1" });
  await once(socket, "connect");
  const accepted = await listener.accept();
  listener.close();
  socket.write(LINE);
  const peer = tls.connect({
    socket,
    servername: "localhost",
    ca: pki().ca.pem,
    cert: pki().client.pem,
    key: pki().client.keyPem,
  });
  const { conn } = taken(await acceptHeader(accepted, settings()));
  const secured = connOf(await server().accept(conn, admit, limits()));
  assert.equal(secured.remote, CLIENT);
  peer.write("hello");
  assert.equal(words(await readSome(secured, 5)), "hello");
  await secured.write(text("welcome"));
  const [answer] = await once(peer, "data");
  assert.equal(String(answer), "welcome");
  const closed = once(peer, "close");
  secured.close();
  peer.destroy();
  await closed;
});
