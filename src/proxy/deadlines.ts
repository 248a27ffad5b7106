/**
 * Deadlines for many items with one timer, however far in the future.
 *
 * A timer of the runtime takes at most 2^31 - 1 ms, some 25 days, and fires at once for more, while
 * a certificate may be valid for ten years. And a deadline on the wall clock is also reached when
 * the clock is set forward. So the timer never sleeps longer than {@linkcode LONGEST_SLEEP} and
 * checks the clock each time.
 *
 * @module
 */

/** Calls `callback` after `delay` milliseconds; the result cancels it. */
export type SetTimer = (callback: () => void, delay: number) => () => void;

/** The runtime's timer. */
export function setTimer(callback: () => void, delay: number): () => void {
  const timer = setTimeout(callback, delay);
  return () => clearTimeout(timer);
}

/** Longest interval in milliseconds between two checks of the clock while there are items. */
export const LONGEST_SLEEP = 1000;
/** Items due within this many milliseconds of each other are handled together. */
const SHORTEST_SLEEP = 10;

/** Settings of {@linkcode Deadlines}. */
export type DeadlinesOptions<T> = {
  /** The clock of the deadlines, in milliseconds; it may jump. */
  readonly now: () => number;
  /** Called with each item at its deadline, after the item was removed. Must not throw. */
  readonly due: (item: T) => void;
  /** Default: the runtime's timer. Tests inject their own. */
  readonly setTimer?: SetTimer | undefined;
};

/** Items with their deadlines. Holds a timer only while there are items. */
export class Deadlines<T> {
  readonly #options: DeadlinesOptions<T>;
  readonly #times = new Map<T, number>();
  #cancel: (() => void) | undefined;
  #wakeAt = Infinity;

  /** Starts empty. */
  constructor(options: DeadlinesOptions<T>) {
    this.#options = options;
  }

  /** Number of items. */
  get size(): number {
    return this.#times.size;
  }

  /** Sets the deadline of `item`, replacing an earlier one. */
  set(item: T, time: number): void {
    this.#times.set(item, time);
    if (this.#cancel === undefined || time < this.#wakeAt) this.#sleepUntil(time);
  }

  /** Removes `item`. */
  delete(item: T): void {
    this.#times.delete(item);
    if (this.#times.size === 0) this.#rest();
  }

  #rest(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#wakeAt = Infinity;
  }

  #sleepUntil(time: number): void {
    this.#rest();
    const left = time - this.#options.now();
    // With a clock that returns NaN, checking more often would not help.
    const delay = left < LONGEST_SLEEP ? Math.max(SHORTEST_SLEEP, left) : LONGEST_SLEEP;
    this.#wakeAt = time;
    this.#cancel = (this.#options.setTimer ?? setTimer)(() => this.#wake(), delay);
  }

  #wake(): void {
    this.#rest();
    const now = this.#options.now();
    for (const [item, time] of [...this.#times]) {
      // The callback for an earlier item may have moved or removed this one.
      if (time > now || this.#times.get(item) !== time) continue;
      this.#times.delete(item);
      this.#options.due(item);
    }
    if (this.#times.size === 0) return;
    let first = Infinity;
    for (const time of this.#times.values()) first = Math.min(first, time);
    this.#sleepUntil(first);
  }
}
