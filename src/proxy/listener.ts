/**
 * The accept loop. It admits connections one by one, and neither the failure of a connection nor a
 * shortage of descriptors ends it. Only {@linkcode Listener.stop} does.
 *
 * @module
 */

import { delay } from "../util/abort.ts";
import type { Conn } from "../net/conn.ts";
import type { Logger } from "../log/mod.ts";
import type { LogLimiter } from "../log/limiter.ts";
import { AcceptError, type SocketListener } from "../net/mod.ts";
import type { Connection } from "./connection.ts";
import type { ConnectionTable } from "./connection_table.ts";
import { networkOf } from "./peer_key.ts";
import { messageOf } from "../util/errors.ts";

/** Settings of a {@linkcode Listener}. */
export type ListenerOptions = {
  /** Owned by the listener from now on. */
  readonly socket: Pick<SocketListener, "address" | "accept" | "inPlace" | "close">;
  /** Says when a connection may be accepted, and holds those that are open. */
  readonly connections: Pick<ConnectionTable, "room" | "open" | "close" | "freeDescriptor">;
  /**
   * Carries one connection to its end. A failure is logged and affects no other connection. Both
   * arguments are closed when the promise settles.
   */
  readonly onConnection: (accepted: Conn, connection: Connection) => Promise<void>;
  readonly logger: Logger;
  /** Rate-limits log lines that unauthenticated peers can cause. */
  readonly limiter: LogLimiter;
};

/** First and longest pause after a failed accept, in milliseconds; doubled each time. */
const MIN_PAUSE = 5;
const MAX_PAUSE = 1000;
/**
 * At most `ACCEPTS_AT_ONCE` connections are accepted in `ACCEPT_PERIOD` milliseconds, several times
 * as many as handshakes can be completed in that time. Without this limit, peers that connect by
 * the ten thousand and send nothing would starve the open connections.
 */
const ACCEPTS_AT_ONCE = 16;
const ACCEPT_PERIOD = 5;
/** After this many connections that could not be taken, other work of the process gets a turn. */
const MISSED_AT_ONCE = 64;
/** Milliseconds without a failure that end an incident; the next failure is logged again. */
const CALM = 10_000;
/** Milliseconds after which an ongoing incident is logged again. */
const REMIND = 60_000;
/** Close once no connection has arrived for this many milliseconds ... */
const QUIET = 100;
/** ... or after this many milliseconds in any case. */
const LAST_CALL = 2000;
/** Milliseconds after which a pending accept counts as healthy. */
const SETTLED = 100;

/** Accepts connections from construction until it is stopped. */
export class Listener {
  readonly #options: ListenerOptions;
  readonly #stopping = new AbortController();
  readonly #loop: Promise<void>;
  readonly #carried = new Set<Promise<void>>();
  /** The pending `close`, if it was called. */
  #closing: Promise<void> | undefined;
  #arrivedAt = 0;
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

