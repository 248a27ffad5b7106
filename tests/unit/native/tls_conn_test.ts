/**
 * TLS by the engine's own handle: how bytes come out of it, and what it does with those it cannot use.
 * The public way has to do the same.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Conn } from "../../../src/net/conn.ts";
import { concat } from "../../support/der.ts";
import {
  admit,
  bytesOf,
  connOf,
  failsWith,
  limits,
  readAll,
  readSome,
  sendAll,
  sha256,
  text,
  VERSIONS,
  words,
} from "../../support/tls/ends.ts";
import { memoryPair } from "../../support/tls/memory_conn.ts";
import { Holding } from "../tls/support_holding.ts";
import {
  testEachBackend,
  testEachTlsBackend,
  type TlsBackend,
} from "../../support/tls/backends.ts";

/** Everything until the end, by a pump. */
async function pumpAll(conn: Conn): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  await conn.pipeTo((bytes) => void chunks.push(bytes.slice()));
  return concat(...chunks);
}

/** Fails shortly, where showing the difference would take minutes. */
function same(got: Uint8Array, wanted: Uint8Array): void {
  assert.equal(`${got.length} ${sha256(got)}`, `${wanted.length} ${sha256(wanted)}`);
}

const READERS = { read: readAll, pump: pumpAll } as const;

/** Both ends; what the client writes is held, to be sent as it pleases the test. */
async function held(
  { connected, client }: TlsBackend,
  version: (typeof VERSIONS)[number][0] = "TLS1.3",
): Promise<{ client: Conn; server: Conn; holding: Holding; raw: Conn }> {
  const [near, far] = memoryPair(8_000_000);
  const holding = new Holding(near);
  const ends = await connected({ pair: [holding, far], client: client({ max: version }) });
  holding.hold = true;
  return { ...ends, holding, raw: near };
}

function close(...conns: readonly Conn[]): void {
  for (const conn of conns) conn.close();
}

for (const [version] of VERSIONS) {
  for (const [how, read] of Object.entries(READERS)) {
    testEachTlsBackend(`many records in one read, by ${how}, ${version}`, async (way) => {
      const { client, server, holding, raw } = await held(way, version);
      const parts = Array.from({ length: 60 }, (_, index) => bytesOf(1 + index * 37, index));
      for (const part of parts) await client.write(part);
      await client.closeWrite();
      await holding.release();
      await raw.closeWrite();
      same(await read(server), concat(...parts));
      close(client, server);
    });

    testEachTlsBackend(
      `the last of the handshake, data and the end at once, by ${how}, ${version}`,
      async (way) => {
        for (const size of [1, 16_384, 300_000]) {
          const [near, far] = memoryPair(1_000_000);
          const holding = new Holding(near);
          const accepting = way.server({ max: version }).accept(far, admit, limits());
          const decide: typeof admit = (peer) => {
            holding.hold = true; // TLS 1.3: the client's last flight leaves after this.
            return admit(peer);
          };
          const dialled = connOf(await way.client().connect(holding, decide, limits()));
          const data = bytesOf(size, 10);
          await sendAll(dialled, data);
          await holding.release();
          await near.closeWrite();
          const accepted = connOf(await accepting);
          same(await read(accepted), data);
          close(accepted, dialled);
        }
      },
    );

    testEachTlsBackend(
      `what comes after close_notify is nobody's, by ${how}, ${version}`,
      async (way) => {
        for (const together of [true, false]) {
          const { client, server, holding, raw } = await held(way, version);
          await client.write(text("the end"));
          await client.closeWrite();
          const more = concat(Uint8Array.of(23, 3, 3, 0, 40), bytesOf(40));
          if (together) await holding.release(more);
          else {
            await holding.release();
            await raw.write(more);
          }
          assert.equal(words(await read(server)), "the end");
          assert.equal(await server.read(), null);
          await server.pipeTo(() => assert.fail("taken after the end"));
          // The other half goes on.
          await server.write(text("still here"));
          await server.closeWrite();
          assert.equal(words(await readAll(client)), "still here");
          close(client, server);
        }
      },
    );

    testEachTlsBackend(
      `FIN without close_notify after data is truncation, by ${how}, ${version}`,
      async (way) => {
        for (const cut of [0, 7]) {
          const { client, server, holding, raw } = await held(way, version);
          await client.write(text("half a mess"));
          // Of the next record only the beginning comes.
          await holding.release(Uint8Array.of(23, 3, 3, 0, 60, 1, 2).subarray(0, cut));
          await raw.closeWrite();
          await failsWith(read(server), "truncated");
          await failsWith(read(server), "truncated");
          close(client, server);
        }
      },
    );

    testEachTlsBackend(
      `a spoilt record: the alert leaves, and nothing works after it, by ${how}, ${version}`,
      async (way) => {
        const { client, server, raw } = await held(way, version);
        await raw.write(concat(Uint8Array.of(23, 3, 3, 0, 40), bytesOf(40)));
        await failsWith(read(server), "protocol");
        await failsWith(client.read(), "protocol");
        await failsWith(read(server), "protocol");
        await failsWith(server.write(text("x")), "protocol");
        await failsWith(server.closeWrite(), "protocol");
        close(client, server);
      },
    );
  }
}

