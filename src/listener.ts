/**
 * The accept loop: connections come in one by one, each in a place of its own, and nothing that one of
 * them does, or the system's want of descriptors, ends the loop. Only {@linkcode Listener.stop} does.
 *
 * @module
 */

import type { Channel } from "./channel.ts";
import type { Logger } from "./logging.ts";
import type { LogLimiter } from "./logging/limiter.ts";
import { AcceptError } from "./net.ts";
import { Admission, type Place, type Seat } from "./proxy/admission.ts";
import { networkOf } from "./proxy/peer_key.ts";

/** A socket that listens; `listenTcp` makes one. */
export interface Acceptor {
  /** What it is bound to, `host:port`. */
  readonly address: string;
  /** The next connection; rejects when that failed or after `close`. */
  accept(): Promise<Channel>;
  /** Whether whoever looks for it finds it, where it can be lost. Never throws. */
  inPlace?(): boolean;
  /** Stop listening; a pending `accept` rejects. Never throws. */
  close(): void;
}

/** Settings of a {@linkcode Listener}. */
export type ListenerOptions = {
  /** Owned by the listener from now on. */
  readonly socket: Acceptor;
  /** At most this many connections at once, the rest wait in the kernel's queue; 0 = no limit. */
  readonly maxConnections: number;
  /**
   * At most this many handshakes besides; 0, the default: there are none, and a connection counts from
   * the start.
   */
  readonly maxHandshakes?: number | undefined;
  /**
   * One connection's whole life; its place is free again when the promise settles. A failure is logged
   * and concerns nobody else. The connection is closed afterwards in any case.
   */
  readonly onConnection: (connection: Channel, place: Place) => Promise<void>;
  readonly logger: Logger;
  /** Bounds lines that strangers can cause. */
  readonly limiter: LogLimiter;
  /** Aborting it is the same as calling `stop`. */
  readonly signal?: AbortSignal | undefined;
};

/** First and longest pause after a failed accept, in milliseconds; it doubles in between. */
const MIN_PAUSE = 5;
const MAX_PAUSE = 1000;
/**
 * At most so many are accepted in so many milliseconds, several times as many as handshakes can be done
 * in that time. Without a limit those who connect by the ten thousand and say nothing would leave no turn
 * to open connections.
 */
const ACCEPTS_AT_ONCE = 16;
const ACCEPT_PERIOD = 5;
/** After so many peers that could not be taken the rest of the process gets its turn. */
const MISSED_AT_ONCE = 64;
/** So many milliseconds without a failure end an incident; the next failure is logged again. */
const CALM = 10_000;
/** An incident that goes on is logged again after so many milliseconds. */
const REMIND = 60_000;
/** Once nobody has come for so many milliseconds there is nobody on the way to us any more, ... */
const QUIET = 100;
/** ... or so it is taken to be after so many. */
const LAST_CALL = 2000;
/** An accept that is still pending after so many milliseconds has found nothing wrong. */
const SETTLED = 100;

/** Accepts connections from the moment it is made until it is stopped. */
export class Listener {
  readonly #options: ListenerOptions;
  readonly #admission: Admission;
  readonly #stopping = new AbortController();
  readonly #loop: Promise<void>;
  readonly #connections = new Set<Promise<void>>();
  /** The last call, where there was one. */
  #closing: Promise<void> | undefined;
  #cameAt = 0;
  #pause = 0;
  #waitingSince = Infinity;
  #accepts = 0;
  #periodSince = -Infinity;
  #incident = false;
  #failures = 0;
  #missed = 0;
  #refusedAt = -Infinity;
  #failedAt = -Infinity;
  #loggedAt = -Infinity;

