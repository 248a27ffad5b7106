/**
 * All open connections of a tunnel, and what ends one from outside: a peer that is no longer
 * authorized, a certificate that expired, its maximum lifetime, a stop.
 *
 * A connection is registered with its peer in the same turn as its authorization, so that every
 * later change finds it; earlier changes were part of the decision. Thousands of connections are
 * reauthorized in short slices, so that other connections are not delayed.
 *
 * @module
 */

import type { Fields, Logger } from "../log/mod.ts";
import type { VerifiedPeer } from "../tls/peer_verifier.ts";
import type { Place } from "./admission.ts";
import { Deadlines, type SetTimer, setTimer } from "./deadlines.ts";
import type { CloseReason } from "../outcome.ts";

/** Why a connection was ended from outside. */
export type Ending = {
  readonly reason: CloseReason;
  /** Further fields for the log. */
  readonly fields?: Fields;
};

/** The end that a peer is at: `near` is downstream (accepted), `far` is upstream (dialled). */
export type End = "near" | "far";

/** An authorized peer. */
export type AuthorizedPeer = {
  readonly end: End;
  /** `undefined` for a peer without a certificate. */
  readonly peer: VerifiedPeer | undefined;
  /** For an upstream peer: the name that its certificate must carry. */
  readonly serverName?: string | undefined;
};

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
  /** Reauthorizes a peer with the current state. Must not throw. */
  readonly reauthorize: (admitted: AuthorizedPeer) => Reauthorization;
  /** The tunnel's logger; {@linkcode Connection.logger} adds the fields of a connection. */
  readonly logger: Logger;
  /** Returns the number of the next connection, unique in the process. */
  readonly nextConn: () => number;
  /** Maximum age of a connection in milliseconds; 0 = no limit. */
  readonly maxLifetime: number;
  /** Called when all connections were reauthorized after {@linkcode ConnectionTable.reauthorize}. */
  readonly onPass?: (pass: Pass) => void;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Milliseconds on a monotonic clock. */
  readonly monotonic: () => number;
  /** Default: the runtime's timer. Tests inject their own. */
  readonly setTimer?: SetTimer | undefined;
};

/** Milliseconds of reauthorizing at a stretch, before other work runs. */
const SLICE = 5;

/** What a connection reports to the table. */
type Keeper = {
  readonly admitted: (connection: Connection) => void;
  readonly closed: (connection: Connection) => void;
};

/** One open connection. The code that carries it disposes it at its end. */
export class Connection implements Disposable {
  readonly #keeper: Keeper;
  readonly #place: Place;
  readonly #abort = new AbortController();
  readonly #stack = new DisposableStack();
  #ending: Ending | undefined;
  #admitted: readonly AuthorizedPeer[] = [];
  readonly #logger: Logger;
  #labelled: { readonly side: End; readonly logger: Logger } | undefined;

  /** Made by {@linkcode ConnectionTable.open}. `logger` includes the connection's number. */
  constructor(keeper: Keeper, place: Place, logger: Logger) {
    this.#keeper = keeper;
    this.#place = place;
    this.#logger = logger;
    place.onEvict = (why) => this.end({ reason: "error", fields: { error: why } });
  }

  /** Aborts when the connection is to end; its reason is the {@linkcode CloseReason}. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /**
   * The logger for every line about this connection: with its number, and its peer once that is
   * known.
   */
  get logger(): Logger {
    return this.#labelled?.logger ?? this.#logger;
  }

