/**
 * A lot of bytes through a channel, with a hash at both ends.
 *
 * @module
 */

import { createHash, randomBytes } from "node:crypto";
import type { Conn } from "../../src/net/conn.ts";

/** Bytes in a MB. */
export const MB = 1_000_000;

/** Sends `size` bytes that do not repeat, and keeps count. */
export class Sending {
  /** Bytes that the kernel has taken so far. */
  sent = 0;
  /** The SHA-256 of all of them, once they are gone. */
  readonly hash: Promise<string>;

  /** Starts at once; `size` is a multiple of {@linkcode MB}. */
  constructor(conn: Conn, size: number) {
    this.hash = this.#send(conn, size);
    this.hash.catch(() => {}); // Awaited by those who get that far.
  }

  async #send(conn: Conn, size: number): Promise<string> {
    const hash = createHash("sha256");
    const block = randomBytes(MB);
    for (let number = 0; this.sent < size; number++) {
      block.writeUInt32BE(number, 0);
      hash.update(block);
      await conn.write(block);
      this.sent += block.length;
    }
    await conn.closeWrite();
    return hash.digest("hex");
  }
}

/** Reads to the end; size and SHA-256. */
export async function readHash(conn: Conn): Promise<{ size: number; hash: string }> {
  const hash = createHash("sha256");
  let size = 0;
  for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) {
    hash.update(bytes);
    size += bytes.length;
  }
  return { size, hash: hash.digest("hex") };
}
