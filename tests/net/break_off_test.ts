/**
 * `reset` of a plain TCP connection: the peer sees RST and no end before it, whatever is under way. That
 * the descriptors come back is in `native_test.ts`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { NATIVE } from "../support/ways.ts";
import { facingPeer, fault } from "./support.ts";

const ROUNDS = 20;

/** What is under way when the connection is broken off. */
const STATES = {
  "nothing": () => undefined,
  "a read": (channel) => channel.read(),
  "a pump": (channel) => channel.pump(() => undefined),
  "a write that the peer does not take": async (channel, peer) => {
    peer.stall();
    for (;;) await channel.write(new Uint8Array(1_000_000));
  },
  "a write to a peer that has spoken": async (channel, peer) => {
    await peer.send("hello");
    assert.ok(await channel.read() !== null);
    peer.stall();
    for (;;) await channel.write(new Uint8Array(1_000_000));
  },
} satisfies Record<
  string,
  (
    channel: Awaited<ReturnType<typeof facingPeer>>["channel"],
    peer: Awaited<ReturnType<typeof facingPeer>>["peer"],
  ) => Promise<unknown> | undefined
>;

for (const [state, begin] of Object.entries(STATES)) {
  Deno.test(`broken off: ${state} under way`, async () => {
    for (let round = 0; round < ROUNDS; round++) {
      await using ends = await facingPeer(NATIVE);
      const { channel, peer } = ends;
      const underWay = begin(channel, peer)?.catch((error: unknown) => error);
      // Whatever can be written is.
      await new Promise((done) => setTimeout(done, 20));
      channel.reset();
      channel.reset();
      channel.close();
      if (underWay !== undefined) {
        assert.ok(fault("closed")(await underWay), String(await underWay));
      }
      await assert.rejects(channel.read(), fault("closed"));
      if (!state.startsWith("a write")) {
        assert.equal(await peer.ended(), "reset", `round ${round}`);
      }
    }
  });
}

Deno.test("broken off: the peer reads what had arrived before, and then the reset", async () => {
  await using ends = await facingPeer(NATIVE);
  const { channel, peer } = ends;
  await channel.write(new TextEncoder().encode("half an answer"));
  await peer.receives("half an answer");
  channel.reset();
  assert.equal(await peer.ended(), "reset");
});