testEachBackend(
  "a large write from memory that changes at once arrives as it was",
  async ({ connected }) => {
    for (const size of [1000, 16_384, 48 * 1024, 48 * 1024 + 1, 64 * 1024, 300_000]) {
      const ends = await connected();
      // The wire is full already.
      const before = bytesOf(6_000_000, 3);
      const first = ends.client.write(before);
      await new Promise((later) => setTimeout(later, 20));
      const reading = readAll(ends.server);
      await first;
      const data = bytesOf(size, 4);
      const lent = data.slice();
      const writing = ends.client.write(lent);
      lent.fill(0);
      await writing;
      await ends.client.closeWrite();
      const got = await reading;
      assert.equal(got.length, before.length + size);
      same(got.subarray(before.length), data);
      close(ends.client, ends.server);
    }
  },
);

testEachTlsBackend(
  "chunks that wait to be written stay as they are, however much comes at once",
  async (way) => {
    // Far more in one read than a socket can give.
    const { client, server, holding } = await held(way);
    const data = bytesOf(700_000, 6);
    await sendAll(client, data);
    await holding.release();
    const [to, end] = memoryPair(10_000);
    const passing = server.pipeTo((bytes) => to.write(bytes)).then(() => to.closeWrite());
    await new Promise((later) => setTimeout(later, 20));
    same(await readAll(end), data);
    await passing;
    close(client, server, to, end);
  },
);

testEachTlsBackend(
  "a take that throws or rejects ends the pump, and nothing of the rest is lost",
  async (way) => {
    const reason = new Error("no more");
    const takes = {
      throws: () => {
        throw reason;
      },
      rejects: () => Promise.reject(reason),
      "rejects later": () => new Promise<void>((_, reject) => setTimeout(() => reject(reason), 5)),
    };
    for (const [how, take] of Object.entries(takes)) {
      const { client, server, holding } = await held(way);
      const data = bytesOf(500_000, 6);
      await sendAll(client, data);
      await holding.release();
      let taken = 0;
      await assert.rejects(
        server.pipeTo((bytes) => {
          taken = bytes.length;
          return take();
        }),
        (error) => error === reason,
        how,
      );
      assert.ok(taken > 0);
      const rest = await readAll(server);
      assert.equal(rest.length, data.length - taken, how);
      same(rest, data.subarray(taken));
      close(client, server);
    }
  },
);

testEachBackend("an echo on the same connection, from inside the pump", async ({ connected }) => {
  const ends = await connected();
  const echoing = ends.server.pipeTo((bytes) => ends.server.write(bytes))
    .then(() => ends.server.closeWrite());
  const data = bytesOf(3_000_000, 5);
  const [got] = await Promise.all([readAll(ends.client), sendAll(ends.client, data)]);
  same(got, data);
  await echoing;
  close(ends.client, ends.server);
});

testEachBackend("close() from inside the take", async ({ connected }) => {
  const ends = await connected();
  const pumping = failsWith(
    ends.server.pipeTo(() => {
      ends.server.close();
      return undefined;
    }),
    "closed",
  );
  await ends.client.write(text("hello"));
  await pumping;
  await failsWith(ends.server.write(text("x")), "closed");
  close(ends.client, ends.server);
});

testEachBackend("reads and pumps may follow one another", async ({ connected }) => {
  const ends = await connected();
  await ends.client.write(text("one"));
  assert.equal(words(await readSome(ends.server, 3)), "one");
  const stop = new Error("stop");
  await ends.client.write(text("two"));
  let came = "";
  await assert.rejects(
    ends.server.pipeTo((bytes) => {
      came += words(bytes);
      throw stop;
    }),
    (error) => error === stop,
  );
  await sendAll(ends.client, text("three"));
  assert.equal(words(await readAll(ends.server)), "three");
  assert.equal(came, "two");
  close(ends.client, ends.server);
});
