/**
 * How a TLS stream ends: each half for itself with close_notify, cut short without one, or reset.
 *
 * @module
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import tls from "node:tls";
import {
  bytesOf,
  credentials,
  DEFENCE_NO_LONGER_NEEDED,
  failsWith,
  pki,
  readAll,
  readSome,
  sendAll,
  settled,
  text,
  VERSIONS,
  words,
} from "../support/tls/ends.ts";
import { until } from "../support/wait.ts";
import { memoryPair } from "../support/tls/memory_conn.ts";
import { plainServer } from "../support/plain_tls.ts";
import { testEachBackend, testEachTlsBackend } from "../support/tls/backends.ts";

for (const [version] of VERSIONS) {
  for (const first of ["client", "server"] as const) {
    testEachBackend(
      `half-close: the ${first} ends first and still gets its answer, ${version}`,
      async ({ client, connected, tcpPair }) => {
        const ends = await connected({
          pair: await tcpPair(),
          client: client({ max: version }),
        });
        const [early, late] = first === "client"
          ? [ends.client, ends.server]
          : [ends.server, ends.client];
        const question = bytesOf(300_000, 4);
        await Promise.all([
          sendAll(early, question),
          readAll(late).then((got) => assert.deepEqual(got, question)),
        ]);
        const answer = bytesOf(500_000, 5);
        await Promise.all([
          sendAll(late, answer),
          readAll(early).then((got) => assert.deepEqual(got, answer)),
        ]);
        assert.equal(await early.read(), null);
        ends.client.close();
        ends.server.close();
      },
    );

    testEachBackend(
      `the end is there for a reader who comes late, ${first} ends, ${version}`,
      async ({ client, connected }) => {
        const ends = await connected({ client: client({ max: version }) });
        const [ending, reading] = first === "client"
          ? [ends.client, ends.server]
          : [ends.server, ends.client];
        await ending.write(text("last words"));
        await ending.closeWrite();
        await new Promise((later) => setTimeout(later, 60));
        assert.equal(words(await readAll(reading)), "last words");
        await reading.write(text("still here"));
        await reading.closeWrite();
        assert.equal(words(await readAll(ending)), "still here");
        ends.client.close();
        ends.server.close();
      },
    );

    testEachTlsBackend(
      `FIN without close_notify is truncation, ${first} cut, ${version}`,
      async ({ client, connected }) => {
        const [clientEnd, serverEnd] = memoryPair();
        const ends = await connected({
          pair: [clientEnd, serverEnd],
          client: client({ max: version }),
        });
        const [cut, reading] = first === "client"
          ? [clientEnd, ends.server]
          : [serverEnd, ends.client];
        await ends[first].write(text("half a mess"));
        await cut.closeWrite();
        const got = await reading.read();
        assert.equal(words(got ?? new Uint8Array(0)), "half a mess");
        await failsWith(reading.read(), "truncated");
        await failsWith(reading.read(), "truncated");
        ends.client.close();
        ends.server.close();
      },
    );

    testEachTlsBackend(
      `FIN without close_notify is an end where none is required, ${first} cut, ${version}`,
      async ({ client, server, connected }) => {
        const [clientEnd, serverEnd] = memoryPair();
        const lax = { requireCloseNotify: false };
        const ends = await connected({
          pair: [clientEnd, serverEnd],
          client: client({ max: version, ...lax }),
          server: server(lax),
        });
        const [cut, reading, other] = first === "client"
          ? [clientEnd, ends.server, ends.client]
          : [serverEnd, ends.client, ends.server];
        await ends[first].write(text("a question"));
        await cut.closeWrite();
        assert.equal(words(await readAll(reading)), "a question");
        assert.equal(reading.endedWithoutNotify, true);
        const answer = bytesOf(300_000, 3);
        await Promise.all([
          sendAll(reading, answer),
          readAll(other).then((got) => assert.deepEqual(got, answer)),
        ]);
        assert.equal(other.endedWithoutNotify, false);
        ends.client.close();
        ends.server.close();
      },
    );

    testEachTlsBackend(
      `RST is a reset, ${first} cut, ${version}`,
      async ({ client, connected }) => {
        const [clientEnd, serverEnd] = memoryPair();
        const ends = await connected({
          pair: [clientEnd, serverEnd],
          client: client({ max: version }),
        });
        const reading = first === "client" ? ends.server : ends.client;
        const pending = failsWith(reading.read(), "reset");
        clientEnd.reset();
        await pending;
        await failsWith(reading.write(text("x")), "reset");
        ends.client.close();
        ends.server.close();
      },
    );
  }
}

for (const requireCloseNotify of [true, false]) {
  for (const piece of [[23], [23, 3, 3, 1, 0], [23, 3, 3, 1, 0, 7, 7, 7]]) {
    testEachTlsBackend(
      `an end after ${piece.length} bytes of a record is truncation, close_notify ${
        requireCloseNotify ? "required" : "not required"
      }`,
      async ({ connected, server }) => {
        const [clientEnd, serverEnd] = memoryPair();
        const ends = await connected({
          pair: [clientEnd, serverEnd],
          server: server({ requireCloseNotify }),
        });
        await clientEnd.write(Uint8Array.from(piece));
        await clientEnd.closeWrite();
        await failsWith(ends.server.read(), "truncated");
        ends.client.close();
        ends.server.close();
      },
    );
  }
}

testEachTlsBackend(
  "a forged record is a protocol fault, and the end of both directions",
  async ({ connected }) => {
    const [clientEnd, serverEnd] = memoryPair();
    const ends = await connected({ pair: [clientEnd, serverEnd] });
    await clientEnd.write(Uint8Array.of(23, 3, 3, 0, 20, ...bytesOf(20)));
    await failsWith(ends.server.read(), "protocol");
    await assert.rejects(async () => await ends.server.write(text("x")), { name: "ConnError" });
    ends.client.close();
    ends.server.close();
  },
);

testEachBackend("a reset over TCP, seen by a writer", async ({ connected, tcpPair }) => {
  const ends = await connected({ pair: await tcpPair() });
  const blocked = failsWith(ends.server.write(bytesOf(30_000_000)), "reset");
  await new Promise((later) => setTimeout(later, 20));
  // Closing with unread bytes resets.
  ends.client.close();
  await blocked;
  ends.server.close();
});

/** What came of a connection whose receiver was paused for a while. */
type Paused = { readonly got: number; readonly ended: boolean };

