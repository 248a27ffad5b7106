/**
 * How many connections may be open at once.
 *
 * @module
 */

/** The right to have one connection open; disposing of it gives it back. */
export interface Slot extends Disposable {
  /** Give the slot back. The second and later calls do nothing. */
  release(): void;
}

type Waiter = (slot: Slot) => void;

/** A counting semaphore, first come first served. */
export class Slots {
  readonly #limit: number;
  readonly #waiters = new Set<Waiter>();
  #taken = 0;

  /**
   * `limit` slots; 0 = no limit.
   *
   * @throws {RangeError} for a limit that is no whole number from 0 up.
   */
  constructor(limit: number) {
    if (!Number.isSafeInteger(limit) || limit < 0) {
      throw new RangeError(`Cannot limit to ${limit}: must be a whole number, 0 for no limit`);
    }
    this.#limit = limit === 0 ? Infinity : limit;
  }

  /** How many slots are out. */
  get taken(): number {
    return this.#taken;
  }

  /**
   * Take a slot, waiting for one if need be.
   *
   * @throws the signal's reason when it aborts first; then no slot was taken.
   */
  acquire(signal?: AbortSignal): Promise<Slot> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#taken < this.#limit) return Promise.resolve(this.#hand());
    return new Promise((resolve, reject) => {
      const abort = () => {
        this.#waiters.delete(waiter);
        reject(signal?.reason);
      };
      const waiter: Waiter = (slot) => {
        signal?.removeEventListener("abort", abort);
        resolve(slot);
      };
      this.#waiters.add(waiter);
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  #hand(): Slot {
    this.#taken++;
    let held = true;
    const release = () => {
      if (!held) return;
      held = false;
      this.#taken--;
      this.#serveNext();
    };
    return { release, [Symbol.dispose]: release };
  }

  #serveNext(): void {
    const [next] = this.#waiters;
    if (next === undefined) return;
    this.#waiters.delete(next);
    next(this.#hand());
  }
}
