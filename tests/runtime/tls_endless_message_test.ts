/**
 * Peers that begin a message and send pieces of it without end. rustls takes 64 KB of one, then keeps
 * whatever else comes, without a word and without a limit: anybody could fill the memory that way, before
 * or after the handshake.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Conn } from "../../src/net/conn.ts";
import { holder, VERSIONS } from "../support/adversary/arena.ts";
import { playClient } from "../support/adversary/client.ts";
import { RECORD, record } from "../support/adversary/octets.ts";
import { admit, failsWith, limits, pki, refused } from "../support/tls/ends.ts";
import { CountingConn, memoryPair } from "../support/tls/memory_conn.ts";
import { testEachBackend, testEachTlsBackend } from "../support/tls/backends.ts";

/** What a peer is given before it is cut off, and what else one read of a socket takes. */
const ENOUGH = 512 * 1024;

/** The first record of a message of this type, 60,000 octets long. */
const beginning = (type: number): Buffer => Buffer.from([type, 0, 0xea, 0x60]);

/** Many records of one octet of it each. */
const PIECES = Buffer.concat(
  Array.from({ length: 5000 }, () => record(RECORD.handshake, Buffer.alloc(1))),
);

/** Sends pieces until the other end stops taking them. */
async function sendOn(conn: Conn, type: number): Promise<void> {
  try {
    await conn.write(record(RECORD.handshake, beginning(type)));
    for (let sent = 0; sent < 8 * ENOUGH; sent += PIECES.length) await conn.write(PIECES);
  } catch {
    // Cut off, as it should be.
  }
}

testEachTlsBackend("a hello without end", async ({ server, client }) => {
  for (const role of ["server", "client"] as const) {
    const [peer, own] = memoryPair(4 * ENOUGH);
    const counting = new CountingConn(own);
    const running = role === "server"
      ? server().accept(counting, () => assert.fail("decided"), limits(5000))
      : client().connect(counting, () => assert.fail("decided"), limits(5000));
    const ended = refused(running, "protocol");
    await sendOn(peer, role === "server" ? 1 : 2);
    await ended;
    assert.ok(counting.bytesRead < ENOUGH, `${role}: took ${counting.bytesRead} bytes`);
    assert.ok(own.isClosed);
  }
});

for (const version of VERSIONS) {
  testEachBackend(`a message without end after the handshake, ${version}`, async (way) => {
    let served: Promise<void> | undefined;
    let sent = 0;
    const own = way.server({ max: version });
    await using listening = way.listen(() => own, (conn) => {
      const echoing = conn.pipeTo((bytes) => conn.write(bytes));
      served = failsWith(echoing, "protocol");
      return served;
    }, admit);
    await playClient(listening.port, version, {
      ...holder(pki().client),
      afterwards: async (line) => {
        line.put(RECORD.handshake, beginning(4));
        while (line.peer.ending === "open" && sent < 32 * ENOUGH) {
          for (let piece = 0; piece < 1000; piece++) line.put(RECORD.handshake, Buffer.alloc(1));
          const flight = line.take();
          sent += flight.length;
          await line.peer.send(flight);
        }
      },
    });
    await served;
    assert.ok(served !== undefined && sent > 0);
    // The rest is what the kernel holds.
    assert.ok(sent < 16 * ENOUGH, `sent ${sent} bytes`);
  });
}
