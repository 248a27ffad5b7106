/**
 * Decides when the next connection may be accepted, and which limit a connection counts towards:
 * first the one of handshakes, then the one of connections. So peers with slow handshakes cannot
 * use up the connections.
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

import type { Connection } from "./connection.ts";
import { type Lease, Semaphore } from "./limits.ts";

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
