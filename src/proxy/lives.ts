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

import type { Fields, Logger } from "../logging.ts";
import type { VerifiedPeer } from "../tls/verdict.ts";
import type { Place } from "./admission.ts";
import { Deadlines, type SetTimer, setTimer } from "./deadlines.ts";
import type { CloseReason } from "./outcome.ts";

/** Why a connection was ended from outside. */
export type Ending = {
  readonly reason: CloseReason;
  /** Further fields for the log. */
  readonly fields?: Fields;
};

/** The end that a peer is at: `near` is downstream (accepted), `far` is upstream (dialled). */
export type Side = "near" | "far";

/** An authorized peer. */
export type Admitted = {
  readonly side: Side;
  /** `undefined` for a peer without a certificate. */
  readonly peer: VerifiedPeer | undefined;
  /** For an upstream peer: the name that its certificate must carry. */
  readonly serverName?: string | undefined;
};

/** The result of reauthorizing the peer of an open connection. */
export type Standing =
  | {
    readonly stands: true;
    /** The peer as verified now: another path may be valid for longer. */
    readonly peer: VerifiedPeer | undefined;
  }
  | { readonly stands: false; readonly ending: Ending };

/** The result of reauthorizing all connections. */
export type Pass = {
  /** Connections that were reauthorized. */
  readonly judged: number;
  /** How many of them were ended. */
  readonly ended: number;
};

/** Settings of {@linkcode Lives}. */
export type LivesOptions = {
  /** Reauthorizes a peer with the current state. Must not throw. */
  readonly judge: (admitted: Admitted) => Standing;
  /** The tunnel's logger; {@linkcode Life.logger} adds the fields of a connection. */
  readonly logger: Logger;
  /** Returns the number of the next connection, unique in the process. */
  readonly nextConn: () => number;
  /** Maximum age of a connection in milliseconds; 0 = no limit. */
  readonly maxLifetime: number;
  /** Called when all connections were reauthorized after {@linkcode Lives.rejudge}. */
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
  readonly admitted: (life: Life) => void;
  readonly closed: (life: Life) => void;
};

/** One open connection. The code that carries it disposes it at its end. */
export class Life implements Disposable {
  readonly #keeper: Keeper;
  readonly #place: Place;
  readonly #abort = new AbortController();
  readonly #stack = new DisposableStack();
  #ending: Ending | undefined;
  #admitted: readonly Admitted[] = [];
  readonly #logger: Logger;
  #labelled: { readonly side: Side; readonly logger: Logger } | undefined;

  /** Made by {@linkcode Lives.open}. `logger` includes the connection's number. */
  constructor(keeper: Keeper, place: Place, logger: Logger) {
    this.#keeper = keeper;
    this.#place = place;
    this.#logger = logger;
    place.onYield = (why) => this.end({ reason: "error", fields: { error: why } });
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
  tell(side: Side, peer: Fields): void {
    if (side === "far" && this.#labelled?.side === "near") return;
    this.#labelled = { side, logger: this.#logger.endingWith(peer) };
  }

  /** Why it was ended from outside; `undefined` if it was not. */
  get ending(): Ending | undefined {
    return this.#ending;
  }

  /** The peers that are reauthorized: those that were admitted, at most one at each end. */
  get admitted(): readonly Admitted[] {
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
   * comes in between. Returns what {@linkcode Life.enter} does.
   */
  admit(admitted: Admitted): Promise<boolean> {
    const entered = this.enter();
    this.stand(admitted);
    return entered;
  }

  /** Registers a further peer, or one that was reauthorized. Call in the turn of that decision. */
  stand(admitted: Admitted): void {
    if (this.#ending !== undefined || this.#stack.disposed) return;
    this.#admitted = [...this.#admitted.filter(({ side }) => side !== admitted.side), admitted];
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
export class Lives {
  readonly #options: LivesOptions;
  /** Each with the monotonic time at which it reaches its maximum age. */
  readonly #open = new Map<Life, number>();
  /** To be reauthorized, in the order of waiting. */
  readonly #queue = new Set<Life>();
  readonly #expiries: Deadlines<Life>;
  readonly #ages: Deadlines<Life>;
  #running = false;
  #pass: { judged: number; ended: number } | undefined;
  #cut = false;

  /** Starts empty. */
  constructor(options: LivesOptions) {
    const { now, monotonic, setTimer } = options;
    this.#options = options;
    const due = (life: Life) => this.#ask(life);
    this.#expiries = new Deadlines({ now, due, setTimer });
    this.#ages = new Deadlines({ now: monotonic, due, setTimer });
  }

  /** Number of open connections. */
  get size(): number {
    return this.#open.size;
  }

  /** Adds a connection that was just accepted. */
  open(place: Place): Life {
    const { maxLifetime, monotonic, logger, nextConn } = this.#options;
    const life = new Life(this.#keeper, place, logger.endingWith({ conn: nextConn() }));
    const tooOldAt = maxLifetime > 0 ? monotonic() + maxLifetime : Infinity;
    this.#open.set(life, tooOldAt);
    if (maxLifetime > 0) this.#ages.set(life, tooOldAt);
    if (this.#cut) life.end({ reason: "shutdown" });
    return life;
  }

  /**
   * The state has changed: reauthorizes all connections soon and in slices. A call during a pass
   * restarts it; connections that still wait keep their position.
   */
  rejudge(): void {
    this.#pass ??= { judged: 0, ended: 0 };
    for (const life of this.#open.keys()) {
      if (life.admitted.length > 0) this.#queue.add(life);
    }
    this.#run();
  }

  /** Ends all connections, and those that are still added. */
  cut(): void {
    this.#cut = true;
    for (const life of [...this.#open.keys()]) life.end({ reason: "shutdown" });
  }

  readonly #keeper: Keeper = {
    admitted: (life) => {
      const until = Math.min(...life.admitted.map(({ peer }) => peer?.validUntil ?? Infinity));
      // The certificate is still valid at `validUntil` itself.
      if (until !== Infinity) this.#expiries.set(life, until + 1);
      else this.#expiries.delete(life);
    },
    closed: (life) => {
      this.#open.delete(life);
      this.#queue.delete(life);
      this.#expiries.delete(life);
      this.#ages.delete(life);
    },
  };

  #ask(life: Life): void {
    this.#queue.add(life);
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
    for (const life of this.#queue) {
      this.#queue.delete(life);
      this.#settle(life);
      if (monotonic() >= until) break;
    }
    this.#running = false;
    if (this.#queue.size > 0) return this.#run();
    const pass = this.#pass;
    this.#pass = undefined;
    if (pass !== undefined) onPass?.(pass);
  }

  #settle(life: Life): void {
    const tooOldAt = this.#open.get(life);
    if (tooOldAt === undefined || life.ending !== undefined) return;
    const { monotonic, judge } = this.#options;
    if (monotonic() >= tooOldAt) return life.end({ reason: "max_lifetime" });
    if (life.admitted.length === 0) return;
    if (this.#pass !== undefined) this.#pass.judged++;
    for (const admitted of life.admitted) {
      const standing = judge(admitted);
      if (standing.stands) {
        life.stand({ ...admitted, peer: standing.peer });
      } else {
        if (this.#pass !== undefined) this.#pass.ended++;
        return life.end(standing.ending);
      }
    }
  }
}
