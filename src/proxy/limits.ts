/**
 * Limits on connections: in total, per peer, and of handshakes.
 *
 * {@linkcode Admission} decides when the next connection may be accepted, and which limit a
 * connection counts towards: first the one of handshakes, then the one of connections. So peers
 * with slow handshakes cannot use up the connections.
 *
 * A new connection is accepted while there is room for an established one, however many handshakes
 * are in progress. When the limit of handshakes is reached, one handshake is evicted at once: the
 * oldest of the source that has the most, or of several such sources the oldest of all. So a source
 * that opens connections by the thousand evicts its own, and other sources keep their full
 * handshake time. With thousands of source addresses, an attacker still leaves every handshake the
 * time in which as many new connections arrive as the limit allows. Progress of a handshake does
 * not protect it: trickling bytes, or a chain that is being verified, are as cheap for an attacker
 * as silence.
 *
 * A completed handshake becomes an established connection. If the limit of those has been reached
 * meanwhile, it waits for its turn, and no new connection is accepted before it.
 *
 * @module
 */

import { onceAborted } from "../util/abort.ts";
import type { Connection } from "./connection.ts";

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
      const waiter: Waiter = (lease) => {
        abort[Symbol.dispose]();
        resolve(lease);
      };
      const abort = onceAborted(signal, () => {
        this.#waiters.delete(waiter);
        reject(signal?.reason);
      });
      this.#waiters.add(waiter);
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

/**
 * Maximum number of concurrent handshakes. Each takes a file descriptor and some 50 KB. A handshake
 * takes milliseconds of CPU and one or two round trips, so this is enough for thousands per second.
 */
export const MAX_HANDSHAKES = 256;

/**
 * Milliseconds that the only handshake of a source may take before it can be evicted when
 * descriptors are short. Descriptors may be held by things other than handshakes.
 */
export const FAIR_CHANCE = 1000;

/** Limits of {@linkcode Admission}. */
export type AdmissionOptions = {
  /** Maximum number of established connections; 0 = no limit. */
  readonly maxConnections: number;
  /**
   * Maximum number of concurrent handshakes; 0: no handshake phase, a connection counts as
   * established when it is accepted.
   */
  readonly maxHandshakes: number;
  /** Milliseconds on a monotonic clock. */
  readonly monotonic: () => number;
};

/** A handshake in progress. */
type Handshake = { source: string; readonly began: number };

/** A connection that is established, or waits until the limit allows it. */
type Established = { lease: Lease | undefined; readonly entered: Promise<boolean> };

/** Counts connections towards the limits. */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #connections: Semaphore;
  /** Oldest first. */
  readonly #handshakes = new Map<Connection, Handshake>();
  /** Number of handshakes per source. */
  readonly #sources = new Map<string, number>();
  readonly #established = new Map<Connection, Established>();

  /**
   * Starts without connections.
   *
   * @throws {RangeError} unless `maxConnections` is a whole number from 0 up.
   */
  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.#connections = new Semaphore(options.maxConnections);
  }

  /** Number of established connections. */
  get established(): number {
    return this.#connections.taken;
  }

  /** Number of handshakes in progress. */
  get handshakes(): number {
    return this.#handshakes.size;
  }

  /** Waits until a connection may be accepted; false if `signal` aborts first. Never rejects. */
  async room(signal: AbortSignal): Promise<boolean> {
    await this.#connections.vacancy(signal);
    return !signal.aborted;
  }

  /**
   * Counts an accepted connection. `source` is its network, as `networkOf` returns it.
   *
   * @throws {Error} when the limit is reached, which cannot happen right after
   * {@linkcode Admission.room}.
   */
  enter(connection: Connection, source: string): void {
    const { maxHandshakes, monotonic } = this.#options;
    if (maxHandshakes > 0) {
      this.#handshakes.set(connection, { source, began: monotonic() });
      this.#sources.set(source, (this.#sources.get(source) ?? 0) + 1);
      if (this.#handshakes.size > maxHandshakes) this.#evict(this.#next());
      return;
    }
    const lease = this.#connections.tryAcquire();
    if (lease === undefined) throw new Error("Cannot enter: all connections are taken");
    this.#established.set(connection, { lease, entered: Promise.resolve(true) });
  }

  /** Attributes a handshake to another source: the client that a load balancer reported. */
  moveTo(connection: Connection, source: string): void {
    const handshake = this.#handshakes.get(connection);
    if (handshake === undefined) return;
    this.#leaveSource(handshake.source);
    handshake.source = source;
    this.#sources.set(source, (this.#sources.get(source) ?? 0) + 1);
  }

  /**
   * Ends the handshake phase; from this call on the connection cannot be evicted. True once it
   * counts as established; false if it is ended or leaves first. Never rejects.
   */
  establish(connection: Connection): Promise<boolean> {
    const known = this.#established.get(connection);
    if (known !== undefined) return known.entered;
    this.#endHandshake(connection);
    const lease = this.#connections.tryAcquire();
    const established: Established = {
      lease,
      entered: lease === undefined ? this.#enterLater(connection) : Promise.resolve(true),
    };
    this.#established.set(connection, established);
    return established.entered;
  }

  /** The connection is over. The second and later calls do nothing. */
  leave(connection: Connection): void {
    this.#endHandshake(connection);
    this.#established.get(connection)?.lease?.release();
    this.#established.delete(connection);
  }

  /**
   * Descriptors are short: evicts a handshake, if its source has several or it has had its time.
   */
  freeDescriptor(): void {
    const next = this.#next();
    if (next === undefined) return;
    const [, { source, began }] = next;
    const several = (this.#sources.get(source) ?? 0) > 1;
    if (several || began + FAIR_CHANCE <= this.#options.monotonic()) this.#evict(next);
  }

  async #enterLater(connection: Connection): Promise<boolean> {
    try {
      const lease = await this.#connections.acquire(connection.signal);
      const established = this.#established.get(connection);
      if (established === undefined) lease.release();
      else established.lease = lease;
      return established !== undefined;
    } catch {
      return false; // The connection was ended.
    }
  }

  #endHandshake(connection: Connection): void {
    const handshake = this.#handshakes.get(connection);
    if (handshake === undefined) return;
    this.#handshakes.delete(connection);
    this.#leaveSource(handshake.source);
  }

  #leaveSource(source: string): void {
    const left = (this.#sources.get(source) ?? 0) - 1;
    // Sources without handshakes are removed, so that the map does not grow.
    if (left > 0) this.#sources.set(source, left);
    else this.#sources.delete(source);
  }

  /** The next handshake to evict: the oldest among the sources that have the most. */
  #next(): readonly [Connection, Handshake] | undefined {
    const most = Math.max(...this.#sources.values());
    for (const one of this.#handshakes) {
      if (this.#sources.get(one[1].source) === most) return one;
    }
    return undefined;
  }

  #evict(next: readonly [Connection, Handshake] | undefined): void {
    if (next === undefined) return;
    const [connection, { source }] = next;
    const [its, all] = [this.#sources.get(source) ?? 0, this.#handshakes.size];
    this.#endHandshake(connection);
    connection.end({
      reason: "error",
      fields: {
        error:
          `gave way to newer connections: the oldest of ${its} handshakes from ${source}, of ${all} under way`,
      },
    });
  }
}
