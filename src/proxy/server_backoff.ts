/**
 * Backs off from servers whose certificates cost too much CPU. As a client the runtime's TLS always
 * searches for a path, for seconds if the chain is made for that, and nothing else of the process
 * runs meanwhile. So that a server at the target's address gets at most a small share of the CPU,
 * each such handshake is followed by a pause many times as long.
 *
 * @module
 */

/** Milliseconds of CPU that a failed handshake may cost. An honest one costs less than 5. */
const MAX_COST = 100;
/** The pause as a multiple of the cost: the server gets at most 1 / SHARE of the CPU. */
const SHARE = 20;
/** The longest pause, in milliseconds. */
const MAX_PAUSE = 300_000;

/** The servers of one tunnel, by address. */
export class ServerBackoff {
  readonly #monotonic: () => number;
  readonly #until = new Map<string, number>();

  /** `monotonic`: milliseconds on a monotonic clock. */
  constructor(monotonic: () => number) {
    this.#monotonic = monotonic;
  }

  /**
   * Records a failed handshake with `server` that took `cost` milliseconds of CPU. Returns the
   * milliseconds for which the server is not dialled; 0 if the cost was acceptable.
   */
  failed(server: string, cost: number): number {
    if (cost <= MAX_COST) return 0;
    const pause = Math.min(MAX_PAUSE, cost * SHARE);
    this.#until.set(server, this.#monotonic() + pause);
    return pause;
  }

  /** Milliseconds for which `server` is still not to be dialled; 0 if it may be. */
  pauseOf(server: string): number {
    const until = this.#until.get(server);
    if (until === undefined) return 0;
    const left = until - this.#monotonic();
    if (left <= 0) this.#until.delete(server);
    return Math.max(0, left);
  }
}