/** Sends to a plain `node:tls` server that is paused, and resumes it when all must be there. */
async function sendToPaused(size: number, notify: boolean): Promise<Paused> {
  const own = credentials(pki().server, [pki().ca]);
  let got = 0;
  let ended = false;
  let paused: tls.TLSSocket | undefined;
  await using plain = await plainServer({ cert: own.certPem, key: own.keyPem }, (socket) => {
    paused = socket;
    socket.on("data", (bytes) => got += bytes.length);
    socket.on("end", () => ended = true);
    socket.pause();
  });
  const raw = net.connect(plain.port, "127.0.0.1");
  raw.on("error", () => {});
  const sender = tls.connect({ socket: raw, ca: own.caPem ?? [], servername: "localhost" });
  sender.on("error", () => {});
  await once(sender, "secureConnect");
  await new Promise<void>((done) => sender.write(bytesOf(size), () => done()));
  if (notify) sender.end();
  else raw.end();
  await until(() => paused !== undefined);
  await settled(() => paused?.bytesRead ?? 0, 100);
  paused?.resume();
  await until(() => got === size, "all of it was delivered");
  await new Promise((later) => setTimeout(later, 150));
  sender.destroy();
  raw.destroy();
  return { got, ended };
}

Deno.test("control: a paused node:tls socket loses its end for good", async () => {
  for (const notify of [true, false]) {
    const { ended } = await sendToPaused(100_000, notify);
    assert.equal(ended, false, DEFENCE_NO_LONGER_NEEDED);
  }
});

for (const [version] of VERSIONS) {
  for (const size of [0, 1, 100_000, 3_000_000]) {
    for (const notify of [true, false]) {
      const how = notify ? "with" : "without";
      testEachTlsBackend(
        `ours keeps an end that comes while nobody reads: ${size} bytes, ${how} close_notify, ${version}`,
        async ({ client, connected }) => {
          const [clientEnd, serverEnd] = memoryPair(8_000_000);
          const ends = await connected({
            pair: [clientEnd, serverEnd],
            client: client({ max: version }),
          });
          const data = bytesOf(size, 8);
          await ends.client.write(data);
          if (notify) await ends.client.closeWrite();
          else await clientEnd.closeWrite();
          await new Promise((later) => setTimeout(later, 20));
          if (notify) {
            assert.deepEqual(await readAll(ends.server), data);
          } else {
            if (size > 0) assert.deepEqual(await readSome(ends.server, size), data);
            await failsWith(ends.server.read(), "truncated");
          }
          ends.client.close();
          ends.server.close();
        },
      );
    }
  }
}

for (const room of [16, 100, 300]) {
  testEachTlsBackend(
    `the end comes after what the engine still has to send, ${room} bytes at a time`,
    async ({ connected }) => {
      // Session tickets wait for a client that does not read yet.
      const ends = await connected({ pair: memoryPair(room) });
      const ending = ends.server.closeWrite();
      await new Promise((later) => setTimeout(later, 20));
      assert.equal(await ends.client.read(), null);
      await ending;
      ends.client.close();
      ends.server.close();
    },
  );
}
