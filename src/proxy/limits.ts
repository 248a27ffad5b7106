/**
 * Limits on open connections: in total, and per peer.
 *
 * @module
 */

/** The right to one open connection; disposing releases it. */
export interface Lease extends Disposable {
  /** Releases it. The second and later calls do nothing. */
  release(): void;
}

type Waiter = (lease: Lease) => void;

/** Interprets a limit, where 0 means none. */
function limitOf(limit: number): number {
  if (!Number.isSafeInteger(limit) || limit < 0) {
    throw new RangeError(`Cannot limit to ${limit}: must be a whole number, 0 for no limit`);
  }
  return limit === 0 ? Infinity : limit;
}

/** A lease that calls `back` once. */
function leaseOf(back: () => void): Lease {
  let held = true;
  const release = () => {
    if (!held) return;
    held = false;
    back();
  };
  return { release, [Symbol.dispose]: release };
}

/** A counting semaphore, first come first served. */
export class Semaphore {
  readonly #limit: number;
  readonly #waiters = new Set<Waiter>();
  #taken = 0;

  /**
   * Allows `limit` leases at once; 0 = no limit.
   *
   * @throws {RangeError} unless `limit` is a whole number from 0 up.
   */
  constructor(limit: number) {
    this.#limit = limitOf(limit);
  }

  /** Number of leases in use. */
  get taken(): number {
    return this.#taken;
  }

  /**
   * Takes a lease if the limit allows it. This never overtakes a waiter: while there are waiters,
   * the limit is reached.
   */
  tryAcquire(): Lease | undefined {
    return this.#taken < this.#limit ? this.#hand() : undefined;
  }

  /**
   * Takes a lease, waiting until the limit allows it.
   *
   * @throws the signal's reason when it aborts first; then no lease was taken.
   */
  acquire(signal?: AbortSignal): Promise<Lease> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const free = this.tryAcquire();
    if (free !== undefined) return Promise.resolve(free);
    return new Promise((resolve, reject) => {
      const abort = () => {
        this.#waiters.delete(waiter);
        reject(signal?.reason);
      };
      const waiter: Waiter = (lease) => {
        signal?.removeEventListener("abort", abort);
        resolve(lease);
      };
      this.#waiters.add(waiter);
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  /**
   * Waits until a lease could be taken and there are no waiters, without taking it. Returns early on
   * `signal`.
   */
  async vacancy(signal: AbortSignal): Promise<void> {
    while (this.#taken >= this.#limit && !signal.aborted) {
      // Queues like every other waiter, and gives the lease back.
      await this.acquire(signal).then((lease) => lease.release(), () => undefined);
    }
  }

  #hand(): Lease {
    this.#taken++;
    return leaseOf(() => {
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

/** Limits concurrent uses per key. A use beyond the limit is refused, not queued. */
export class KeyedLimiter {
  /** The limit; `Infinity` for none. */
  readonly limit: number;
  readonly #taken = new Map<string, number>();

  /**
   * Allows `limit` uses per key; 0 = no limit.
   *
   * @throws {RangeError} unless `limit` is a whole number from 0 up.
   */
  constructor(limit: number) {
    this.limit = limitOf(limit);
  }

  /** Number of keys in use. */
  get keys(): number {
    return this.#taken.size;
  }

  /** Takes one use of `key`; `undefined` when the limit is reached. */
  take(key: string): Lease | undefined {
    const taken = this.#taken.get(key) ?? 0;
    if (taken >= this.limit) return undefined;
    this.#taken.set(key, taken + 1);
    return leaseOf(() => {
      const left = (this.#taken.get(key) ?? 0) - 1;
      // Unused keys are removed, so that the map does not grow.
      if (left > 0) this.#taken.set(key, left);
      else this.#taken.delete(key);
    });
  }
}
