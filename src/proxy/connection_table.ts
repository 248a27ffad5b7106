/**
 * All open connections of a tunnel, and what ends one from outside: a peer that is no longer
 * authorized, a certificate that expired, the maximum lifetime, a stop.
 *
 * A connection is registered with its peer in the same turn as its authorization, so that every
 * later change finds it; earlier changes were part of the decision. Thousands of connections are
 * reauthorized in short slices, so that other connections are not delayed.
 *
 * @module
 */

import type { Logger } from "../log/mod.ts";
import type { VerifiedPeer } from "../tls/peer_verifier.ts";
import { Admission } from "./limits.ts";
import { type AuthorizedPeer, Connection, type Ending } from "./connection.ts";
import { Deadlines, type SetTimer, setTimer } from "./deadlines.ts";

/** The result of reauthorizing the peer of an open connection. */
export type Reauthorization =
  | {
    readonly authorized: true;
    /** The peer as verified now: another path may be valid for longer. */
    readonly peer: VerifiedPeer | undefined;
  }
  | { readonly authorized: false; readonly ending: Ending };

/** The result of reauthorizing all connections. */
export type Pass = {
  /** Connections that were reauthorized. */
  readonly checked: number;
  /** How many of them were ended. */
  readonly ended: number;
};

/** Settings of {@linkcode ConnectionTable}. */
export type ConnectionTableOptions = {
  /** Maximum number of established connections; 0 = no limit. */
  readonly maxConnections: number;
  /** Maximum number of concurrent handshakes; 0: there is no handshake phase. */
  readonly maxHandshakes: number;
  /** Maximum age of a connection in milliseconds; 0 = no limit. */
  readonly maxLifetime: number;
  /** Reauthorizes a peer with the current state. Must not throw. */
  readonly reauthorize: (peer: AuthorizedPeer) => Reauthorization;
  /** Called when all connections were reauthorized after {@linkcode ConnectionTable.reauthorize}. */
  readonly onPass?: (pass: Pass) => void;
  /** The tunnel's logger; {@linkcode Connection.logger} adds the fields of a connection. */
  readonly logger: Logger;
  /** Returns the number of the next connection, unique in the process. */
  readonly nextConn: () => number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Milliseconds on a monotonic clock. */
  readonly monotonic: () => number;
  /** Default: the runtime's timer. Tests inject their own. */
  readonly setTimer?: SetTimer | undefined;
};

/** Milliseconds of reauthorizing at a stretch, before other work runs. */
const SLICE = 5;

/** The open connections of one tunnel. Holds timers only while there are connections. */
export class ConnectionTable {
  readonly #options: ConnectionTableOptions;
  readonly #admission: Admission;
  /** Each with the monotonic time at which it reaches its maximum age. */
  readonly #open = new Map<Connection, number>();
  /** To be reauthorized, in the order of waiting. */
  readonly #queue = new Set<Connection>();
  readonly #expiries: Deadlines<Connection>;
  readonly #ages: Deadlines<Connection>;
  #running = false;
  #pass: { checked: number; ended: number } | undefined;
  #cut = false;

  /**
   * Starts empty.
   *
   * @throws {RangeError} unless `maxConnections` is a whole number from 0 up.
   */
  constructor(options: ConnectionTableOptions) {
    const { now, monotonic, setTimer } = options;
    this.#options = options;
    this.#admission = new Admission(options);
    const due = (connection: Connection) => this.#check(connection);
    this.#expiries = new Deadlines({ now, due, setTimer });
    this.#ages = new Deadlines({ now: monotonic, due, setTimer });
  }

  /** Number of open connections. */
  get size(): number {
    return this.#open.size;
  }

  /** Waits until a connection may be accepted; false if `signal` aborts first. Never rejects. */
  room(signal: AbortSignal): Promise<boolean> {
    return this.#admission.room(signal);
  }

  /** Descriptors are short: evicts a handshake, where that is fair. */
  freeDescriptor(): void {
    this.#admission.freeDescriptor();
  }

