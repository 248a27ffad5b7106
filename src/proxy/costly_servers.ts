/**
 * Servers whose certificates cost too much are left alone for a while. As a client the TLS engine searches
 * for a path whatever it is given, for seconds where the chain is made for that, and nothing else of the
 * process runs meanwhile. So that whoever answers at the target's address gets a small share of the CPU
 * at most, each such search is followed by a pause many times as long.
 *
 * @module
 */

/** Milliseconds of CPU that a failed handshake may cost. An honest one costs less than 5. */
const MAX_COST = 100;
/** The pause, in times of the cost: the share of the CPU is 1 in so many. */
const SHARE = 20;
/** Milliseconds of a pause, at most. */
const MAX_PAUSE = 300_000;

/** Those of one tunnel, by address. */
export class CostlyServers {
  readonly #monotonic: () => number;
  readonly #until = new Map<string, number>();

  /** `monotonic`: milliseconds on a clock that never goes back. */
  constructor(monotonic: () => number) {
    this.#monotonic = monotonic;
  }

  /**
   * A handshake with `server` failed, after `cost` milliseconds of CPU in the engine. Milliseconds for which
   * the server is left alone from now on; 0 where it cost no more than it may.
   */
  failed(server: string, cost: number): number {
    if (cost <= MAX_COST) return 0;
    const pause = Math.min(MAX_PAUSE, cost * SHARE);
    this.#until.set(server, this.#monotonic() + pause);
    return pause;
  }

  /** Milliseconds for which `server` is still left alone; 0 where it is not. */
  pauseOf(server: string): number {
    const until = this.#until.get(server);
    if (until === undefined) return 0;
    const left = until - this.#monotonic();
    if (left <= 0) this.#until.delete(server);
    return Math.max(0, left);
  }
}