  /**
   * Starts accepting.
   *
   * @throws {RangeError} for a `maxConnections` that is no whole number from 0 up.
   */
  constructor(options: ListenerOptions) {
    this.#options = options;
    const { maxConnections, maxHandshakes = 0 } = options;
    this.#admission = new Admission({ maxConnections, maxHandshakes });
    const { signal } = options;
    const stop = () => this.stop();
    signal?.addEventListener("abort", stop, { once: true });
    this.#stopping.signal.addEventListener("abort", () => {
      signal?.removeEventListener("abort", stop);
    }, { once: true });
    if (signal?.aborted) this.stop();
    this.#loop = this.#run();
  }

  /** What it is bound to, `host:port`. */
  get address(): string {
    return this.#options.socket.address;
  }

  /** How many connections are open. */
  get active(): number {
    return this.#connections.size;
  }

  /**
   * Whether new connections are let in, as far as is known: not stopped, no accept failing, and the file
   * of a UNIX socket is there.
   */
  get accepting(): boolean {
    if (this.#closing !== undefined || this.#stopping.signal.aborted) return false;
    if (this.#options.socket.inPlace?.() === false) return false;
    return this.#pause === 0 || performance.now() - this.#waitingSince > SETTLED;
  }

  /**
   * Stop listening: the port is free a turn of the event loop later. Connections that wait in the
   * kernel's queue are reset, open ones go on. Never throws; later calls do nothing.
   */
  stop(): void {
    if (this.#stopping.signal.aborted) return;
    this.#stopping.abort();
    this.#options.socket.close();
  }

  /**
   * Lets in whoever has come already, or comes while word gets around that this one stops, and then
   * stops: when nobody came for 100 ms, after 2 s at most. Those who find no room until then are reset.
   */
  close(): void {
    this.#closing ??= this.#lastCall();
  }

  async #lastCall(): Promise<void> {
    this.#cameAt = performance.now();
    const until = this.#cameAt + LAST_CALL;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const now = performance.now();
      const wait = Math.min(this.#cameAt + QUIET, until) - now;
      if (wait <= 0) break;
      await this.#sleep(wait);
    }
    this.stop();
  }

  /**
   * Resolves when no connection is open; after `close` or `stop` there will be none any more. Never
   * rejects.
   */
  async drained(): Promise<void> {
    await this.#closing;
    if (this.#stopping.signal.aborted) await this.#loop;
    while (this.#connections.size > 0) await Promise.all(this.#connections);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        // Before accepting: whoever finds no room stays in the kernel's queue, unaccepted.
        if (!await this.#admission.room(signal)) return;
        this.#waitingSince = performance.now();
        await this.#enter(await this.#options.socket.accept());
        await this.#pace();
      } catch (error) {
        // Not even a fault in telling of it ends the loop, or keeps it spinning.
        await this.#failed(error).catch(() => this.#sleep(MAX_PAUSE));
      }
    }
  }

  /** Waits for the next period when this one's accepts are used up. */
  async #pace(): Promise<void> {
    const now = performance.now();
    if (now - this.#periodSince >= ACCEPT_PERIOD) {
      this.#periodSince = now;
      this.#accepts = 0;
    }
    if (++this.#accepts < ACCEPTS_AT_ONCE) return;
    await this.#sleep(this.#periodSince + ACCEPT_PERIOD - now);
  }

  /** Never rejects: whatever goes wrong from here on concerns this connection only. */
  async #enter(connection: Channel): Promise<void> {
    try {
      // A handshake may have taken the last connection meanwhile, and accepting cannot be called
      // off: this one waits here, as unnoticed as it would in the kernel's queue.
      const room = await this.#admission.room(this.#stopping.signal);
      if (room) this.#accepted(connection, this.#admission.enter(networkOf(connection.remote)));
      else connection.close();
    } catch (error) {
      connection.close();
      this.#connectionFailed(connection, error);
    }
  }

  #accepted(connection: Channel, seat: Seat): void {
    this.#cameAt = performance.now();
    const life = this.#live(connection, seat).finally(() => {
      this.#connections.delete(life);
      seat.release();
    });
    this.#connections.add(life);
    const recovered = this.#incident;
    this.#incident = false;
    this.#pause = 0;
    if (!recovered) return;
    this.#options.logger.info("listener: accepting again", { failures: this.#failures });
    this.#failures = 0;
  }

  /** Never rejects. */
  async #live(connection: Channel, place: Place): Promise<void> {
    try {
      try {
        await this.#options.onConnection(connection, place);
      } finally {
        connection.close();
      }
    } catch (error) {
      this.#connectionFailed(connection, error);
    }
  }

  #connectionFailed({ remote }: Channel, error: unknown): void {
    const { limiter, logger } = this.#options;
    const detail = error instanceof Error ? error.message : String(error);
    try {
      if (!limiter.allows("error", "connection failed", { source: networkOf(remote) })) return;
      logger.error("listener: connection failed", { remote, error: detail });
    } catch {
      // There is nobody else to tell, and others wait to be served.
    }
  }

  async #failed(error: unknown): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    if (error instanceof AcceptError && (error.peerGone || error.peerUnnamed)) {
      this.#missedOne(error);
      // A pause for each would let anybody who connects and resets keep all others waiting; none at
      // all would let them keep the process busy with nothing else.
      if (++this.#missed % MISSED_AT_ONCE === 0) await this.#sleep(MIN_PAUSE);
      return;
    }
    this.#admission.relieve();
    this.#waitingSince = Infinity;
    this.#pause = Math.min(MAX_PAUSE, Math.max(MIN_PAUSE, this.#pause * 2));
    const now = performance.now();
    this.#failures++;
    if (now - this.#failedAt > CALM || now - this.#loggedAt > REMIND) {
      this.#loggedAt = now;
      this.#incident = true;
      const words = error instanceof Error ? error.message : String(error);
      this.#options.logger.error("listener: accept failed", { error: words });
    }
    this.#failedAt = now;
    await this.#sleep(this.#pause);
  }

  #missedOne({ message, peerGone }: AcceptError): void {
    const { logger, limiter } = this.#options;
    const fields = { error: message };
    const now = performance.now();
    // It comes back as long as it is not told why, and as often as it likes.
    if (!peerGone && now - this.#refusedAt > REMIND) {
      this.#refusedAt = now;
      return logger.warn("listener: cannot take a caller", fields);
    }
    // Nothing is known of who it was.
    if (!limiter.allows("debug", "peer gone before accept", { source: "" })) return;
    if (peerGone) logger.debug("listener: peer gone before accept", fields);
    else logger.debug("listener: cannot take a caller", fields);
  }

  /** Returns early when the listener is stopped. */
  #sleep(milliseconds: number): Promise<void> {
    const { signal } = this.#stopping;
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      const timer = setTimeout(wake, milliseconds);
      signal.addEventListener("abort", wake);
      if (signal.aborted) wake();
    });
  }
}
