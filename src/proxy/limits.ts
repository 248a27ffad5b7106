/**
 * How many connections may be open at once: altogether, and of one peer.
 *
 * @module
 */

/** The right to have one connection open; disposing of it gives it back. */
export interface Slot extends Disposable {
  /** Give the slot back. The second and later calls do nothing. */
  release(): void;
}

type Waiter = (slot: Slot) => void;

/** The limit that is meant; 0 = none. */
function limitOf(limit: number): number {
  if (!Number.isSafeInteger(limit) || limit < 0) {
    throw new RangeError(`Cannot limit to ${limit}: must be a whole number, 0 for no limit`);
  }
  return limit === 0 ? Infinity : limit;
}

/** A slot that calls `back` once. */
function slotOf(back: () => void): Slot {
  let held = true;
  const release = () => {
    if (!held) return;
    held = false;
    back();
  };
  return { release, [Symbol.dispose]: release };
}

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
    this.#limit = limitOf(limit);
  }

  /** How many slots are out. */
  get taken(): number {
    return this.#taken;
  }

  /** Take a slot if there is one. Nobody who waits is passed over: while one does, there is none. */
  tryAcquire(): Slot | undefined {
    return this.#taken < this.#limit ? this.#hand() : undefined;
  }

  /**
   * Take a slot, waiting for one if need be.
   *
   * @throws the signal's reason when it aborts first; then no slot was taken.
   */
  acquire(signal?: AbortSignal): Promise<Slot> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const free = this.tryAcquire();
    if (free !== undefined) return Promise.resolve(free);
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

  /** Wait until a slot is free and nobody waits for it; none is taken. Returns early on `signal`. */
  async vacancy(signal: AbortSignal): Promise<void> {
    while (this.#taken >= this.#limit && !signal.aborted) {
      // In line like everybody else, and out of it again.
      await this.acquire(signal).then((slot) => slot.release(), () => undefined);
    }
  }

  #hand(): Slot {
    this.#taken++;
    return slotOf(() => {
      this.#taken--;
      this.#serveNext();
    });
  }

  #serveNext(): void {
    const [next] = this.#waiters;
    if (next === undefined) return;
    this.#waiters.delete(next);
    next(this.#hand());
  }
}

/** So many at once of each key; what is over the limit is refused, not kept waiting. */
export class Quota {
  /** The limit; `Infinity` for none. */
  readonly limit: number;
  readonly #taken = new Map<string, number>();

  /**
   * `limit` for each key; 0 = no limit.
   *
   * @throws {RangeError} for a limit that is no whole number from 0 up.
   */
  constructor(limit: number) {
    this.limit = limitOf(limit);
  }

  /** How many keys have something taken. */
  get keys(): number {
    return this.#taken.size;
  }

  /** Take one of `key`; `undefined` when it has all it may have. */
  take(key: string): Slot | undefined {
    const taken = this.#taken.get(key) ?? 0;
    if (taken >= this.limit) return undefined;
    this.#taken.set(key, taken + 1);
    return slotOf(() => {
      const left = (this.#taken.get(key) ?? 0) - 1;
      // A key with nothing taken is forgotten: peers come and go.
      if (left > 0) this.#taken.set(key, left);
      else this.#taken.delete(key);
    });
  }
}
