/**
 * A peer that ends its half is still there to read: whenever it ends, whatever it said before, and
 * however slow it is, everything arrives.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import type { Conn } from "../../src/net/conn.ts";
import { writeAll } from "../support/peers.ts";
import { until } from "../support/wait.ts";
import { testEachTcpBackend } from "../support/tls/tcp_backends.ts";
import { facing, turns } from "../support/net.ts";
import { MB, Sending } from "../support/conns.ts";

const SIZE = 20 * MB;

/** Reads everything, with a pause now and then; its size and hash. */
async function readSlowly(socket: Deno.TcpConn): Promise<{ size: number; hash: string }> {
  const hash = createHash("sha256");
  const buffer = Buffer.alloc(100_000);
  let size = 0;
  for (let n = await socket.read(buffer); n !== null; n = await socket.read(buffer)) {
    hash.update(buffer.subarray(0, n));
    size += n;
    if (size % 7 === 0) await new Promise((done) => setTimeout(done, 2));
  }
  return { size, hash: hash.digest("hex") };
}

/** All that was sent is read; sending that fails is not waited for. */
async function arrives(sending: Sending, serverEnd: Deno.TcpConn): Promise<void> {
  const [arrived, hash] = await Promise.all([readSlowly(serverEnd), sending.hash]);
  assert.deepEqual(arrived, { size: SIZE, hash });
}

/** Who waits for the peer's bytes meanwhile, and sees its end. */
const READERS: Readonly<Record<string, (conn: Conn) => Promise<unknown>>> = {
  "a read waits": async (conn) => {
    while (await conn.read() !== null);
  },
  "a pump waits": (conn) => conn.pipeTo(() => undefined),
};

for (const [waiting, wait] of Object.entries(READERS)) {
  for (const said of ["nothing", "something"]) {
    testEachTcpBackend(
      `half-close before the first byte is written, ${said} said, ${waiting}`,
      async (way) => {
        using ends = await facing(way);
        const { conn, socket: serverEnd } = ends;
        if (said === "something") await writeAll(serverEnd, Buffer.from("hello"));
        await serverEnd.closeWrite();
        await wait(conn);
        const sending = new Sending(conn, SIZE);
        const arrived = await readSlowly(serverEnd);
        assert.deepEqual(arrived, { size: SIZE, hash: await sending.hash });
      },
    );

    testEachTcpBackend(`half-close while a write waits, ${said} said, ${waiting}`, async (way) => {
      using ends = await facing(way);
      const { conn, socket: serverEnd } = ends;
      if (said === "something") await writeAll(serverEnd, Buffer.from("hello"));
      const ended = wait(conn);
      const sending = new Sending(conn, SIZE);
      await until(() => sending.sent > 0);
      await turns();
      await serverEnd.closeWrite();
      await ended;
      await arrives(sending, serverEnd);
    });
  }
}

for (const said of ["nothing", "something"]) {
  testEachTcpBackend(
    `half-close while a write waits and nobody reads, ${said} said`,
    async (way) => {
      using ends = await facing(way);
      const { conn, socket: serverEnd } = ends;
      const sending = new Sending(conn, SIZE);
      await until(() => sending.sent > 0);
      if (said === "something") await writeAll(serverEnd, Buffer.from("hello"));
      await serverEnd.closeWrite();
      await turns();
      await arrives(sending, serverEnd);
      if (said === "something") assert.equal((await conn.read())?.length, 5);
      assert.equal(await conn.read(), null);
    },
  );
}
