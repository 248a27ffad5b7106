/**
 * Peers that try to break it: mutated handshakes, hundreds of half-open ones, peers that leave at every
 * stage, chains without end. Nothing of it may crash, hang, leak, or keep a good peer out.
 *
 * @module
 */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { Conn } from "../../src/net/conn.ts";
import {
  admit,
  client,
  connected,
  connOf,
  limits,
  prng,
  readSome,
  refused,
  server,
  text,
  VERSIONS,
  words,
} from "../support/tls/ends.ts";
import { tcpPair } from "../support/tls/tcp_backends.ts";
import { CountingConn, type Meddle, MeddlingConn, memoryPair } from "../support/tls/memory_conn.ts";
import { Process } from "../support/openssl.ts";
import type { Leftovers } from "./tls_soak_process.ts";
import { testPublicAndNative } from "../support/tls/backends.ts";

/** A good client gets through, and does not wait for the timeouts of others. */
async function goodClientWorks(accepting: ReturnType<typeof server>): Promise<void> {
  const started = performance.now();
  const ends = await connected({ server: accepting, pair: await tcpPair() });
  await ends.client.write(text("still there?"));
  assert.equal(words(await readSome(ends.server, 12)), "still there?");
  ends.client.close();
  ends.server.close();
  assert(performance.now() - started < 30_000);
}

/** Both ends come to an end, whichever; true when both were let in. */
async function collide(clientEnd: Conn, serverEnd: Conn, options: {
  readonly client: ReturnType<typeof client>;
  readonly server: ReturnType<typeof server>;
}, timeout = 1_000): Promise<boolean> {
  const both = await Promise.all([
    options.client.connect(clientEnd, admit, limits(timeout)).catch((error: unknown) => error),
    options.server.accept(serverEnd, admit, limits(timeout)).catch((error: unknown) => error),
  ]);
  let letIn = 0;
  for (const result of both) {
    if (result instanceof Error) {
      assert.equal(result.name, "HandshakeError", String(result.stack));
      continue;
    }
    letIn++;
    connOf(result as never).close();
  }
  return letIn === 2;
}

/** Spoils one chunk of a handshake in some way. */
function mutation(random: () => number): { meddle: Meddle; what: string } {
  const pick = (below: number): number => Math.floor(random() * below);
  const target = pick(3);
  const kind = pick(7);
  const spots = Array.from({ length: 1 + pick(4) }, () => [random(), pick(256)] as const);
  const meddle: Meddle = (chunk, index) => {
    if (index !== target) return [chunk];
    const at = Math.floor((spots[0]?.[0] ?? 0) * chunk.length);
    const copy = chunk.slice();
    switch (kind) {
      case 0: // Flip bits.
        for (const [where, bits] of spots) {
          const spot = Math.floor(where * copy.length);
          copy[spot] = (copy[spot] ?? 0) ^ (bits || 1);
        }
        return [copy];
      case 1: // Lose the end.
        return [copy.subarray(0, at)];
      case 2: // Lose a piece.
        return [copy.subarray(0, at), copy.subarray(at + 1 + (spots[0]?.[1] ?? 0))];
      case 3: // Say it twice.
        return [copy, copy];
      case 4: // Put something in.
        return [
          copy.subarray(0, at),
          Uint8Array.from(spots, ([, byte]) => byte),
          copy.subarray(at),
        ];
      case 5: // In pieces of one byte: not a mutation at all.
        return Array.from(copy, (byte) => Uint8Array.of(byte));
      default: // Lose it.
        return [];
    }
  };
  return { meddle, what: `chunk ${target}, mutation ${kind}` };
}

