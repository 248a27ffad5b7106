/**
 * TLS records that arrive in pieces: a whole connection a byte at a time, and a record cut in two at
 * every place.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { End } from "../support/conns.ts";
import {
  openBothEnds,
  PATH_KINDS,
  type PathKind,
  startPath,
  type TargetPath,
} from "../support/paths.ts";
import { TestBed } from "../support/testbed.ts";
import type { Peer } from "../support/sockets.ts";
import { until } from "../support/wait.ts";
import type { Row } from "./row.ts";

/** What of a record's bytes goes first, and whether the rest may follow. */
type Cut = { readonly at: number; released: boolean };

/** Bytes on their way to one peer. */
type Queue = { pending: Buffer; running: Promise<void> | undefined };

/** Passes bytes on one by one, or, with a cut, a record in two pieces. */
class Cutter {
  /** In two pieces from now on; every record until it is changed. */
  cut: Cut | undefined;
  /** The length of the last record that was cut. */
  length = 0;
  /** How many first pieces are out. */
  pieces = 0;
  readonly #queues = new Map<Peer, Queue>();
  readonly #gap: number;

  /** `gap`: milliseconds between two bytes, so that each is read alone; with 0 most are. */
  constructor(gap: number) {
    this.#gap = gap;
  }

  /** For a relay. */
  readonly send = (bytes: Uint8Array, to: Peer): Promise<void> => {
    const queue: Queue = this.#queues.get(to) ?? { pending: Buffer.alloc(0), running: undefined };
    this.#queues.set(to, queue);
    queue.pending = Buffer.concat([queue.pending, bytes]);
    queue.running ??= this.#run(queue, to).finally(() => queue.running = undefined);
    return queue.running;
  };

  async #run(queue: Queue, to: Peer): Promise<void> {
    while (queue.pending.length > 0 && to.ending !== "reset") {
      const { cut } = this;
      if (cut === undefined) {
        await to.send(take(queue, 1));
        if (this.#gap > 0) await pause(this.#gap);
        continue;
      }
      await until(() => queue.pending.length >= 5);
      const length = 5 + queue.pending.readUInt16BE(3);
      await until(() => queue.pending.length >= length);
      this.length = length;
      await to.send(take(queue, Math.min(cut.at, length)));
      this.pieces++;
      await until(() => cut.released, { every: 1 });
      await to.send(take(queue, Math.max(length - cut.at, 0)));
    }
  }
}

function take(queue: Queue, count: number): Uint8Array {
  const taken = queue.pending.subarray(0, count);
  queue.pending = queue.pending.subarray(count);
  return taken;
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((done) => setTimeout(done, milliseconds));
}

/** Collects what an end receives. */
class Ear {
  received = Buffer.alloc(0);
  readonly over: Promise<void>;

  constructor(end: End) {
    this.over = this.#listen(end);
    this.over.catch(() => {}); // Awaited in the end.
  }

  async #listen(end: End): Promise<void> {
    for (let bytes = await end.read(); bytes !== null; bytes = await end.read()) {
      this.received = Buffer.concat([this.received, bytes]);
    }
  }

  async hears(size: number): Promise<void> {
    await until(() => this.received.length >= size, {
      what: () => `${size} bytes, have ${this.received.length}`,
      every: 1,
      within: 60_000,
    });
    assert.equal(this.received.length, size);
  }
}

/** Which way the cut records travel: towards a daemon that has to put them together. */
function ends(
  subject: PathKind,
  downstream: End,
  upstream: End,
): { readonly from: End; readonly to: End } {
  return subject === "client"
    ? { from: upstream, to: downstream }
    : { from: downstream, to: upstream };
}

async function dribble(
  way: TargetPath,
  subject: PathKind,
  cutter: Cutter,
  large: number,
): Promise<number> {
  // Handshake, words and ends: every byte in a segment of its own.
  cutter.cut = undefined;
  const { downstream, upstream } = await openBothEnds(way);
  const { from, to } = ends(subject, downstream, upstream);
  const [ear, back] = [new Ear(to), new Ear(from)];
  const sent: Uint8Array[] = [];
  const say = async (size: number) => {
    const words = crypto.getRandomValues(new Uint8Array(size));
    sent.push(words);
    await from.write(words);
  };
  const total = () => sent.reduce((sum, { length }) => sum + length, 0);
  await say(large);
  await ear.hears(large);
  await to.write(Uint8Array.of(1));
  await back.hears(1);

  // One record after the other, cut one byte further on.
  let cuts = 0;
  for (let at = 1; at === 1 || at < cutter.length; at++, cuts++) {
    const before = total();
    const pieces = cutter.pieces;
    const cut: Cut = { at, released: false };
    cutter.cut = cut;
    await say(100);
    await until(() => cutter.pieces > pieces, { every: 1 });
    // Long enough for the daemon to have read the first piece.
    await pause(2);
    assert.equal(ear.received.length, before, `cut at ${at}: half a record was passed on`);
    cut.released = true;
    await ear.hears(before + 100);
  }
  assert.ok(ear.received.equals(Buffer.concat(sent)));

  cutter.cut = undefined;
  await Promise.all([downstream.closeWrite(), upstream.closeWrite(), ear.over, back.over]);
  downstream.close();
  upstream.close();
  return cuts;
}

async function run(
  subject: PathKind,
  large: number,
  ...versions: readonly string[]
): Promise<string> {
  let cuts = 0;
  for (const version of versions) {
    await using testBed = await TestBed.create();
    const cutter = new Cutter(large > 1000 ? 1 : 0);
    const way = await startPath(testBed, subject, {
      tls: { min_version: version, max_version: version, handshake_timeout: "60s" },
      proxy: { dial_timeout: "60s" },
      relay: (wire) => wire === "tls" ? { send: cutter.send } : undefined,
    });
    cuts += await dribble(way, subject, cutter, large);
    for (const daemon of way.daemons) {
      await daemon.waitForMetric('mtlsd_connections_closed_total{reason="completed"}', 1);
    }
  }
  return `handshake and ${large} bytes one by one, ${cuts} cuts; ${versions.join(" and ")}`;
}

/** The rows. */
export const rows: readonly Row[] = PATH_KINDS.map((subject) => ({
  subject,
  fault: "TLS records cut at every byte boundary by a slow peer",
  holds: "nothing of half a record is passed on, all of a whole one is",
  run: (scale) =>
    scale === "full" ? run(subject, 20_000, "TLS1.2", "TLS1.3") : run(subject, 100, "TLS1.3"),
}));
