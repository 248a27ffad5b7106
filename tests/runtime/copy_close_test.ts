/**
 * Whose bytes are whose: many connections at once through tunnels of one process, whose buffers are all
 * the same. Each has bytes of its own; sizes, pauses, ends and departures are drawn by lot. What arrives
 * is compared byte for byte.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Conn } from "../../src/net/conn.ts";
import { copyBidirectional } from "../../src/proxy/copy.ts";
import { requireNativeTcp, tcpPair } from "../support/tls/tcp_backends.ts";
import { bytesOf, prng } from "../support/tls/ends.ts";
import { NATIVE, NATIVE_OVER_SOCKETS, PUBLIC, type TlsBackend } from "../support/tls/backends.ts";

const CONNECTIONS = 120;

/** Twice the same, so that it may be read from any place on. */
const NOISE = bytesOf(2 ** 20, 7);
const RING = Buffer.concat([NOISE, NOISE]);
const SIZES = [0, 1, 64, 5_000, 16_384, 70_000, 500_000] as const;

const later = (milliseconds: number): Promise<void> =>
  new Promise((done) => setTimeout(done, milliseconds));

/** One direction of one connection: its bytes, and chance that is the same each time. */
class Lane {
  readonly size: number;
  readonly #start: number;
  readonly #next: () => number;

  constructor(index: number) {
    this.#next = prng(index + 1);
    this.#start = (index * 7919) % NOISE.length;
    this.size = SIZES[this.pick(SIZES.length)] ?? 0;
  }

  pick(below: number): number {
    return Math.floor(this.#next() * below);
  }

  bytes(at: number, count: number): Buffer {
    const from = this.#start + at;
    return RING.subarray(from, from + count);
  }

  /** Sends all, or leaves after this number of bytes. */
  async send(conn: Conn, leaveAfter: number): Promise<void> {
    for (let at = 0; at < this.size;) {
      if (at >= leaveAfter) return conn.close();
      const count = Math.min(this.size - at, 1 + this.pick(this.pick(2) === 0 ? 300 : 100_000));
      await conn.write(this.bytes(at, count));
      at += count;
      if (this.pick(8) === 0) await later(this.pick(4));
    }
    await conn.closeWrite();
  }

  /** Reads to the end, now and then slowly; how much came. */
  async receive(conn: Conn): Promise<number> {
    let at = 0;
    for (let got = await conn.read(); got !== null; got = await conn.read()) {
      assert.ok(this.bytes(at, got.length).equals(got), `other bytes than its own at ${at}`);
      at += got.length;
      if (this.pick(4) === 0) await later(this.pick(10));
    }
    return at;
  }
}

/** An application, a tunnel, a backend. */
async function one(way: TlsBackend, index: number): Promise<void> {
  const handles = way.tcp === undefined ? undefined : requireNativeTcp();
  const [app, clientEnd] = await tcpPair(handles);
  const [serverEnd, backend] = await tcpPair(handles);
  const tls = await way.connected({ pair: await tcpPair(handles) });
  const limits = { idleTimeout: 20_000, closeTimeout: 0 };
  const tunnel = [
    copyBidirectional(clientEnd, tls.client, limits),
    copyBidirectional(tls.server, serverEnd, limits),
  ];
  const up = new Lane(2 * index);
  const down = new Lane(2 * index + 1);
  const leaves = up.pick(5) === 0;
  const leaveAfter = leaves ? up.pick(up.size + 1) : Infinity;
  const broken = leaves ? () => undefined : undefined;
  // Some answer at once, some only when they have heard everything.
  const heard = up.receive(backend);
  const first = down.pick(2) === 0 ? heard.catch(() => {}) : Promise.resolve();
  const ended = await Promise.all([
    heard.catch(broken),
    down.receive(app).catch(broken),
    up.send(app, leaveAfter).catch(broken),
    first.then(() => down.send(backend, Infinity)).catch(broken),
  ]);
  for (const conn of [app, backend]) conn.close();
  const reasons = (await Promise.all(tunnel)).map(({ reason }) => reason);
  if (leaves) return;
  assert.deepEqual(ended.slice(0, 2), [up.size, down.size]);
  assert.deepEqual(reasons, ["completed", "completed"]);
}

for (const way of [PUBLIC, NATIVE, NATIVE_OVER_SOCKETS]) {
  Deno.test(`copyBidirectional: nobody gets another's bytes, however many there are (${way.name})`, async () => {
    await Promise.all(Array.from({ length: CONNECTIONS }, (_, index) => one(way, index)));
  });
}
