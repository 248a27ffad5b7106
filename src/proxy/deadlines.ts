/**
 * Points in time, however far away, for many things at once with one timer.
 *
 * A timer of the runtime takes at most 2^31 - 1 ms, some 25 days, and fires at once beyond; a
 * certificate may be valid for ten years. And what is due at a time of day is due too when the clock is
 * set to that time. So the timer never sleeps longer than {@linkcode LONGEST_SLEEP} and looks at the
 * clock each time.
 *
 * @module
 */

/** Calls `callback` after `delay` milliseconds; what it returns calls that off. */
export type SetTimer = (callback: () => void, delay: number) => () => void;

/** The runtime's timer. */
export function setTimer(callback: () => void, delay: number): () => void {
  const timer = setTimeout(callback, delay);
  return () => clearTimeout(timer);
}

/** At least so often the clock is looked at while there is something to wait for, in milliseconds. */
export const LONGEST_SLEEP = 1000;
/** What is due within so many milliseconds of each other is done at once. */
const SHORTEST_SLEEP = 10;

/** Settings of {@linkcode Deadlines}. */
export type DeadlinesOptions<T> = {
  /** The clock that the times are of, in milliseconds; it may jump. */
  readonly now: () => number;
  /** Told of each item once its time has come; it is forgotten by then. Must not throw. */
  readonly due: (item: T) => void;
  /** The runtime's timer unless a test has its own. */
  readonly setTimer?: SetTimer | undefined;
};

/** Items, each with the time when it is due. Holds a timer only while there are items. */
export class Deadlines<T> {
  readonly #options: DeadlinesOptions<T>;
  readonly #times = new Map<T, number>();
  #cancel: (() => void) | undefined;
  #wakeAt = Infinity;

  /** Nothing is due. */
  constructor(options: DeadlinesOptions<T>) {
    this.#options = options;
  }

  /** How many items wait. */
  get size(): number {
    return this.#times.size;
  }

  /** `item` is due at `time`, and not before if another time was set earlier. */
  set(item: T, time: number): void {
    this.#times.set(item, time);
    if (this.#cancel === undefined || time < this.#wakeAt) this.#sleepUntil(time);
  }

  /** `item` is not due any more. */
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
    // Not a number: the clock is broken, and looking at it more often does not help.
    const delay = left < LONGEST_SLEEP ? Math.max(SHORTEST_SLEEP, left) : LONGEST_SLEEP;
    this.#wakeAt = time;
    this.#cancel = (this.#options.setTimer ?? setTimer)(() => this.#wake(), delay);
  }

  #wake(): void {
    this.#rest();
    const now = this.#options.now();
    for (const [item, time] of [...this.#times]) {
      // An earlier one may have moved or removed it.
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
