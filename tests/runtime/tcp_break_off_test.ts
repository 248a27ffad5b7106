/**
 * `reset` of a plain TCP connection: the peer sees RST and no end before it, whatever is under way. That
 * the descriptors come back is in `native_test.ts`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { TCP_NATIVE } from "../support/tls/tcp_backends.ts";
import { facingPeer, fault } from "../support/net.ts";

const ROUNDS = 20;

/** What is under way when the connection is broken off. */
const STATES = {
  "nothing": () => undefined,
  "a read": (conn) => conn.read(),
  "a pump": (conn) => conn.pipeTo(() => undefined),
  "a write that the peer does not take": async (conn, peer) => {
    peer.stall();
    for (;;) await conn.write(new Uint8Array(1_000_000));
  },
  "a write to a peer that has spoken": async (conn, peer) => {
    await peer.send("hello");
    assert.ok(await conn.read() !== null);
    peer.stall();
    for (;;) await conn.write(new Uint8Array(1_000_000));
  },
} satisfies Record<
  string,
  (
    conn: Awaited<ReturnType<typeof facingPeer>>["conn"],
    peer: Awaited<ReturnType<typeof facingPeer>>["peer"],
  ) => Promise<unknown> | undefined
>;

for (const [state, begin] of Object.entries(STATES)) {
  Deno.test(`broken off: ${state} under way`, async () => {
    for (let round = 0; round < ROUNDS; round++) {
      await using ends = await facingPeer(TCP_NATIVE);
      const { conn, peer } = ends;
      const underWay = begin(conn, peer)?.catch((error: unknown) => error);
      // Whatever can be written is.
      await new Promise((done) => setTimeout(done, 20));
      conn.reset();
      conn.reset();
      conn.close();
      if (underWay !== undefined) {
        assert.ok(fault("closed")(await underWay), String(await underWay));
      }
      await assert.rejects(conn.read(), fault("closed"));
      if (!state.startsWith("a write")) {
        assert.equal(await peer.ended(), "reset", `round ${round}`);
      }
    }
  });
}

Deno.test("broken off: the peer reads what had arrived before, and then the reset", async () => {
  await using ends = await facingPeer(TCP_NATIVE);
  const { conn, peer } = ends;
  await conn.write(new TextEncoder().encode("half an answer"));
  await peer.receives("half an answer");
  conn.reset();
  assert.equal(await peer.ended(), "reset");
});
