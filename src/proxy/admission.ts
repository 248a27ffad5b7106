/**
 * When the next connection may be accepted, and what it holds: a place among the handshakes first, then
 * one of the connections. Peers that are slow with their handshake so cannot take the connections of
 * those that are not.
 *
 * A new one is accepted while a connection is free. When all places for handshakes are taken, the one
 * that has been at it longest gives way to it, though not before it had its {@linkcode FAIR_CHANCE}. A
 * handshake that is over takes a connection; when others have taken the last one meanwhile, it waits
 * for its turn, and nobody new is accepted before it.
 *
 * @module
 */

import { type SetTimer, setTimer } from "./deadlines.ts";
import { type Slot, Slots } from "./limits.ts";

/**
 * Handshakes under way at once. Each costs a file descriptor and some 50 KB; a handshake takes
 * milliseconds of our time and a round trip or two of the peer's, so that this is enough for thousands
 * in a second.
 */
export const MAX_HANDSHAKES = 256;

/** So long a handshake may go on, in milliseconds, before it gives way to newer ones. */
export const FAIR_CHANCE = 1000;

/** What a connection holds of what there is. */
export interface Place {
  /** Called when the handshake has to give way to others; says why. The place is gone by then. */
  onYield: (why: string) => void;
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
  /** The runtime's timer unless a test has its own. */
  readonly setTimer?: SetTimer | undefined;
};

/** A place, for whoever gave it. */
export interface Seat extends Place {
  /** Gives everything back. The second and later calls do nothing. */
  release(): void;
}

/** Hands out places. */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #slots: Slots;
  /** Handshakes under way and when they began, the oldest first. */
  readonly #handshakes = new Map<Place, number>();
  #wake = (): void => {};

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
    while (!signal.aborted) {
      await this.#slots.vacancy(signal);
      if (signal.aborted) break;
      const wait = this.#full ? this.#untilFair() : 0;
      if (wait <= 0) return true;
      await this.#change(wait, signal);
    }
    return false;
  }

  /**
   * A place for a connection that was accepted.
   *
   * @throws {Error} when there is none, which cannot be right after {@linkcode Admission.room}.
   */
  enter(): Seat {
    if (this.#options.maxHandshakes > 0) {
      if (this.#full) this.#yieldOldest();
      return this.#seat(undefined);
    }
    const slot = this.#slots.tryAcquire();
    if (slot === undefined) throw new Error("Cannot enter: all connections are taken");
    return this.#seat(slot);
  }

  /** Descriptors are short: the oldest handshake gives way if it had its chance. */
  relieve(): void {
    if (this.#handshakes.size > 0 && this.#untilFair() <= 0) this.#yieldOldest();
  }

  get #full(): boolean {
    const { maxHandshakes } = this.#options;
    return maxHandshakes > 0 && this.#handshakes.size >= maxHandshakes;
  }

  get #now(): number {
    return (this.#options.monotonic ?? (() => performance.now()))();
  }

  /** So many milliseconds until the oldest handshake has had its chance. */
  #untilFair(): number {
    const [began = -Infinity] = this.#handshakes.values();
    return began + FAIR_CHANCE - this.#now;
  }

  #yieldOldest(): void {
    const [place] = this.#handshakes.keys();
    if (place === undefined) return;
    const count = this.#handshakes.size;
    this.#handshakes.delete(place);
    place.onYield(`gave way to newer connections, the oldest of ${count} handshakes under way`);
  }

  /** Resolves when a handshake has ended, after so many milliseconds, or on `signal`. */
  #change(milliseconds: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        cancel();
        signal.removeEventListener("abort", done);
        this.#wake = () => {};
        resolve();
      };
      const cancel = (this.#options.setTimer ?? setTimer)(done, Math.ceil(milliseconds));
      signal.addEventListener("abort", done, { once: true });
      this.#wake = done;
    });
  }

  #seat(slot: Slot | undefined): Seat {
    let held = slot;
    let released = false;
    let established = slot === undefined ? undefined : Promise.resolve(true);
    const leave = () => {
      if (this.#handshakes.delete(seat)) this.#wake();
    };
    const seat: Seat = {
      onYield: () => {},
      establish: (signal) => {
        leave();
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
        leave();
        held?.release();
      },
    };
    if (slot === undefined) this.#handshakes.set(seat, this.#now);
    return seat;
  }
}
