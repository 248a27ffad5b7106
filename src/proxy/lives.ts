/**
 * All open connections of a tunnel, and what can end one from outside: a peer that the state of the
 * moment does not admit any more, a certificate that expired, age, a stop.
 *
 * A connection is registered with its peer in the very turn of the decision about it, so that every
 * later change finds it; what changed before was part of the decision. Judging thousands again is done
 * in short slices, so that nobody's bytes wait for it.
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
  /** What the log says besides. */
  readonly fields?: Fields;
};

/** Which end a peer is at: the one that was accepted, or the one that was dialled. */
export type Side = "near" | "far";

/** Somebody who was let in. */
export type Admitted = {
  readonly side: Side;
  /** `undefined` is a peer without a certificate. */
  readonly peer: VerifiedPeer | undefined;
  /** The name that the certificate of one that was dialled must carry. */
  readonly serverName?: string | undefined;
};

/** What the state of the moment says of a peer of an open connection. */
export type Standing =
  | {
    readonly stands: true;
    /** The peer as it was judged now: another path may be valid for longer. */
    readonly peer: VerifiedPeer | undefined;
  }
  | { readonly stands: false; readonly ending: Ending };

/** How a pass over all connections came out. */
export type Pass = {
  /** Connections that were judged. */
  readonly judged: number;
  /** Those of them that were ended. */
  readonly ended: number;
};

/** Settings of {@linkcode Lives}. */
export type LivesOptions = {
  /** Judges by the state of the moment. Must not throw. */
  readonly judge: (admitted: Admitted) => Standing;
  /** Of the tunnel; {@linkcode Life.logger} adds what tells connections apart. */
  readonly logger: Logger;
  /** The number of the next connection, which no other one of the process has. */
  readonly nextConn: () => number;
  /** How old a connection may get, in milliseconds; 0 = no limit. */
  readonly maxLifetime: number;
  /** Told when all connections were judged after {@linkcode Lives.rejudge}. */
  readonly onPass?: (pass: Pass) => void;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Milliseconds on a clock that never goes back. */
  readonly monotonic: () => number;
  /** The runtime's timer unless a test has its own. */
  readonly setTimer?: SetTimer | undefined;
};

/** So many milliseconds of judging at a stretch; then everybody else has a turn. */
const SLICE = 5;

/** What a connection tells those who keep the list. */
type Keeper = {
  readonly admitted: (life: Life) => void;
  readonly closed: (life: Life) => void;
};

/** One open connection. Whoever carries it disposes of it in the end. */
export class Life implements Disposable {
  readonly #keeper: Keeper;
  readonly #place: Place;
  readonly #abort = new AbortController();
  readonly #stack = new DisposableStack();
  #ending: Ending | undefined;
  #admitted: readonly Admitted[] = [];
  readonly #logger: Logger;
  #told: { readonly side: Side; readonly logger: Logger } | undefined;

  /** {@linkcode Lives.open} makes one. `logger` has the connection's number. */
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

  /** For every line about this connection: with its number, and its peer once that is known. */
  get logger(): Logger {
    return this.#told?.logger ?? this.#logger;
  }

  /**
   * Puts what tells the peer at this end into every line from now on. Where both ends are known it is the
   * near one, who asked for the connection.
   */
  tell(side: Side, peer: Fields): void {
    if (side === "far" && this.#told?.side === "near") return;
    this.#told = { side, logger: this.#logger.endingWith(peer) };
  }

  /** Why it was ended from outside; `undefined` while it was not. */
  get ending(): Ending | undefined {
    return this.#ending;
  }

  /** Whom it is judged by: those who were let in, at most one at each side. */
  get admitted(): readonly Admitted[] {
    return this.#admitted;
  }

  /**
   * The connection may go on, whoever it is from. True once it has its place among the others; false when
   * it is to end. Never rejects.
   */
  async enter(): Promise<boolean> {
    return await this.#place.establish(this.signal) && !this.signal.aborted;
  }

  /** The connection is made on behalf of another, who is there: see {@linkcode Place.moveTo}. */
  moveTo(source: string): void {
    this.#place.moveTo(source);
  }

  /**
   * The first peer was let in: to be called in the turn of the decision, so that no change of state
   * comes in between. What {@linkcode Life.enter} says.
   */
  admit(admitted: Admitted): Promise<boolean> {
    const entered = this.enter();
    this.stand(admitted);
    return entered;
  }

  /** A peer was let in besides, or judged anew; to be called in the turn of that decision. */
  stand(admitted: Admitted): void {
    if (this.#ending !== undefined || this.#stack.disposed) return;
    this.#admitted = [...this.#admitted.filter(({ side }) => side !== admitted.side), admitted];
    this.#keeper.admitted(this);
  }

  /** Ends it; the first reason stays. Never throws. */
  end(ending: Ending): void {
    if (this.#ending !== undefined || this.#stack.disposed) return;
    this.#ending = ending;
    this.#abort.abort(ending.reason);
  }

  /** Gives this back when the connection is over. */
  own(resource: Disposable): void {
    this.#stack.use(resource);
  }

  /** It is over. */
  [Symbol.dispose](): void {
    if (this.#stack.disposed) return;
    this.#stack.dispose();
    this.#keeper.closed(this);
  }
}

/** The open connections of one tunnel. Holds timers only while there are connections. */
export class Lives {
  readonly #options: LivesOptions;
  /** With the time, on the clock that never goes back, when each is too old. */
  readonly #open = new Map<Life, number>();
  /** To be judged, those that have waited longest first. */
  readonly #queue = new Set<Life>();
  readonly #expiries: Deadlines<Life>;
  readonly #ages: Deadlines<Life>;
  #running = false;
  #pass: { judged: number; ended: number } | undefined;
  #cut = false;

  /** None is open. */
  constructor(options: LivesOptions) {
    const { now, monotonic, setTimer } = options;
    this.#options = options;
    const due = (life: Life) => this.#ask(life);
    this.#expiries = new Deadlines({ now, due, setTimer });
    this.#ages = new Deadlines({ now: monotonic, due, setTimer });
  }

  /** How many are open. */
  get size(): number {
    return this.#open.size;
  }

  /** A connection that was just accepted and has this place. */
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
   * The state has changed: judges everybody again, soon and in slices. Called again before that is
   * done, it starts over, those first who have waited longest.
   */
  rejudge(): void {
    this.#pass ??= { judged: 0, ended: 0 };
    for (const life of this.#open.keys()) {
      if (life.admitted.length > 0) this.#queue.add(life);
    }
    this.#run();
  }

  /** Ends all, and those that still come. */
  cut(): void {
    this.#cut = true;
    for (const life of [...this.#open.keys()]) life.end({ reason: "shutdown" });
  }

  readonly #keeper: Keeper = {
    admitted: (life) => {
      const until = Math.min(...life.admitted.map(({ peer }) => peer?.validUntil ?? Infinity));
      // Valid at `validUntil` still.
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
    // In a turn of its own: whoever swaps the state is not kept waiting.
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
