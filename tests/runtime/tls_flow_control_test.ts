/**
 * Pausing a socket of `node:tls` does not pause its transport. Ours takes from the transport what is asked
 * for, and hands on no more than the peer takes.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import tls from "node:tls";
import type { Conn } from "../../src/net/conn.ts";
import {
  admit,
  bytesOf,
  connOf,
  credentials,
  DEFENCE_NO_LONGER_NEEDED,
  limits,
  pki,
  readAll,
  sendAll,
  settled,
  VERSIONS,
} from "../support/tls/ends.ts";
import { CountingConn, memoryPair } from "../support/tls/memory_conn.ts";
import { plainServer } from "../support/plain_tls.ts";
import { testEachBackend, testEachTlsBackend } from "../support/tls/backends.ts";
import { until } from "../support/wait.ts";

const MB = 1024 * 1024;
const OFFERED = 64 * MB;

/** Writes `OFFERED` bytes; gives their hash. */
async function offer(conn: Conn): Promise<string> {
  const hash = createHash("sha256");
  const block = bytesOf(MB);
  for (let sent = 0; sent < OFFERED; sent += MB) {
    block[sent / MB % MB] = sent / MB;
    hash.update(block);
    await conn.write(block);
  }
  await conn.closeWrite();
  return hash.digest("hex");
}

/** Reads to the end; `first` was read before. */
async function hashOf(
  conn: Conn,
  first: Uint8Array = new Uint8Array(0),
): Promise<{ size: number; hash: string }> {
  const hash = createHash("sha256").update(first);
  let size = first.length;
  for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) {
    hash.update(bytes);
    size += bytes.length;
  }
  return { size, hash: hash.digest("hex") };
}

Deno.test("control: a paused node:tls socket goes on reading", async () => {
  const own = credentials(pki().server, [pki().ca]);
  let paused: tls.TLSSocket | undefined;
  await using plain = await plainServer({ cert: own.certPem, key: own.keyPem }, (socket) => {
    paused = socket;
    socket.once("data", () => socket.pause());
  });
  const sender = tls.connect({
    host: "127.0.0.1",
    port: plain.port,
    servername: "localhost",
    ca: own.caPem ?? [],
  });
  sender.on("error", () => {});
  await once(sender, "secureConnect");
  const block = bytesOf(MB);
  let accepted = 0;
  const sending = (async () => {
    while (accepted < OFFERED && !sender.destroyed) {
      await new Promise<void>((done) => sender.write(block, () => done()));
      accepted += MB;
    }
  })();
  await until(() => paused !== undefined);
  await settled(() => paused?.bytesRead ?? 0, 300);
  assert(paused !== undefined && paused.isPaused());
  const taken = paused.bytesRead;
  sender.destroy();
  await once(sender, "close");
  await sending;
  assert(taken > OFFERED / 2, `it took ${taken} of ${OFFERED} bytes: ${DEFENCE_NO_LONGER_NEEDED}`);
});

for (const [version] of VERSIONS) {
  for (const stalled of ["server", "client"] as const) {
    testEachTlsBackend(
      `a stalled ${stalled} leaves the bytes on the wire, ${version}`,
      async ({ client, connected }) => {
        const [clientEnd, serverEnd] = memoryPair(256 * 1024);
        const counting = new CountingConn(stalled === "client" ? clientEnd : serverEnd);
        const ends = await connected({
          pair: stalled === "client" ? [counting, serverEnd] : [clientEnd, counting],
          client: client({ max: version }),
        });
        const [reader, writer] = stalled === "client"
          ? [ends.client, ends.server]
          : [ends.server, ends.client];
        const offered = offer(writer);
        const first = (await reader.read())?.slice();
        assert(first !== undefined && first.length > 0);
        const taken = await settled(() => counting.bytesRead);
        assert(taken < MB, `${taken} bytes were read while nobody reads`);
        const arrived = await hashOf(reader, first);
        assert.deepEqual(arrived, { size: OFFERED, hash: await offered });
        ends.client.close();
        ends.server.close();
      },
    );
  }
}

testEachBackend(
  "every byte that had to wait arrives, over TCP, both directions",
  async ({ connected, tcpPair }) => {
    for (const turned of [false, true]) {
      const ends = await connected({ pair: await tcpPair() });
      const [reader, writer] = turned ? [ends.client, ends.server] : [ends.server, ends.client];
      let done = false;
      const offered = offer(writer).finally(() => done = true);
      await new Promise((later) => setTimeout(later, 150));
      assert.equal(done, false, "64 MB cannot be in the kernel");
      const arrived = await hashOf(reader);
      assert.deepEqual(arrived, { size: OFFERED, hash: await offered });
      ends.client.close();
      ends.server.close();
    }
  },
);

for (const stalled of ["server", "client"] as const) {
  testEachTlsBackend(`a write waits for a ${stalled} that does not read`, async ({ connected }) => {
    const [clientEnd, serverEnd] = memoryPair(64 * 1024);
    const [clientCounting, serverCounting] = [
      new CountingConn(clientEnd),
      new CountingConn(serverEnd),
    ];
    const ends = await connected({ pair: [clientCounting, serverCounting] });
    const [reader, writer, counting] = stalled === "server"
      ? [ends.server, ends.client, clientCounting]
      : [ends.client, ends.server, serverCounting];
    const before = counting.bytesWritten;
    const data = bytesOf(8 * MB);
    let written = false;
    const writing = (async () => {
      await writer.write(data);
      written = true;
    })();
    const queued = await settled(() => counting.bytesWritten) - before;
    assert.equal(written, false);
    assert(queued < 256 * 1024, `${queued} bytes were handed on to somebody who does not read`);
    const reading = readAll(reader);
    await writing;
    await writer.closeWrite();
    assert.deepEqual(await reading, data);
    ends.client.close();
    ends.server.close();
  });
}

testEachBackend("a stalled reader does not stop its own writes", async ({ connected }) => {
  const ends = await connected();
  const flood = ends.client.write(bytesOf(2 * MB));
  const reply = bytesOf(MB, 2);
  const writing = sendAll(ends.server, reply);
  assert.deepEqual(await readAll(ends.client), reply);
  await writing;
  const drained = readAll(ends.server);
  await flood;
  await ends.client.closeWrite();
  assert.equal((await drained).length, 2 * MB);
  ends.client.close();
  ends.server.close();
});

testEachTlsBackend(
  "bytes that came with the handshake are not lost",
  async ({ client, server }) => {
    for (const [version] of VERSIONS) {
      const [clientEnd, serverEnd] = memoryPair();
      const accepting = server().accept(serverEnd, admit, limits());
      const dialled = await client({ max: version }).connect(clientEnd, admit, limits());
      const early = bytesOf(20_000, 3);
      await connOf(dialled).write(early);
      await connOf(dialled).closeWrite();
      const accepted = connOf(await accepting);
      assert.deepEqual(await readAll(accepted), early);
      accepted.close();
      connOf(dialled).close();
    }
  },
);
