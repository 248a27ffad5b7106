/**
 * When the next connection may be accepted, and what it holds: a place among the handshakes first, then
 * one of the connections. Peers that are slow with their handshake so cannot take the connections of
 * those that are not.
 *
 * A new one is accepted while a connection is free, however many handshakes are under way: when all
 * places for them are taken, one is evicted at once. It is the oldest of the source that has most of
 * them, and of several sources that have as many the oldest of all. So who opens connections by the
 * thousand evicts its own, and others have all the time that they need; who does so from thousands of
 * addresses leaves everybody the time in which as many new ones come as there are places. It makes no
 * difference what a handshake has come to: bytes that trickle, or a chain that is being verified, are as
 * cheap to have as silence.
 *
 * A handshake that is over takes a connection; when others have taken the last one meanwhile, it waits
 * for its turn, and nobody new is accepted before it.
 *
 * @module
 */

import { type Slot, Slots } from "./limits.ts";

/**
 * Handshakes under way at once. Each costs a file descriptor and some 50 KB; a handshake takes
 * milliseconds of our time and a round trip or two of the peer's, so that this is enough for thousands
 * in a second.
 */
export const MAX_HANDSHAKES = 256;

/**
 * Short of descriptors, so long the only handshake of a source may go on, in milliseconds, before it is
 * evicted. What is missing may be held by others than handshakes.
 */
export const FAIR_CHANCE = 1000;

/** What a connection holds of what there is. */
export interface Place {
  /** Called when the handshake has to give way to others; says why. The place is gone by then. */
  onYield: (why: string) => void;
  /** The handshake is another source's than who connected: a balancer has said on whose behalf it is. */
  moveTo(source: string): void;
  /**
   * The handshake is over: from this call on the place is not taken away any more. True once it is one
   * of the connections; false when `signal` aborted first. Never rejects.
   */
  establish(signal: AbortSignal): Promise<boolean>;
}

/** Settings of {@linkcode Admission}. */
export type AdmissionOptions = {
  /** Connections at once; 0 = no limit. */
  readonly maxConnections: number;
  /** Handshakes at once; 0: there are none, a connection counts as one when it is accepted. */
  readonly maxHandshakes: number;
  /** Milliseconds on a clock that never goes back. */
  readonly monotonic?: (() => number) | undefined;
};

/** A place, for whoever gave it. */
export interface Seat extends Place {
  /** Gives everything back. The second and later calls do nothing. */
  release(): void;
}

/** A handshake under way. */
type Handshake = { source: string; readonly began: number };

/** Hands out places. */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #slots: Slots;
  /** The oldest first. */
  readonly #handshakes = new Map<Place, Handshake>();
  /** How many of them each source has. */
  readonly #sources = new Map<string, number>();

  /**
   * All places are free.
   *
   * @throws {RangeError} for a `maxConnections` that is no whole number from 0 up.
   */
  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.#slots = new Slots(options.maxConnections);
  }

  /** Connections whose handshake is over. */
  get established(): number {
    return this.#slots.taken;
  }

  /** Handshakes under way. */
  get handshakes(): number {
    return this.#handshakes.size;
  }

  /** Waits until a connection may be accepted; false when `signal` aborts first. Never rejects. */
  async room(signal: AbortSignal): Promise<boolean> {
    await this.#slots.vacancy(signal);
    return !signal.aborted;
  }

  /**
   * A place for a connection that was accepted. `source` is where it comes from: what is one for the
   * network, as `networkOf` gives it.
   *
   * @throws {Error} when there is none, which cannot be right after {@linkcode Admission.room}.
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

  /** Descriptors are short: a handshake is evicted, if its source has others or it had its chance. */
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
    // A source without handshakes is forgotten: peers come and go.
    if (left > 0) this.#sources.set(source, left);
    else this.#sources.delete(source);
  }

  /** Whose turn it is to be evicted: the oldest one of those sources that have most. */
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
    place.onYield(
      `gave way to newer connections: the oldest of ${its} handshakes from ${source}, of ${all} under way`,
    );
  }

  #seat(slot: Slot | undefined): Seat {
    let held = slot;
    let released = false;
    let established = slot === undefined ? undefined : Promise.resolve(true);
    const seat: Seat = {
      onYield: () => {},
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
