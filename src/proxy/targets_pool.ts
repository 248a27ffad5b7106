/**
 * Which of several equals is next, and which is left alone for a while because it failed.
 *
 * Health is passive: only connections that somebody asked for tell. Who failed is passed over for a
 * time that doubles from one failure to the next; when it is over one connection tries, while the others
 * still pass it over, and its success ends it all. Where everybody is passed over nobody is: a pool
 * never says that there is nobody.
 *
 * @module
 */

import type { Balance, NonEmpty } from "../config/config.ts";

/** First and longest time for which one that failed is passed over, in milliseconds. */
export const MIN_BACKOFF = 1000;
/** See {@linkcode MIN_BACKOFF}. */
export const MAX_BACKOFF = 30_000;
/** Part of it by which chance makes it shorter or longer, so that several daemons do not fall in step. */
const JITTER = 0.1;

/** Settings of a {@linkcode Pool}. */
export type PoolOptions<K> = {
  readonly balance: Balance;
  /** Milliseconds on a clock that never goes back. */
  readonly monotonic: () => number;
  /** 0 up to 1, 1 excluded. */
  readonly random: () => number;
  /** Told when one that was well has failed, and when one that had failed is well. */
  readonly onChange?: (key: K, up: boolean) => void;
};

/** One try at a member of a pool. Exactly one of the three is called, once. */
export type Trial = {
  /** It took the connection, which counts as open until the result is disposed of. */
  succeeded(): Disposable;
  /** It did not. */
  failed(): void;
  /** Called off: this says nothing of the member. */
  abandoned(): void;
};

type Member = {
  /** Connections open, or being made. */
  load: number;
  /** When it was chosen last, counted in choices. */
  turn: number;
  /** How often it has failed since it last took a connection. */
  failures: number;
  /** Passed over until then. */
  until: number;
  /** How often a try has told something new of it; one from before that knows less. */
  changes: number;
};

/** Members, known by their keys from the first time that they are named. */
export class Pool<K> {
  readonly #options: PoolOptions<K>;
  readonly #members = new Map<K, Member>();
  #turns = 0;

  /** Nobody has failed yet. */
  constructor(options: PoolOptions<K>) {
    this.#options = options;
  }

  /** The one of `keys` to try next; they are in order of preference and not empty. */
  choose(keys: NonEmpty<K>): K {
    const now = this.#options.monotonic();
    const members = keys.map((key) => ({ key, ...this.#member(key) }));
    const well = members.filter(({ until }) => until <= now);
    const better: Better = well.length > 0 ? BETTER[this.#options.balance] : SOONER;
    const from = well.length > 0 ? well : members;
    return from.reduce((best, one) => better(one, best) ? one : best).key;
  }

  /** Tries one. */
  start(key: K): Trial {
    const { monotonic } = this.#options;
    const member = this.#member(key);
    const started = monotonic();
    const { changes } = member;
    // One that is tried although it is passed over, for want of a better one, was expected to fail.
    const counts = member.until <= started;
    const proving = counts && member.failures > 0;
    if (proving) member.until = started + this.#backoff(member.failures);
    member.load++;
    member.turn = ++this.#turns;
    return {
      succeeded: () => {
        if (member.failures > 0) {
          member.failures = 0;
          member.until = 0;
          member.changes++;
          this.#options.onChange?.(key, true);
        }
        return release(member);
      },
      failed: () => {
        member.load--;
        if (!counts || changes !== member.changes) return;
        member.failures++;
        member.changes++;
        member.until = monotonic() + this.#backoff(member.failures);
        if (member.failures === 1) this.#options.onChange?.(key, false);
      },
      abandoned: () => {
        member.load--;
        // Unless another has found out meanwhile, who comes next may.
        if (proving && changes === member.changes) member.until = monotonic();
      },
    };
  }

  /** Nobody is passed over any more: what they failed by has changed. */
  forgive(): void {
    for (const member of this.#members.values()) member.until = 0;
  }

  /**
   * Forgets everybody else, except those that have connections and those that are passed over: they may
   * be named again before that is over.
   */
  retain(keys: readonly K[]): void {
    const kept = new Set(keys);
    const now = this.#options.monotonic();
    for (const [key, { load, until }] of this.#members) {
      if (load === 0 && until <= now && !kept.has(key)) this.#members.delete(key);
    }
  }

  #member(key: K): Member {
    const known = this.#members.get(key);
    if (known !== undefined) return known;
    // Chance says who of those that were never chosen comes first.
    const turn = -this.#options.random();
    const member = { load: 0, turn, failures: 0, until: 0, changes: 0 };
    this.#members.set(key, member);
    return member;
  }

  #backoff(failures: number): number {
    const time = Math.min(MAX_BACKOFF, MIN_BACKOFF * 2 ** (failures - 1));
    return time * (1 - JITTER + 2 * JITTER * this.#options.random());
  }
}

type Better = (one: Member, other: Member) => boolean;

/** Whether one comes before another that is named earlier. */
const BETTER: Readonly<Record<Balance, Better>> = {
  failover: () => false,
  // Whose turn is longest ago: fair whoever comes and goes.
  round_robin: (one, other) => one.turn < other.turn,
  least_connections: (one, other) =>
    one.load < other.load || (one.load === other.load && one.turn < other.turn),
};

const SOONER: Better = (one, other) => one.until < other.until;

function release(member: Member): Disposable {
  let open = true;
  return {
    [Symbol.dispose]: () => {
      if (open) member.load--;
      open = false;
    },
  };
}
