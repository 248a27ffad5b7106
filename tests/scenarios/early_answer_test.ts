/**
 * A target answers before it has read everything and closes, as an HTTP server does with 413: its
 * answer arrives all the same.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Conn } from "../../src/net/conn.ts";
import { type End, plainEnd, readToEnd, tlsEnd } from "../support/conns.ts";
import { TestBed } from "../support/testbed.ts";
import { PeerServer } from "../support/sockets.ts";

/** Sends for as long as it goes. */
async function flood(conn: Conn): Promise<void> {
  const block = new Uint8Array(65_536);
  try {
    for (;;) await conn.write(block);
  } catch {
    // Ended, as it should.
  }
}

Deno.test("an early answer arrives although its backend reset what else was sent", async (t) => {
  await using testBed = await TestBed.create();
  const answer = "HTTP/1.1 413 Content Too Large\r\nconnection: close\r\n\r\n" + "x".repeat(20_000);
  const backend = testBed.use(
    await PeerServer.listen((peer) => {
      // Reads a little, answers and leaves with the rest unread: that is a reset.
      peer.onBytes = () => {
        peer.stall();
        void peer.send(answer).then(() => setTimeout(() => peer.destroy(), 50));
      };
    }),
  );
  const { server, client } = await testBed.tunnel(backend.address);
  const clients: Record<string, () => Promise<End>> = {
    "server mode": () => tlsEnd(server.port, testBed.pki),
    "the full tunnel": () => plainEnd(client.port),
  };
  for (const [name, connect] of Object.entries(clients)) {
    await t.step(name, async () => {
      const downstream = testBed.use(await connect());
      const sending = flood(downstream);
      // Followed by an end or a reset.
      const { text } = await readToEnd(downstream);
      assert.equal(text.length, answer.length);
      assert.ok(text === answer);
      downstream.close();
      await sending;
    });
  }
});