  /**
   * Adds the fields of this end's peer to all further lines. Where both peers are known, the lines
   * show the downstream one, which asked for the connection.
   */
  describePeer(side: End, peer: Fields): void {
    if (side === "far" && this.#labelled?.side === "near") return;
    this.#labelled = { side, logger: this.#logger.endingWith(peer) };
  }

  /** Why it was ended from outside; `undefined` if it was not. */
  get ending(): Ending | undefined {
    return this.#ending;
  }

  /** The peers that are reauthorized: those that were admitted, at most one at each end. */
  get admitted(): readonly AuthorizedPeer[] {
    return this.#admitted;
  }

  /**
   * Ends the handshake phase. True once the connection has its place among the established ones;
   * false when it is to end. Never rejects.
   */
  async enter(): Promise<boolean> {
    return await this.#place.establish(this.signal) && !this.signal.aborted;
  }

  /** Attributes the connection to another source: see {@linkcode Place.moveTo}. */
  moveTo(source: string): void {
    this.#place.moveTo(source);
  }

  /**
   * Registers the first admitted peer. Call in the turn of the decision, so that no change of state
   * comes in between. Returns what {@linkcode Connection.enter} does.
   */
  admit(admitted: AuthorizedPeer): Promise<boolean> {
    const entered = this.enter();
    this.register(admitted);
    return entered;
  }

  /** Registers a further peer, or one that was reauthorized. Call in the turn of that decision. */
  register(admitted: AuthorizedPeer): void {
    if (this.#ending !== undefined || this.#stack.disposed) return;
    this.#admitted = [...this.#admitted.filter(({ end: side }) => side !== admitted.end), admitted];
    this.#keeper.admitted(this);
  }

  /** Ends the connection; the first reason is kept. Never throws. */
  end(ending: Ending): void {
    if (this.#ending !== undefined || this.#stack.disposed) return;
    this.#ending = ending;
    this.#abort.abort(ending.reason);
  }

  /** Disposes `resource` when the connection is over. */
  own(resource: Disposable): void {
    this.#stack.use(resource);
  }

  /** Marks the connection as over and releases what it owns. */
  [Symbol.dispose](): void {
    if (this.#stack.disposed) return;
    this.#stack.dispose();
    this.#keeper.closed(this);
  }
}

/** The open connections of one tunnel. Holds timers only while there are connections. */
export class ConnectionTable {
  readonly #options: ConnectionTableOptions;
  /** Each with the monotonic time at which it reaches its maximum age. */
  readonly #open = new Map<Connection, number>();
  /** To be reauthorized, in the order of waiting. */
  readonly #queue = new Set<Connection>();
  readonly #expiries: Deadlines<Connection>;
  readonly #ages: Deadlines<Connection>;
  #running = false;
  #pass: { checked: number; ended: number } | undefined;
  #cut = false;

  /** Starts empty. */
  constructor(options: ConnectionTableOptions) {
    const { now, monotonic, setTimer } = options;
    this.#options = options;
    const due = (connection: Connection) => this.#ask(connection);
    this.#expiries = new Deadlines({ now, due, setTimer });
    this.#ages = new Deadlines({ now: monotonic, due, setTimer });
  }

  /** Number of open connections. */
  get size(): number {
    return this.#open.size;
  }

  /** Adds a connection that was just accepted. */
  open(place: Place): Connection {
    const { maxLifetime, monotonic, logger, nextConn } = this.#options;
    const connection = new Connection(this.#keeper, place, logger.endingWith({ conn: nextConn() }));
    const tooOldAt = maxLifetime > 0 ? monotonic() + maxLifetime : Infinity;
    this.#open.set(connection, tooOldAt);
    if (maxLifetime > 0) this.#ages.set(connection, tooOldAt);
    if (this.#cut) connection.end({ reason: "shutdown" });
    return connection;
  }

  /**
   * The state has changed: reauthorizes all connections soon and in slices. A call during a pass
   * restarts it; connections that still wait keep their position.
   */
  reauthorize(): void {
    this.#pass ??= { checked: 0, ended: 0 };
    for (const connection of this.#open.keys()) {
      if (connection.admitted.length > 0) this.#queue.add(connection);
    }
    this.#run();
  }

  /** Ends all connections, and those that are still added. */
  cut(): void {
    this.#cut = true;
    for (const connection of [...this.#open.keys()]) connection.end({ reason: "shutdown" });
  }

  readonly #keeper: Keeper = {
    admitted: (connection) => {
      const until = Math.min(
        ...connection.admitted.map(({ peer }) => peer?.validUntil ?? Infinity),
      );
      // The certificate is still valid at `validUntil` itself.
      if (until !== Infinity) this.#expiries.set(connection, until + 1);
      else this.#expiries.delete(connection);
    },
    closed: (connection) => {
      this.#open.delete(connection);
      this.#queue.delete(connection);
      this.#expiries.delete(connection);
      this.#ages.delete(connection);
    },
  };

  #ask(connection: Connection): void {
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
      this.#settle(connection);
      if (monotonic() >= until) break;
    }
    this.#running = false;
    if (this.#queue.size > 0) return this.#run();
    const pass = this.#pass;
    this.#pass = undefined;
    if (pass !== undefined) onPass?.(pass);
  }

  #settle(connection: Connection): void {
    const tooOldAt = this.#open.get(connection);
    if (tooOldAt === undefined || connection.ending !== undefined) return;
    const { monotonic, reauthorize: judge } = this.#options;
    if (monotonic() >= tooOldAt) return connection.end({ reason: "max_lifetime" });
    if (connection.admitted.length === 0) return;
    if (this.#pass !== undefined) this.#pass.checked++;
    for (const admitted of connection.admitted) {
      const standing = judge(admitted);
      if (standing.authorized) {
        connection.register({ ...admitted, peer: standing.peer });
      } else {
        if (this.#pass !== undefined) this.#pass.ended++;
        return connection.end(standing.ending);
      }
    }
  }
}
