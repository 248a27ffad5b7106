/**
 * TLS connections keep the contract of `Conn`, with megabytes each way.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Conn } from "../../src/net/conn.ts";
import {
  bytesOf,
  failsWith,
  prng,
  readAll,
  readSome,
  sha256,
  text,
  VERSIONS,
  words,
} from "../support/tls/ends.ts";
import { memoryPair } from "../support/tls/memory_conn.ts";
import { testEachBackend, testEachTlsBackend } from "../support/tls/backends.ts";

const MB = 1024 * 1024;

/** Writes in chunks of odd sizes and ends. */
async function writeOddly(conn: Conn, data: Uint8Array, seed: number): Promise<void> {
  const next = prng(seed);
  for (let at = 0; at < data.length;) {
    const size = [1, 17, 1000, 16_384, 16_385, 100_003][Math.floor(next() * 6)] ?? 1;
    await conn.write(data.subarray(at, at + size));
    at += size;
  }
  await conn.closeWrite();
}

for (const [version] of VERSIONS) {
  testEachBackend(`16 MiB each way at once, ${version}`, async ({ client, connected, tcpPair }) => {
    const ends = await connected({
      pair: await tcpPair(),
      client: client({ max: version }),
    });
    const [there, back] = [bytesOf(16 * MB, 5), bytesOf(16 * MB, 6)];
    const [atServer, atClient] = await Promise.all([
      readAll(ends.server),
      readAll(ends.client),
      writeOddly(ends.client, there, 1),
      writeOddly(ends.server, back, 2),
    ]);
    assert.equal(sha256(atServer), sha256(there));
    assert.equal(sha256(atClient), sha256(back));
    ends.client.close();
    ends.server.close();
  });
}

testEachBackend(
  "2000 writes of one byte, and what is written may be changed afterwards",
  async ({ connected }) => {
    const ends = await connected();
    const one = new Uint8Array(1);
    const writing = (async () => {
      for (let i = 0; i < 2000; i++) {
        one[0] = i;
        await ends.client.write(one);
      }
      await ends.client.closeWrite();
    })();
    const got = await readAll(ends.server);
    await writing;
    assert.deepEqual(got, Uint8Array.from({ length: 2000 }, (_, i) => i));
    ends.client.close();
    ends.server.close();
  },
);

testEachBackend("one write of 20 MiB", async ({ connected }) => {
  const ends = await connected();
  const data = bytesOf(20 * MB, 9);
  const [got] = await Promise.all([
    readSome(ends.client, data.length),
    ends.server.write(data),
  ]);
  assert.equal(sha256(got), sha256(data));
  ends.client.close();
  ends.server.close();
});

testEachBackend("an empty write sends nothing and resolves", async ({ connected }) => {
  const ends = await connected();
  await ends.client.write(new Uint8Array(0));
  await ends.client.write(text("after"));
  assert.equal(words(await readSome(ends.server, 1)), "after");
  ends.client.close();
  ends.server.close();
});

testEachTlsBackend(
  "a read that waits gets what comes later; the remote address is the transport's",
  async ({ connected }) => {
    const ends = await connected({ pair: memoryPair() });
    const reading = ends.server.read();
    await ends.client.write(text("late"));
    assert.equal(words(await reading ?? new Uint8Array(0)), "late");
    assert.equal(ends.server.remote, "memory:0");
    ends.client.close();
    ends.server.close();
  },
);

testEachBackend("what was read stays as it is until the next read", async ({ connected }) => {
  const ends = await connected();
  await ends.client.write(text("first"));
  const first = await ends.server.read();
  assert(first !== null);
  await ends.client.write(text("SECOND"));
  await new Promise((later) => setTimeout(later, 20));
  assert.equal(words(first), "first");
  assert.equal(words(await readSome(ends.server, 6)), "SECOND");
  ends.client.close();
  ends.server.close();
});

for (const role of ["client", "server"] as const) {
  testEachTlsBackend(
    `close() settles what is pending and all that comes later, ${role}`,
    async ({ connected }) => {
      const ends = await connected({ pair: memoryPair(16 * 1024) });
      const own = ends[role];
      const pending = [
        failsWith(own.read(), "closed"),
        failsWith(own.write(bytesOf(MB)), "closed"),
      ];
      await new Promise((later) => setTimeout(later, 20));
      own.close();
      await Promise.all(pending);
      own.close();
      await failsWith(own.read(), "closed");
      await failsWith(own.write(text("x")), "closed");
      await failsWith(own.write(new Uint8Array(0)), "closed");
      await failsWith(own.closeWrite(), "closed");
      own.close();
      ends.client.close();
      ends.server.close();
    },
  );

  testEachTlsBackend(
    `close() while closeWrite() waits for a full wire, ${role}`,
    async ({ connected }) => {
      const ends = await connected({ pair: memoryPair(4 * 1024) });
      const own = ends[role];
      const writing = failsWith(own.write(bytesOf(MB)), "closed");
      await new Promise((later) => setTimeout(later, 20));
      const ending = failsWith(own.closeWrite(), "closed");
      await new Promise((later) => setTimeout(later, 20));
      own.close();
      await Promise.all([writing, ending]);
      ends.client.close();
      ends.server.close();
    },
  );

  testEachBackend(
    `close() right after the handshake, with nothing read or written, ${role}`,
    async ({ connected, tcpPair }) => {
      const ends = await connected({ pair: await tcpPair() });
      ends[role].close();
      const other = ends[role === "client" ? "server" : "client"];
      await assert.rejects(other.read(), { name: "ConnError" });
      other.close();
    },
  );
}

testEachBackend("writing after closeWrite() is an error, not silence", async ({ connected }) => {
  const ends = await connected();
  await ends.client.closeWrite();
  await assert.rejects(async () => await ends.client.write(text("too late")), {
    name: "ConnError",
  });
  assert.equal(await ends.server.read(), null);
  ends.client.close();
  ends.server.close();
});

testEachBackend("reading on after the end says end again", async ({ connected }) => {
  const ends = await connected();
  await ends.client.closeWrite();
  assert.equal(await ends.server.read(), null);
  assert.equal(await ends.server.read(), null);
  ends.client.close();
  ends.server.close();
});