  /**
   * Adds a connection that was just accepted. `source` is its network, as `networkOf` returns it.
   *
   * @throws {Error} when the limit is reached, which cannot happen right after
   * {@linkcode ConnectionTable.room}.
   */
  open(source: string): Connection {
    const { maxLifetime, monotonic, logger, nextConn } = this.#options;
    const connection = new Connection(logger.endingWith({ conn: nextConn() }));
    this.#admission.enter(connection, source);
    const tooOldAt = maxLifetime > 0 ? monotonic() + maxLifetime : Infinity;
    this.#open.set(connection, tooOldAt);
    if (maxLifetime > 0) this.#ages.set(connection, tooOldAt);
    if (this.#cut) connection.end({ reason: "shutdown" });
    return connection;
  }

  /** Attributes a handshake to another source: the client that a load balancer reported. */
  moveTo(connection: Connection, source: string): void {
    this.#admission.moveTo(connection, source);
  }

  /**
   * Ends the handshake phase. True once the connection counts as established; false when it is to
   * end. Never rejects.
   */
  async establish(connection: Connection): Promise<boolean> {
    return await this.#admission.establish(connection) && !connection.signal.aborted;
  }

  /**
   * Registers an authorized peer, or one that was reauthorized. Call in the turn of the decision,
   * so that no change of state comes in between.
   */
  register(connection: Connection, peer: AuthorizedPeer): void {
    if (!connection.setPeer(peer)) return;
    const until = Math.min(...connection.peers.map(({ peer }) => peer?.validUntil ?? Infinity));
    // The certificate is still valid at `validUntil` itself.
    if (until !== Infinity) this.#expiries.set(connection, until + 1);
    else this.#expiries.delete(connection);
  }

  /** The connection is over: releases everything. Later calls do nothing. */
  close(connection: Connection): void {
    this.#open.delete(connection);
    this.#queue.delete(connection);
    this.#expiries.delete(connection);
    this.#ages.delete(connection);
    this.#admission.leave(connection);
    connection.close();
  }

  /**
   * The state has changed: reauthorizes all connections soon and in slices. A call during a pass
   * restarts it; connections that still wait keep their position.
   */
  reauthorize(): void {
    this.#pass ??= { checked: 0, ended: 0 };
    for (const connection of this.#open.keys()) {
      if (connection.peers.length > 0) this.#queue.add(connection);
    }
    this.#run();
  }

  /** Ends all connections, and those that are still added. */
  cut(): void {
    this.#cut = true;
    for (const connection of [...this.#open.keys()]) connection.end({ reason: "shutdown" });
  }

  #check(connection: Connection): void {
    this.#queue.add(connection);
    this.#run();
  }

  #run(): void {
    if (this.#running) return;
    this.#running = true;
    // In a turn of its own, so that replacing the state is not delayed.
    (this.#options.setTimer ?? setTimer)(() => this.#slice(), 0);
  }

  #slice(): void {
    const { monotonic, onPass } = this.#options;
    const until = monotonic() + SLICE;
    for (const connection of this.#queue) {
      this.#queue.delete(connection);
      this.#reauthorizeOne(connection);
      if (monotonic() >= until) break;
    }
    this.#running = false;
    if (this.#queue.size > 0) return this.#run();
    const pass = this.#pass;
    this.#pass = undefined;
    if (pass !== undefined) onPass?.(pass);
  }

  #reauthorizeOne(connection: Connection): void {
    const tooOldAt = this.#open.get(connection);
    if (tooOldAt === undefined || connection.ending !== undefined) return;
    const { monotonic, reauthorize } = this.#options;
    if (monotonic() >= tooOldAt) return connection.end({ reason: "max_lifetime" });
    if (connection.peers.length === 0) return;
    if (this.#pass !== undefined) this.#pass.checked++;
    for (const peer of connection.peers) {
      const result = reauthorize(peer);
      if (result.authorized) {
        this.register(connection, { ...peer, peer: result.peer });
      } else {
        if (this.#pass !== undefined) this.#pass.ended++;
        return connection.end(result.ending);
      }
    }
  }
}
