/**
 * A reset is never taken for an end in good order, whatever is under way when it comes.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Conn } from "../../src/net/conn.ts";
import { until } from "../support/wait.ts";
import { testEachTcpBackend } from "../support/tls/tcp_backends.ts";
import { facingPeer, fault, turns } from "../support/net.ts";

const ROUNDS = 60;

/** Whether reading fails with the reset, or sees an end. */
async function seen(reading: Promise<unknown>): Promise<"reset" | "end"> {
  try {
    await reading;
    return "end";
  } catch (error) {
    assert.ok(fault("reset")(error));
    return "reset";
  }
}

async function readOn(conn: Conn): Promise<void> {
  while (await conn.read() !== null);
}

/** How the peer's bytes are read. */
const READERS: Readonly<Record<string, (conn: Conn) => Promise<unknown>>> = {
  "reads": readOn,
  "pump": (conn) => conn.pipeTo(() => undefined),
  "a pump that is held up": (conn) => conn.pipeTo(() => turns(2)),
};

for (const [name, read] of Object.entries(READERS)) {
  for (const said of ["nothing", "something"]) {
    for (const when of ["waits already", "comes later"]) {
      testEachTcpBackend(
        `a reset while a write is pending, ${said} said, ${name}: ${when}`,
        async (way) => {
          for (let round = 0; round < ROUNDS; round++) {
            await using ends = await facingPeer(way);
            const { conn, peer } = ends;
            peer.stall();
            if (said === "something") await peer.send("hello");
            const reading = when === "waits already" ? seen(read(conn)) : undefined;
            const writing = (async () => {
              for (;;) await conn.write(new Uint8Array(1_000_000));
            })().catch(fault("reset"));
            await turns(round % 4);
            peer.reset();
            if (when === "comes later") await turns(round % 3);
            assert.equal(await (reading ?? seen(read(conn))), "reset", `round ${round}`);
            assert.equal(await writing, true);
            await assert.rejects(conn.read(), fault("reset"));
            await assert.rejects(
              async () => await conn.write(new Uint8Array(1)),
              fault("reset"),
            );
          }
        },
      );
    }
  }
}

testEachTcpBackend("a reset with small writes, one after the other", async (way) => {
  for (let round = 0; round < ROUNDS; round++) {
    await using ends = await facingPeer(way);
    const { conn, peer } = ends;
    const reading = seen(conn.pipeTo(() => undefined));
    await peer.send("hello");
    const writing = (async () => {
      for (;;) {
        await conn.write(new Uint8Array(10));
        await turns(1);
      }
    })().catch(fault("reset"));
    await turns(round % 4);
    peer.reset();
    assert.equal(await reading, "reset", `round ${round}`);
    assert.equal(await writing, true);
  }
});

for (const said of ["nothing", "something"]) {
  testEachTcpBackend(
    `a reset that a write meets before any read does, ${said} said`,
    async (way) => {
      for (let round = 0; round < ROUNDS; round++) {
        await using ends = await facingPeer(way);
        const { conn, peer } = ends;
        let came = 0;
        const reading = seen(conn.pipeTo((bytes) => void (came += bytes.length)));
        if (said === "something") {
          await peer.send("hello");
          await until(() => came > 0, { every: 1 });
        }
        await turns(round % 3);
        // The system tells of a reset once, and the first operation gets it.
        peer.reset();
        const writing = (async () => await conn.write(new Uint8Array(10)))().catch(fault("reset"));
        assert.equal(await reading, "reset", `round ${round}`);
        await writing;
      }
    },
  );
}

testEachTcpBackend("an end that was seen stays one, whatever comes after it", async (way) => {
  await using ends = await facingPeer(way);
  const { conn, peer } = ends;
  await peer.send("answer");
  peer.end();
  await readOn(conn);
  peer.reset();
  await assert.rejects(async () => {
    for (;;) await conn.write(new Uint8Array(1000));
  }, fault("reset"));
  assert.equal(await conn.read(), null);
});