for (const [version] of VERSIONS) {
  testPublicAndNative(`mutated handshakes, ${version}`, async () => {
    const random = prng(version === "TLS1.2" ? 12 : 13);
    const ends = { client: client({ max: version }), server: server() };
    for (let batch = 0; batch < 4; batch++) {
      await Promise.all(Array.from({ length: 50 }, async () => {
        const { meddle, what } = mutation(random);
        const intact = what.endsWith("mutation 5");
        const [clientEnd, serverEnd] = memoryPair();
        const fromClient = random() < 0.5;
        const letIn = await collide(
          fromClient ? new MeddlingConn(clientEnd, meddle) : clientEnd,
          fromClient ? serverEnd : new MeddlingConn(serverEnd, meddle),
          ends,
          intact ? 30_000 : undefined,
        );
        if (intact) assert(letIn, what);
        clientEnd.close();
        serverEnd.close();
      }));
    }
    await goodClientWorks(ends.server);
  });

  testPublicAndNative(
    `a peer that leaves after so many bytes, by FIN and by RST, ${version}`,
    async () => {
      const ends = { client: client({ max: version }), server: server() };
      for (const how of ["fin", "reset", "close"] as const) {
        for (const role of ["client", "server"] as const) {
          const cuts = [0, 1, 5, 50, 200, 240, 300, 600, 900, 1100, 1300, 1600, 2000];
          await Promise.all(cuts.map(async (left) => {
            const [clientEnd, serverEnd] = memoryPair();
            const leaver = role === "client" ? clientEnd : serverEnd;
            const cutting: Meddle = (chunk) => {
              const part = chunk.subarray(0, Math.max(0, left));
              left -= chunk.length;
              if (left > 0) return [part];
              // After this write.
              setTimeout(() => {
                if (how === "reset") leaver.reset();
                else if (how === "fin") void leaver.closeWrite().catch(() => {});
                else leaver.close();
              }, 1);
              return [part];
            };
            await collide(
              role === "client" ? new MeddlingConn(clientEnd, cutting) : clientEnd,
              role === "server" ? new MeddlingConn(serverEnd, cutting) : serverEnd,
              ends,
            );
            clientEnd.close();
            serverEnd.close();
          }));
        }
      }
      await goodClientWorks(ends.server);
    },
  );
}

testPublicAndNative("a ClientHello with bits flipped, cut, or with lengths that lie", async () => {
  const [clientEnd, serverEnd] = memoryPair();
  const counting = new CountingConn(clientEnd, true);
  const first = await Promise.all([
    client().connect(counting, admit, limits()),
    server().accept(serverEnd, admit, limits()),
  ]);
  for (const { conn } of first) conn?.close();
  const hello = counting.written[0];
  assert(hello !== undefined && hello[0] === 22);
  const random = prng(99);
  const accepting = server();
  for (let batch = 0; batch < 8; batch++) {
    await Promise.all(Array.from({ length: 50 }, async () => {
      const copy = hello.slice();
      for (let n = Math.floor(random() * 3); n >= 0; n--) {
        copy[Math.floor(random() * copy.length)] = Math.floor(random() * 256);
      }
      const size = random() < 0.3 ? Math.floor(random() * copy.length) : copy.length;
      const [peer, own] = memoryPair();
      const refusing = refused(
        accepting.accept(own, () => assert.fail("decided"), limits(300)),
        ["protocol", "timeout", "reset", "other"],
      );
      await peer.write(copy.subarray(0, size));
      await peer.closeWrite();
      await peer.read().catch(() => null);
      peer.close();
      await refusing;
      assert(own.isClosed);
    }));
  }
  await goodClientWorks(accepting);
});

testPublicAndNative("200 half-open handshakes at once do not keep a good client out", async () => {
  const accepting = server();
  const stop = new AbortController();
  const pairs = await Promise.all(Array.from({ length: 200 }, tcpPair));
  const pending = pairs.map(async ([peer, own], i) => {
    const cut = refused(accepting.accept(own, admit, limits(60_000, stop.signal)), [
      "other",
      "timeout",
    ]);
    if (i % 2 === 0) await peer.write(Uint8Array.of(22, 3, 1, 2, 0, 1, 0, 1, 0xfc));
    await cut;
    while (await peer.read() !== null);
    peer.close();
  });
  await goodClientWorks(accepting);
  stop.abort();
  await Promise.all(pending);
  await goodClientWorks(accepting);
});

for (const way of ["public", "native"]) {
  Deno.test(`thousands of connections leave nothing behind (${way})`, async () => {
    await using soak = new Process(Deno.execPath(), [
      ...["run", "-A", "--no-check", "--v8-flags=--expose-gc"],
      fileURLToPath(new URL("./tls_soak_process.ts", import.meta.url)),
      way,
    ]);
    assert.equal(await soak.ends(), 0, soak.said);
    const last = soak.said.trimEnd().split("\n").at(-1) ?? "";
    const left: Leftovers = JSON.parse(last);
    assert.deepEqual(left.odd, []);
    assert(left.connections >= 2_000);
    assert.equal(left.descriptors, left.descriptorsBefore);
    // A connection that is not collected is 1 KB of the heap, and some 40 KB with what is outside it.
    assert(left.heapGrown < left.connections * 200, `the heap: ${left.heapGrown} bytes`);
    assert(left.grown < left.connections * 20_000, `the process: ${left.grown} bytes`);
  });
}
