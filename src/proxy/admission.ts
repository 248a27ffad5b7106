/**
 * Decides when the next connection may be accepted, and which limit it counts towards: first the
 * one of handshakes, then the one of connections. So peers with slow handshakes cannot use up the
 * connections.
 *
 * A new connection is accepted while an established place is free, however many handshakes are in
 * progress. When all places for handshakes are taken, one handshake is evicted at once: the oldest
 * of the source that has the most, or of several such sources the oldest of all. So a source that
 * opens connections by the thousand evicts its own, and other sources keep their full handshake
 * time. With thousands of source addresses, an attacker still leaves every handshake the time in
 * which as many new connections arrive as there are places. Progress of a handshake does not
 * protect it: trickling bytes, or a chain that is being verified, are as cheap for an attacker as
 * silence.
 *
 * A completed handshake takes a connection's place. If others have taken the last one meanwhile, it
 * waits for its turn, and no new connection is accepted before it.
 *
 * @module
 */

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

/** A connection's place within the limits. */
export interface Place {
  /** Called with the reason when the handshake is evicted. The place is released by then. */
  onEvict: (why: string) => void;
  /** Attributes the handshake to another source: the client that a load balancer reported. */
  moveTo(source: string): void;
  /**
   * Ends the handshake phase; from this call on the place cannot be evicted. True once the
   * connection has its place among the established ones; false if `signal` aborts first. Never
   * rejects.
   */
  establish(signal: AbortSignal): Promise<boolean>;
}

/** Settings of {@linkcode Admission}. */
export type AdmissionOptions = {
  /** Maximum number of established connections; 0 = no limit. */
  readonly maxConnections: number;
  /**
   * Maximum number of concurrent handshakes; 0: no handshake phase, a connection counts as
   * established when it is accepted.
   */
  readonly maxHandshakes: number;
  /** Milliseconds on a monotonic clock. */
  readonly monotonic?: (() => number) | undefined;
};

/** A place, with what only the listener may do to it. */
export interface Seat extends Place {
  /** Releases everything. The second and later calls do nothing. */
  release(): void;
}

/** A handshake in progress. */
type Handshake = { source: string; readonly began: number };

/** Assigns places. */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #slots: Semaphore;
  /** Oldest first. */
  readonly #handshakes = new Map<Place, Handshake>();
  /** Number of handshakes per source. */
  readonly #sources = new Map<string, number>();

  /**
   * Starts with all places free.
   *
   * @throws {RangeError} unless `maxConnections` is a whole number from 0 up.
   */
  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.#slots = new Semaphore(options.maxConnections);
  }

  /** Number of established connections. */
  get established(): number {
    return this.#slots.taken;
  }

  /** Number of handshakes in progress. */
  get handshakes(): number {
    return this.#handshakes.size;
  }

  /** Waits until a connection may be accepted; false if `signal` aborts first. Never rejects. */
  async room(signal: AbortSignal): Promise<boolean> {
    await this.#slots.vacancy(signal);
    return !signal.aborted;
  }

  /**
   * Assigns a place to an accepted connection. `source` is its network, as `networkOf` returns it.
   *
   * @throws {Error} when no place is free, which cannot happen right after
   * {@linkcode Admission.room}.
   */
  enter(source: string): Seat {
    const { maxHandshakes } = this.#options;
    if (maxHandshakes > 0) {
      const seat = this.#seat(undefined);
      this.#add(seat, { source, began: this.#now });
      if (this.#handshakes.size > maxHandshakes) this.#evict(this.#first());
      return seat;
    }
    const slot = this.#slots.tryAcquire();
    if (slot === undefined) throw new Error("Cannot enter: all connections are taken");
    return this.#seat(slot);
  }

  /**
   * Descriptors are short: evicts a handshake, if its source has several or it has had its time.
   */
  relieve(): void {
    const first = this.#first();
    if (first === undefined) return;
    const [, { source, began }] = first;
    const several = (this.#sources.get(source) ?? 0) > 1;
    if (several || began + FAIR_CHANCE <= this.#now) this.#evict(first);
  }

  get #now(): number {
    return (this.#options.monotonic ?? (() => performance.now()))();
  }

  #add(place: Place, handshake: Handshake): void {
    const { source } = handshake;
    this.#handshakes.set(place, handshake);
    this.#sources.set(source, (this.#sources.get(source) ?? 0) + 1);
  }

  #remove(place: Place): void {
    const handshake = this.#handshakes.get(place);
    if (handshake === undefined) return;
    this.#handshakes.delete(place);
    this.#leave(handshake.source);
  }

  #leave(source: string): void {
    const left = (this.#sources.get(source) ?? 0) - 1;
    // Sources without handshakes are removed, so that the map does not grow.
    if (left > 0) this.#sources.set(source, left);
    else this.#sources.delete(source);
  }

  /** The next handshake to evict: the oldest among the sources that have the most. */
  #first(): readonly [Place, Handshake] | undefined {
    const most = Math.max(...this.#sources.values());
    for (const one of this.#handshakes) {
      if (this.#sources.get(one[1].source) === most) return one;
    }
    return undefined;
  }

  #evict(first: readonly [Place, Handshake] | undefined): void {
    if (first === undefined) return;
    const [place, { source }] = first;
    const [its, all] = [this.#sources.get(source) ?? 0, this.#handshakes.size];
    this.#remove(place);
    place.onEvict(
      `gave way to newer connections: the oldest of ${its} handshakes from ${source}, of ${all} under way`,
    );
  }

  #seat(slot: Lease | undefined): Seat {
    let held = slot;
    let released = false;
    let established = slot === undefined ? undefined : Promise.resolve(true);
    const seat: Seat = {
      onEvict: () => {},
      moveTo: (source) => {
        const handshake = this.#handshakes.get(seat);
        if (handshake === undefined) return;
        this.#leave(handshake.source);
        handshake.source = source;
        this.#sources.set(source, (this.#sources.get(source) ?? 0) + 1);
      },
      establish: (signal) => {
        this.#remove(seat);
        return established ??= this.#slots.acquire(signal).then(
          (slot) => {
            if (released) slot.release();
            else held = slot;
            return !released;
          },
          () => false,
        );
      },
      release: () => {
        if (released) return;
        released = true;
        this.#remove(seat);
        held?.release();
      },
    };
    return seat;
  }
}
