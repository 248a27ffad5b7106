/**
 * What daemons hold on to: memory and descriptors, before and after.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { TestDaemon } from "../support/daemon.ts";
import {
  descriptors,
  MIB,
  residentBytes,
  settled,
  waitForDescriptors,
} from "../support/process.ts";

/**
 * Has V8 collect garbage often, so that the memory of a daemon is what it holds. Left to itself it
 * waits until some 100 MB are worth it, and a short run sees nothing but the way there.
 */
export const COLLECTING: { readonly wrapper: readonly string[] } = {
  wrapper: ["env", "DENO_V8_FLAGS=--heap-growing-percent=5,--max-semi-space-size=1"],
};

/** How much more memory than before counts as none: a part of it. */
export const LEEWAY = 0.1;

/** The highest memory of some daemons, in bytes; each look counts. */
export class Peaks {
  readonly #daemons: readonly TestDaemon[];
  #highest: number[];

  /** Nothing was looked at so far. */
  constructor(daemons: readonly TestDaemon[]) {
    this.#daemons = daemons;
    this.#highest = daemons.map(() => 0);
  }

  /** Looks. */
  async look(): Promise<void> {
    for (const [index, { pid }] of this.#daemons.entries()) {
      this.#highest[index] = Math.max(this.#highest[index] ?? 0, await residentBytes(pid));
    }
  }

  /** The peaks since the last time this was called, with one more look. */
  async take(): Promise<readonly number[]> {
    await this.look();
    const highest = this.#highest;
    this.#highest = highest.map(() => 0);
    return highest;
  }
}

/** Memory and descriptors of some daemons at one time. */
export class Footprints {
  readonly #daemons: readonly TestDaemon[];
  readonly #resident: readonly number[];
  readonly #descriptors: readonly number[];

  private constructor(
    daemons: readonly TestDaemon[],
    resident: readonly number[],
    descriptors: readonly number[],
  ) {
    this.#daemons = daemons;
    this.#resident = resident;
    this.#descriptors = descriptors;
  }

  /**
   * As they are now, when nothing is under way; `peaks` in place of the memory of the moment, which
   * may be just after a collection.
   */
  static async take(
    daemons: readonly TestDaemon[],
    peaks?: readonly number[],
  ): Promise<Footprints> {
    for (const daemon of daemons) await knock(daemon);
    const open = await Promise.all(daemons.map(({ pid }) => settled(() => descriptors(pid))));
    return new Footprints(daemons, peaks ?? await memory(daemons), open);
  }

  /** By how many bytes each has grown since. */
  async growth(): Promise<readonly number[]> {
    return (await memory(this.#daemons)).map((now, index) => now - (this.#resident[index] ?? 0));
  }

  /** Waits until no daemon has more descriptors than then. */
  async released(): Promise<void> {
    for (const [index, daemon] of this.#daemons.entries()) {
      await knock(daemon);
      await waitForDescriptors(daemon.pid, this.#descriptors[index] ?? 0);
    }
  }

  /** Holds the daemons against what they were: no descriptor more, memory within {@linkcode LEEWAY}. */
  async compare(peaks?: readonly number[]): Promise<string> {
    await this.released();
    const now = peaks ?? await memory(this.#daemons);
    const told = now.map((is, index) => {
      const was = this.#resident[index] ?? 0;
      const text = `${(was / MIB).toFixed(1)} → ${(is / MIB).toFixed(1)} MiB`;
      assert.ok(is <= was * (1 + LEEWAY), `memory grew: ${text}`);
      return text;
    });
    return `${told.join(", ")}; no descriptor more`;
  }
}

function memory(daemons: readonly TestDaemon[]): Promise<number[]> {
  return Promise.all(daemons.map(({ pid }) => settled(() => residentBytes(pid))));
}

/** Opens the connections to probes and metrics, which stay, so that they are in every count. */
async function knock(daemon: TestDaemon): Promise<void> {
  await daemon.probe("/healthz");
  await daemon.metrics();
}
