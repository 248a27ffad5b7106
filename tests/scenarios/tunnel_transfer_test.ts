/**
 * A large transfer through both daemons, each way at once.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createHash, type Hash, randomBytes } from "node:crypto";
import { Backend, closeQuietly, writeAll } from "../support/peers.ts";
import { MIB } from "../support/process.ts";
import { TestBed } from "../support/testbed.ts";

const SIZE = 64 * MIB;

/** Sends `SIZE` random bytes and ends its half; their SHA-256. */
async function sendRandom(conn: Deno.Conn): Promise<string> {
  const hash = createHash("sha256");
  for (let sent = 0; sent < SIZE; sent += MIB) {
    const block = randomBytes(MIB);
    hash.update(block);
    await writeAll(conn, block);
  }
  await conn.closeWrite();
  return hash.digest("hex");
}

/** Reads to the end; size and SHA-256. */
async function readHash(conn: Deno.Conn): Promise<{ size: number; hash: string }> {
  const hash: Hash = createHash("sha256");
  const buffer = new Uint8Array(MIB);
  let size = 0;
  for (let n = await conn.read(buffer); n !== null; n = await conn.read(buffer)) {
    hash.update(buffer.subarray(0, n));
    size += n;
  }
  return { size, hash: hash.digest("hex") };
}

type Transfer = { readonly sent: string; readonly got: { size: number; hash: string } };

async function both(conn: Deno.Conn): Promise<Transfer> {
  const [sent, got] = await Promise.all([sendRandom(conn), readHash(conn)]);
  return { sent, got };
}

Deno.test("64 MiB of random bytes each way at once through the full tunnel", async () => {
  await using testBed = await TestBed.create();
  const atTarget = Promise.withResolvers<Transfer>();
  const backend = testBed.use(
    new Backend(async (conn) => atTarget.resolve(await both(conn))),
  );
  const { server, client } = await testBed.tunnel(backend.address);
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: client.port });
  try {
    const [downstream, upstream] = await Promise.all([both(conn), atTarget.promise]);
    assert.deepEqual(upstream.got, { size: SIZE, hash: downstream.sent });
    assert.deepEqual(downstream.got, { size: SIZE, hash: upstream.sent });
  } finally {
    closeQuietly(conn);
  }
  for (const [daemon, name] of [[client, "dialer"], [server, "listener"]] as const) {
    await daemon.waitForLog(`${name}: connection closed`, {
      reason: "completed",
      bytes_in: String(SIZE),
      bytes_out: String(SIZE),
    });
    for (const direction of ["client_to_target", "target_to_client"]) {
      await daemon.waitForMetric(`mtlsd_bytes_proxied_total{direction="${direction}"}`, SIZE);
    }
  }
});
