/**
 * A way between the two ends of TLS that keeps what both have said, for a look at what goes in the clear.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { readHello } from "./adversary/hello.ts";
import { X25519_MLKEM768 } from "./adversary/hybrid.ts";
import { MESSAGE, RECORD, X25519 } from "./adversary/octets.ts";
import { RETRY } from "./adversary/server.ts";
import { closeQuietly, writeAll } from "./peers.ts";
import { split } from "./tools.ts";
import { until } from "./wait.ts";

/** The groups of RFC 8446 section 4.2.7, and the hybrid X25519MLKEM768. */
export const GROUP = {
  p256: 0x0017,
  p384: 0x0018,
  x25519: X25519,
  hybrid: X25519_MLKEM768,
} as const;

/** Extensions by their numbers. */
const EXTENSION = { supportedGroups: 10, keyShare: 51 } as const;

/** How the two ends of a TLS 1.3 connection came to their keys. */
export type KeyExchange = {
  /** The groups that the client can do, in its order. */
  readonly groups: readonly number[];
  /** Those of them for which it sends a key at once. */
  readonly shares: readonly number[];
  /** Whether the server asked for another key first. */
  readonly retried: boolean;
  /** The group that the server took. */
  readonly group: number;
  /** Octets of the server's key. */
  readonly length: number;
};

type Tapped = { readonly up: Buffer[]; readonly down: Buffer[] };

/** Forwards TCP to an address, and keeps copies. */
export class Tap implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #target: string;
  readonly #tapped: Tapped[] = [];
  readonly #conns = new Set<Deno.Conn>();
  readonly #connections: Promise<void>[] = [];
  readonly #loop: Promise<void>;

  /** Forwards to `host:port`. */
  constructor(target: string) {
    this.#target = target;
    this.#loop = this.#run();
  }

  /** Where clients connect. */
  get address(): string {
    return `127.0.0.1:${this.#listener.addr.port}`;
  }

  /** Where clients connect. */
  get port(): number {
    return this.#listener.addr.port;
  }

  /** How many connections there were. */
  get connections(): number {
    return this.#tapped.length;
  }

  async #run(): Promise<void> {
    for await (const near of this.#listener) {
      const far = await Deno.connect(split(this.#target));
      this.#conns.add(near).add(far);
      const tapped: Tapped = { up: [], down: [] };
      this.#tapped.push(tapped);
      this.#connections.push(copy(near, far, tapped.up), copy(far, near, tapped.down));
    }
  }

  /** What the hellos of a connection say, once both are there; by default of the last connection. */
  async keyExchange(index: number = this.#tapped.length - 1): Promise<KeyExchange> {
    const { up, down } = this.#tapped[index] ?? { up: [], down: [] };
    const serverHellos = () =>
      clearMessages(Buffer.concat(down)).filter((message) => message[0] === MESSAGE.serverHello);
    const hello = await until(() => serverHellos().find((message) => !isRetry(message)), {
      what: () => `a ServerHello on connection ${index}`,
    });
    const [clientHello] = clearMessages(Buffer.concat(up));
    assert.equal(clientHello?.[0], MESSAGE.clientHello);
    const { extensions } = readHello(clientHello ?? Buffer.alloc(0));
    const share = serverExtension(hello, EXTENSION.keyShare);
    return {
      groups: pairs(extensions.get(EXTENSION.supportedGroups) ?? Buffer.alloc(2)),
      shares: offered(extensions.get(EXTENSION.keyShare) ?? Buffer.alloc(2)),
      retried: serverHellos().some(isRetry),
      group: share.readUInt16BE(0),
      length: share.readUInt16BE(2),
    };
  }

  /** Cuts everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const conn of this.#conns) closeQuietly(conn);
    await this.#loop.catch(() => {});
    await Promise.all(this.#connections);
  }
}

async function copy(from: Deno.Conn, to: Deno.Conn, kept: Buffer[]): Promise<void> {
  const buffer = new Uint8Array(65_536);
  try {
    for (let count = await from.read(buffer); count !== null; count = await from.read(buffer)) {
      kept.push(Buffer.from(buffer.slice(0, count)));
      await writeAll(to, buffer.subarray(0, count));
    }
    await to.closeWrite();
  } catch {
    closeQuietly(to); // The other side is told of whatever became of this one.
  }
}

/** The handshake messages that go in the clear, as far as they are whole. */
function clearMessages(bytes: Buffer): readonly Buffer[] {
  const contents: Buffer[] = [];
  for (let at = 0; at + 5 <= bytes.length;) {
    const end = at + 5 + bytes.readUInt16BE(at + 3);
    if (bytes[at] === RECORD.data) break;
    if (bytes[at] === RECORD.handshake) contents.push(bytes.subarray(at + 5, end));
    at = end;
  }
  const handshake = Buffer.concat(contents);
  const messages: Buffer[] = [];
  for (let at = 0; at + 4 <= handshake.length;) {
    const end = at + 4 + handshake.readUIntBE(at + 1, 3);
    if (end > handshake.length) break;
    messages.push(handshake.subarray(at, end));
    at = end;
  }
  return messages;
}

function isRetry(serverHello: Buffer): boolean {
  return serverHello.subarray(6, 38).equals(RETRY);
}

function serverExtension(hello: Buffer, type: number): Buffer {
  // Version, random, session identifier, suite, compression, and the length of the extensions.
  let at = 4 + 2 + 32 + 1 + (hello[38] ?? 0) + 2 + 1 + 2;
  while (at < hello.length) {
    const length = hello.readUInt16BE(at + 2);
    if (hello.readUInt16BE(at) === type) return hello.subarray(at + 4, at + 4 + length);
    at += 4 + length;
  }
  throw new Error(`the server's hello has no extension ${type}`);
}

/** Numbers of two octets, behind the length of all. */
function pairs(list: Buffer): readonly number[] {
  const numbers: number[] = [];
  for (let at = 2; at + 2 <= list.length; at += 2) numbers.push(list.readUInt16BE(at));
  return numbers;
}

/** The groups of a client's key shares. */
function offered(shares: Buffer): readonly number[] {
  const groups: number[] = [];
  for (let at = 2; at + 4 <= shares.length; at += 4 + shares.readUInt16BE(at + 2)) {
    groups.push(shares.readUInt16BE(at));
  }
  return groups;
}
