/**
 * The two ends of a tunnel as channels whose every read the test decides: nothing is taken off the
 * wire that was not asked for, which `node:tls` cannot do.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type Conn, ConnError } from "../../src/net/conn.ts";
import { dialTcp, listenTcp } from "../../src/net/mod.ts";
import { admit, client, limits, server } from "./tls/ends.ts";
import type { TestPki } from "./pki.ts";
import { createHash, randomBytes } from "node:crypto";

/** A channel that is closed at the end of the scope. */
export type End = Conn & AsyncDisposable;

/** A target whose connections the test serves itself. */
export type Target = {
  readonly port: number;
  /** `127.0.0.1:port`. */
  readonly address: string;
  /** The next connection, after its handshake where there is one. */
  next(): Promise<End>;
} & AsyncDisposable;

/** Adds disposal to a channel. */
function end(conn: Conn): End {
  return Object.assign(conn, {
    [Symbol.asyncDispose]: () => {
      conn.close();
      return Promise.resolve();
    },
  });
}

/**
 * Plain TCP to a port of 127.0.0.1. A listener that accepts and resets at once may have done so
 * before the system reports the connection as made: it is then one that was reset.
 */
export async function plainEnd(port: number): Promise<End> {
  try {
    return end(await dialTcp({ host: "127.0.0.1", port }, { timeout: 60_000 }));
  } catch (error) {
    const cause = error instanceof Error ? error.cause : undefined;
    if (cause instanceof Deno.errors.ConnectionReset) return resetEnd(port, cause);
    throw error;
  }
}

/** A connection that the peer has reset. */
function resetEnd(port: number, cause: Error): End {
  const fail = () => Promise.reject(new ConnError("reset", "it was reset at once", { cause }));
  return end({
    remote: `127.0.0.1:${port}`,
    local: "127.0.0.1:0",
    read: fail,
    pipeTo: fail,
    write: fail,
    closeWrite: fail,
    close: () => {},
    reset: () => {},
  });
}

/** TLS to a port of 127.0.0.1, as the client of the PKI; waits `patience` ms for the handshake. */
export async function tlsEnd(port: number, pki: TestPki, patience = 60_000): Promise<End> {
  const tls = client({ own: pki.client, bundle: [pki.ca] });
  const { conn } = await tls.connect(await plainEnd(port), admit, limits(patience));
  assert.ok(conn !== undefined);
  return end(conn);
}

/** Listens; `take` makes of each connection what the test is to see. */
function target(take: (accepted: Conn) => Promise<Conn>): Target {
  const listener = listenTcp({ host: "127.0.0.1", port: 0 });
  const open: Conn[] = [];
  return {
    port: listener.port,
    address: listener.address,
    async next() {
      const conn = end(await take(await listener.accept()));
      open.push(conn);
      return conn;
    },
    [Symbol.asyncDispose]: () => {
      listener.close();
      for (const conn of open) conn.close();
      return Promise.resolve();
    },
  };
}

/** A plain target. */
export function plainTarget(): Target {
  return target((accepted) => Promise.resolve(accepted));
}

/** A target that is the server of the PKI; waits `patience` ms for handshakes. */
export function tlsTarget(pki: TestPki, patience = 60_000): Target {
  const tls = server({ own: pki.server, bundle: [pki.ca] });
  return target(async (accepted) => {
    const { conn } = await tls.accept(accepted, admit, limits(patience));
    assert.ok(conn !== undefined);
    return conn;
  });
}

/** What a channel reads until its end, and whether that was one in good order. */
export async function readToEnd(
  conn: Conn,
): Promise<{ readonly text: string; readonly end: "clean" | "broken" }> {
  const decoder = new TextDecoder();
  let text = "";
  try {
    for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) {
      text += decoder.decode(bytes, { stream: true });
    }
    return { text, end: "clean" };
  } catch (error) {
    if (!(error instanceof ConnError)) throw error;
    return { text, end: "broken" };
  }
}

/** Sends words and waits until they have come back. */
export async function echo(conn: Conn, words: string): Promise<void> {
  await conn.write(new TextEncoder().encode(words));
  const decoder = new TextDecoder();
  let answer = "";
  while (answer.length < words.length) {
    const bytes = await conn.read();
    assert.ok(bytes !== null, `the connection ended after "${answer}"`);
    answer += decoder.decode(bytes, { stream: true });
  }
  assert.equal(answer, words);
}

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
