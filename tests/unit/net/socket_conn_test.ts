/**
 * What every channel over TCP does, whichever way it is carried.
 *
 * @module
 */

import assert from "node:assert/strict";
import net from "node:net";
import type { Conn } from "../../../src/net/conn.ts";
import { dialTcp, listenTcp } from "../../../src/net/mod.ts";
import {
  TCP_BACKENDS,
  TCP_PUBLIC,
  type TcpBackend,
  testEachTcpBackend,
} from "../../support/tls/tcp_backends.ts";
import { fault } from "../../support/net.ts";

const LOCAL = { host: "127.0.0.1", port: 0 };
const DIAL = { timeout: 10_000 };

/** Two ends of one connection. */
async function pair(
  { adopt, check }: TcpBackend,
): Promise<{ near: Conn; far: Conn } & Disposable> {
  const listener = listenTcp(LOCAL, { adopt });
  try {
    const dialled = dialTcp({ ...LOCAL, port: listener.port }, { ...DIAL, adopt });
    const [near, far] = await Promise.all([dialled, listener.accept()]);
    [near, far].forEach(check);
    return { near, far, [Symbol.dispose]: () => [near, far].forEach((end) => end.close()) };
  } finally {
    listener.close();
  }
}

/** A channel whose other end can send a real RST. */
async function resettable(
  { adopt, check }: TcpBackend,
): Promise<{ socket: net.Socket; conn: Conn }> {
  const listener = listenTcp(LOCAL, { adopt });
  try {
    const socket = net.connect(listener.port, "127.0.0.1");
    const [conn] = await Promise.all([
      listener.accept(),
      new Promise<void>((done) => socket.once("connect", () => done())),
    ]);
    check(conn);
    return { socket, conn };
  } finally {
    listener.close();
  }
}

function reset(socket: net.Socket): Promise<void> {
  const closed = new Promise<void>((done) => socket.once("close", () => done()));
  socket.resetAndDestroy();
  return closed;
}

async function text(conn: Conn): Promise<string | null> {
  const bytes = await conn.read();
  return bytes === null ? null : new TextDecoder().decode(bytes);
}

testEachTcpBackend("net: bytes, half-close and answer", async (way) => {
  using ends = await pair(way);
  const { near, far } = ends;
  await near.write(new TextEncoder().encode("hello"));
  await near.closeWrite();
  assert.equal(await text(far), "hello");
  assert.equal(await far.read(), null);
  assert.equal(await far.read(), null);
  await far.write(new TextEncoder().encode("answer"));
  assert.equal(await text(near), "answer");
  assert.match(far.remote, /^127\.0\.0\.1:\d+$/);
});

testEachTcpBackend("net: a write of any size is complete", async (way) => {
  using ends = await pair(way);
  const { near, far } = ends;
  const sent = (async () => {
    await near.write(new Uint8Array(20_000_000).fill(7));
    await near.closeWrite();
  })();
  let count = 0;
  for (let bytes = await far.read(); bytes !== null; bytes = await far.read()) {
    assert.equal(bytes[0], 7);
    count += bytes.length;
  }
  await sent;
  assert.equal(count, 20_000_000);
});

Deno.test("net: the read buffer grows with the traffic and shrinks again", async () => {
  using ends = await pair(TCP_PUBLIC);
  const { near, far } = ends;
  const size = async () => (await far.read())?.buffer.byteLength;
  await near.write(new Uint8Array(10));
  assert.equal(await size(), 4096);
  const sent = near.write(new Uint8Array(4_000_000));
  let largest = 0;
  for (let count = 0; count < 4_000_000;) {
    const bytes = await far.read();
    assert.ok(bytes !== null);
    largest = Math.max(largest, bytes.buffer.byteLength);
    count += bytes.length;
  }
  await sent;
  assert.equal(largest, 65536);
  const sizes: (number | undefined)[] = [];
  for (let i = 0; i < 4; i++) {
    await near.write(new Uint8Array(10));
    sizes.push(await size());
  }
  assert.equal(sizes.at(-1), 4096);
});

testEachTcpBackend(
  "net: close settles what is pending, may be repeated, and nothing works after it",
  async (way) => {
    using ends = await pair(way);
    const { near } = ends;
    const read = assert.rejects(near.read(), fault("closed"));
    const write = assert.rejects(
      async () => await near.write(new Uint8Array(50_000_000)),
      fault("closed"),
    );
    near.close();
    near.close();
    await Promise.all([read, write]);
    await assert.rejects(near.read(), fault("closed"));
    await assert.rejects(async () => await near.write(new Uint8Array(1)), fault("closed"));
    await assert.rejects(near.closeWrite(), fault("closed"));
  },
);

testEachTcpBackend("net: a reset is a reset, however often one reads", async (way) => {
  const { socket, conn } = await resettable(way);
  const read = assert.rejects(conn.read(), fault("reset"));
  await reset(socket);
  await read;
  await assert.rejects(conn.read(), fault("reset"));
  await assert.rejects(async () => await conn.write(new Uint8Array(1)), fault("reset"));
  conn.close();
});

testEachTcpBackend(
  "net: data before a reset can be read after a write has failed, but no end",
  async (way) => {
    const { socket, conn } = await resettable(way);
    await new Promise<void>((done) => socket.write("last words", () => done()));
    await reset(socket);
    await assert.rejects(async () => {
      for (;;) await conn.write(new Uint8Array(1000));
    }, fault("reset"));
    assert.equal(await text(conn), "last words");
    await assert.rejects(conn.read(), fault("reset"));
    conn.close();
  },
);

for (const way of TCP_BACKENDS) {
  // The runtime's handle has one number for all that may be wrong with a write, and with it goes what
  // would tell an end that was not read yet from a reset: then it counts as the worse of the two.
  const what = way === TCP_PUBLIC ? "an end" : "a reset, which is the worse guess";
  Deno.test(`net: an end before a reset that was not read yet is ${what} (${way.name})`, async () => {
    const { socket, conn } = await resettable(way);
    await new Promise<void>((done) => socket.end("answer", () => done()));
    assert.equal(await text(conn), "answer");
    await reset(socket);
    await assert.rejects(async () => {
      for (;;) await conn.write(new Uint8Array(1000));
    }, fault("reset"));
    if (way === TCP_PUBLIC) assert.equal(await conn.read(), null);
    else await assert.rejects(conn.read(), fault("reset"));
    conn.close();
  });
}
