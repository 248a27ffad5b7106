/**
 * A clock that a test moves, with the timers that hang on it.
 *
 * @module
 */

import type { SetTimer } from "../../src/proxy/deadlines.ts";

/** Time that stands still until it is moved. */
export class FakeClock {
  /** Milliseconds. */
  time = 1_000_000;
  /** The longest delay that was asked for. */
  longest = 0;
  /** Timers that have fired. */
  fired = 0;
  readonly #timers = new Map<() => void, number>();

  /** The clock. */
  readonly now = (): number => this.time;

  /** The timer. */
  readonly setTimer: SetTimer = (callback, delay) => {
    this.longest = Math.max(this.longest, delay);
    const timer = () => callback();
    this.#timers.set(timer, this.time + delay);
    return () => void this.#timers.delete(timer);
  };

  /** Timers that wait. */
  get timers(): number {
    return this.#timers.size;
  }

  /** Goes on by so much, firing each timer at its time, and lets promises settle in between. */
  async advance(milliseconds: number): Promise<void> {
    const end = this.time + milliseconds;
    for (;;) {
      await settle();
      const [next] = [...this.#timers].sort(([, a], [, b]) => a - b);
      if (next === undefined || next[1] > end) break;
      this.time = Math.max(this.time, next[1]);
      this.#timers.delete(next[0]);
      this.fired++;
      next[0]();
    }
    // What a timer did may have taken longer.
    this.time = Math.max(this.time, end);
    await settle();
  }
}

/** Lets everything that waits for promises only go on: a turn of the event loop later it has. */
export function settle(): Promise<void> {
  return new Promise((done) => setTimeout(done, 0));
}
