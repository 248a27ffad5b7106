/**
 * Transfers that are under way all the time: each sends a message, has it come back from an echo
 * backend, compares, and sends the next one until it is ended.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { End } from "../support/conns.ts";
import { until } from "../support/wait.ts";
import { bytesOf } from "../support/tls/ends.ts";

/** How a transfer came out. `complete`: all that was sent came back, then an end in good order. */
export type TransferOutcome = "under way" | "complete" | "cut" | "wrong bytes";

const MESSAGE = 16 * 1024;
/** Messages are windows of these bytes, so that one is never like the one before. */
const BYTES = bytesOf(2 * MESSAGE);

/** Runs `task` for the numbers from 0 on, a few at a time. */
export async function forEach(
  count: number,
  task: (number: number) => Promise<void>,
  atOnce = 16,
): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await task(next++);
  };
  const settled = await Promise.allSettled(Array.from({ length: atOnce }, worker));
  for (const result of settled) if (result.status === "rejected") throw result.reason;
}

class Transfer {
  outcome: TransferOutcome = "under way";
  rounds = 0;
  readonly over: Promise<void>;
  readonly #end: End;
  readonly #seed: number;
  #finishing = false;

  constructor(end: End, seed: number) {
    this.#end = end;
    this.#seed = seed;
    this.over = this.#run();
  }

  finish(): void {
    this.#finishing = true;
  }

  async #run(): Promise<void> {
    try {
      while (!this.#finishing && this.outcome === "under way") await this.#round();
      if (this.outcome !== "under way") return;
      await this.#end.closeWrite();
      this.outcome = await this.#end.read() === null ? "complete" : "wrong bytes";
    } catch {
      // The connection reports a break, in whatever form.
      this.outcome = "cut";
    } finally {
      this.#end.close();
    }
  }

  async #round(): Promise<void> {
    const at = (this.#seed * 131 + this.rounds * 17) % MESSAGE;
    const message = BYTES.subarray(at, at + MESSAGE);
    const [same] = await Promise.all([this.#comesBack(message), this.#end.write(message)]);
    if (same) this.rounds++;
  }

  async #comesBack(message: Uint8Array): Promise<boolean> {
    for (let seen = 0; seen < message.length;) {
      const bytes = await this.#end.read();
      if (bytes === null) this.outcome = "cut";
      else if (!Buffer.from(message.subarray(seen, seen + bytes.length)).equals(bytes)) {
        this.outcome = "wrong bytes";
      }
      if (bytes === null || this.outcome !== "under way") return false;
      seen += bytes.length;
    }
    return true;
  }
}

/** Many transfers at once. */
export class Transfers implements AsyncDisposable {
  readonly #all: Transfer[] = [];
  readonly #ends: End[] = [];

  private constructor() {}

  /** Opens `count`, a few at a time; resolves when each has seen its first message come back. */
  static async open(count: number, connect: () => Promise<End>): Promise<Transfers> {
    const self = new Transfers();
    try {
      await forEach(count, async (number) => {
        const end = await connect();
        self.#ends.push(end);
        self.#all.push(new Transfer(end, number));
      });
      await self.moved(1);
      return self;
    } catch (error) {
      await self[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Bytes that came back so far, over all of them. */
  get bytes(): number {
    return this.#all.reduce((sum, { rounds }) => sum + rounds * MESSAGE, 0);
  }

  /** How many came out in this way so far. */
  count(outcome: TransferOutcome): number {
    return this.#all.filter((one) => one.outcome === outcome).length;
  }

  /** Waits until each has had that many messages come back since this was called. */
  async moved(rounds: number): Promise<void> {
    const goals = this.#all.map((one) => one.rounds + rounds);
    await until(() => this.#all.every((one, i) => one.rounds >= (goals[i] ?? 0)), {
      what: () => `${rounds} messages on each of ${this.#all.length} transfers`,
      failed: () => this.count("under way") < this.#all.length,
      within: 120_000,
    });
  }

  /** No more messages after the one under way. */
  finish(): void {
    for (const one of this.#all) one.finish();
  }

  /** Waits until all are over. */
  async over(): Promise<void> {
    await Promise.all(this.#all.map(({ over }) => over));
  }

  /** Drops what is still open. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const end of this.#ends) end.close();
    await this.over();
  }
}