  /** Starts accepting. */
  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#loop = this.#run();
  }

  /** The bound address, `host:port` or `unix:/path`. */
  get address(): string {
    return this.#options.socket.address;
  }

  /** Number of open connections. */
  get active(): number {
    return this.#carried.size;
  }

  /**
   * Whether new connections are accepted, as far as is known: the listener is not stopped,
   * accepting does not fail, and the file of a UNIX socket is in place.
   */
  get accepting(): boolean {
    if (this.#closing !== undefined || this.#stopping.signal.aborted) return false;
    if (this.#options.socket.inPlace?.() === false) return false;
    return this.#pause === 0 || performance.now() - this.#waitingSince > SETTLED;
  }

  /**
   * Stops listening: the port is released one turn of the event loop later. Connections that wait
   * in the kernel's queue are reset, open ones continue. Never throws; later calls do nothing.
   */
  stop(): void {
    if (this.#stopping.signal.aborted) return;
    this.#stopping.abort();
    this.#options.socket.close();
  }

  /**
   * Accepts the connections that are queued or still arrive, then stops: once no connection has
   * arrived for 100 ms, or after 2 s. Connections that find no free place until then are reset.
   */
  close(): void {
    this.#closing ??= this.#lastCall();
  }

  async #lastCall(): Promise<void> {
    this.#arrivedAt = performance.now();
    const until = this.#arrivedAt + LAST_CALL;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const now = performance.now();
      const wait = Math.min(this.#arrivedAt + QUIET, until) - now;
      if (wait <= 0) break;
      await this.#sleep(wait);
    }
    this.stop();
  }

  /** Resolves when no connection is open; after `close` or `stop`, none follows. Never rejects. */
  async drained(): Promise<void> {
    await this.#closing;
    if (this.#stopping.signal.aborted) await this.#loop;
    while (this.#carried.size > 0) await Promise.all(this.#carried);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        // Before accepting: while no place is free, connections stay in the kernel's queue.
        if (!await this.#options.connections.room(signal)) return;
        this.#waitingSince = performance.now();
        await this.#enter(await this.#options.socket.accept());
        await this.#pace();
      } catch (error) {
        // Not even a failure to report the error may end the loop, or make it spin.
        await this.#failed(error).catch(() => this.#sleep(MAX_PAUSE));
      }
    }
  }

  /** Waits for the next period once this period's accepts are used up. */
  async #pace(): Promise<void> {
    const now = performance.now();
    if (now - this.#periodSince >= ACCEPT_PERIOD) {
      this.#periodSince = now;
      this.#accepts = 0;
    }
    if (++this.#accepts < ACCEPTS_AT_ONCE) return;
    await this.#sleep(this.#periodSince + ACCEPT_PERIOD - now);
  }

  /** Never rejects: from here on a failure affects this connection only. */
  async #enter(accepted: Conn): Promise<void> {
    const { connections } = this.#options;
    try {
      // A handshake may have taken the last place meanwhile, and accepting cannot be cancelled:
      // this connection waits here, which looks to the peer like waiting in the kernel's queue.
      const room = await connections.room(this.#stopping.signal);
      if (room) this.#carry(accepted, connections.open(networkOf(accepted.remote)));
      else accepted.close();
    } catch (error) {
      accepted.close();
      this.#connectionFailed(accepted, error);
    }
  }

  #carry(accepted: Conn, connection: Connection): void {
    this.#arrivedAt = performance.now();
    const carried = this.#carryToEnd(accepted, connection).finally(() => {
      this.#carried.delete(carried);
    });
    this.#carried.add(carried);
    const recovered = this.#incident;
    this.#incident = false;
    this.#pause = 0;
    if (!recovered) return;
    this.#options.logger.info("listener: accepting again", { failures: this.#failures });
    this.#failures = 0;
  }

  /** Never rejects. */
  async #carryToEnd(accepted: Conn, connection: Connection): Promise<void> {
    try {
      try {
        await this.#options.onConnection(accepted, connection);
      } finally {
        accepted.close();
        this.#options.connections.close(connection);
      }
    } catch (error) {
      this.#connectionFailed(accepted, error);
    }
  }

  #connectionFailed({ remote }: Conn, error: unknown): void {
    const { limiter, logger } = this.#options;
    const detail = messageOf(error);
    try {
      if (!limiter.allows("error", "connection failed", { source: networkOf(remote) })) return;
      logger.error("listener: connection failed", { remote, error: detail });
    } catch {
      // Logging itself failed. There is no other place to report it, and the loop must go on.
    }
  }

  async #failed(error: unknown): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    if (error instanceof AcceptError && (error.peerGone || error.peerUnnamed)) {
      this.#missedOne(error);
      // A pause after each one would let a peer that connects and resets delay all others; no pause
      // at all would let it keep the process busy.
      if (++this.#missed % MISSED_AT_ONCE === 0) await this.#sleep(MIN_PAUSE);
      return;
    }
    this.#options.connections.freeDescriptor();
    this.#waitingSince = Infinity;
    this.#pause = Math.min(MAX_PAUSE, Math.max(MIN_PAUSE, this.#pause * 2));
    const now = performance.now();
    this.#failures++;
    if (now - this.#failedAt > CALM || now - this.#loggedAt > REMIND) {
      this.#loggedAt = now;
      this.#incident = true;
      const words = messageOf(error);
      this.#options.logger.error("listener: accept failed", { error: words });
    }
    this.#failedAt = now;
    await this.#sleep(this.#pause);
  }

  #missedOne({ message, peerGone }: AcceptError): void {
    const { logger, limiter } = this.#options;
    const fields = { error: message };
    const now = performance.now();
    // The peer cannot see why it was dropped, and may retry at any rate: log one warning a minute.
    if (!peerGone && now - this.#refusedAt > REMIND) {
      this.#refusedAt = now;
      return logger.warn("listener: cannot take a caller", fields);
    }
    // The peer's address is not known.
    if (!limiter.allows("debug", "peer gone before accept", { source: "" })) return;
    if (peerGone) logger.debug("listener: peer gone before accept", fields);
    else logger.debug("listener: cannot take a caller", fields);
  }

  /** Returns early when the listener is stopped. */
  #sleep(milliseconds: number): Promise<void> {
    return delay(milliseconds, this.#stopping.signal);
  }
}
