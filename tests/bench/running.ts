/**
 * A subject that serves, and what it spends.
 *
 * @module
 */

import { type Memory, restingCpu, restingMemory } from "./account.ts";
import type { LoggedChild } from "./child.ts";
import type { Load } from "./generator.ts";
import type { Target } from "./load_protocol.ts";
import type { Scale } from "./scale.ts";
import type { Side } from "./side.ts";

/** Server mode alone, or both ends by the same product. */
export type Mode = "server" | "tunnel";

/** One end of a tunnel that serves. */
export type End = { readonly side: Side["mode"]; readonly child: LoggedChild };

/** What one end has spent. */
export type Share = {
  readonly side: Side["mode"];
  readonly value: number;
  /** How much of the time it was at work; 1 is a whole CPU. */
  readonly busy?: number;
};

/** A subject that serves: one process in server mode, two as a tunnel. */
export class Running implements AsyncDisposable {
  readonly load: Load;
  readonly #quiet: Scale["quiet"];
  readonly ends: readonly End[];
  /** Where the load connects. */
  readonly target: Target;
  readonly #stack: AsyncDisposableStack;

  /** Use {@linkcode Bench.start}. */
  constructor(
    load: Load,
    quiet: Scale["quiet"],
    ends: readonly End[],
    target: Target,
    stack: AsyncDisposableStack,
  ) {
    this.load = load;
    this.#quiet = quiet;
    this.ends = ends;
    this.target = target;
    this.#stack = stack;
  }

  #cpu(): Promise<number[]> {
    return Promise.all(this.ends.map(({ child }) => restingCpu(child.pid, this.#quiet.cpu)));
  }

  /** CPU seconds that each end spends on a piece of work, what follows from it included. */
  async cpu(work: () => Promise<unknown>): Promise<readonly Share[]> {
    const before = await this.#cpu();
    const start = performance.now();
    await work();
    const seconds = (performance.now() - start) / 1000;
    const after = await this.#cpu();
    return this.ends.map(({ side }, n) => {
      const value = (after[n] ?? NaN) - (before[n] ?? NaN);
      return { side, value, busy: value / seconds };
    });
  }

  /** Memory of each end at rest. */
  memory(): Promise<readonly (Memory & Pick<End, "side">)[]> {
    return Promise.all(
      this.ends.map(async ({ side, child }) => ({
        side,
        ...await restingMemory(child.pid, this.#quiet.memory),
      })),
    );
  }

  /** Makes `count` full handshakes, each with a byte echoed. */
  async handshakes(count: number, concurrency: number): Promise<void> {
    await this.load.do({ op: "handshakes", target: this.target, count, concurrency });
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
