/**
 * Balances over equal members, and ejects those that fail for a while.
 *
 * Health is passive: it is derived only from real connections. A member that failed is ejected for
 * a time that doubles with each failure. After that it is half-open: one connection tries it while
 * the others still avoid it, and a success makes it healthy again. When every member is ejected
 * they are tried nonetheless, the one whose ejection ends first coming first.
 *
 * @module
 */

import type { Balance, NonEmpty } from "../config/config.ts";

/** First and longest time for which a failed member is ejected, in milliseconds. */
export const MIN_BACKOFF = 1000;
/** See {@linkcode MIN_BACKOFF}. */
export const MAX_BACKOFF = 30_000;
/** Random variation of that time, so that several daemons do not synchronize. */
const JITTER = 0.1;

/** Settings of a {@linkcode TargetPool}. */
export type TargetPoolOptions<K> = {
  readonly balance: Balance;
  /** Milliseconds on a monotonic clock. */
  readonly monotonic: () => number;
  /** A random number from 0 to less than 1. */
  readonly random: () => number;
  /** Called when a healthy member has failed, and when a failed one is healthy again. */
  readonly onChange?: (key: K, up: boolean) => void;
};

/** One attempt at a member. Exactly one of the three is called, once. */
export type PoolAttempt = {
  /** The member accepted the connection, which counts as open until the result is disposed. */
  succeeded(): Disposable;
  /** The attempt failed. */
  failed(): void;
  /** The attempt was cancelled, which says nothing about the member. */
  abandoned(): void;
};

type Member = {
  /** Number of connections that are open or being made. */
  load: number;
  /** When it was last chosen, counted in choices. */
  turn: number;
  /** Number of failures since it last accepted a connection. */
  failures: number;
  /** Ejected until then. */
  until: number;
  /**
   * Number of changes of its health. An attempt that started before the last change is outdated.
   */
  changes: number;
};

/** Members by key, added when a key is first used. */
export class TargetPool<K> {
  readonly #options: TargetPoolOptions<K>;
  readonly #members = new Map<K, Member>();
  #turns = 0;

  /** Starts without members, all of them healthy. */
  constructor(options: TargetPoolOptions<K>) {
    this.#options = options;
  }

  /** Chooses the next of `keys` to try; they are in order of preference and not empty. */
  choose(keys: NonEmpty<K>): K {
    const now = this.#options.monotonic();
    const members = keys.map((key) => ({ key, ...this.#member(key) }));
    const healthy = members.filter(({ until }) => until <= now);
    const better: Better = healthy.length > 0 ? BETTER[this.#options.balance] : SOONER;
    const from = healthy.length > 0 ? healthy : members;
    return from.reduce((best, one) => better(one, best) ? one : best).key;
  }

  /** Starts an attempt. */
  start(key: K): PoolAttempt {
    const { monotonic } = this.#options;
    const member = this.#member(key);
    const started = monotonic();
    const { changes } = member;
    // A failure of an ejected member, which is tried only because all are ejected, does not count.
    const counts = member.until <= started;
    const halfOpen = counts && member.failures > 0;
    if (halfOpen) member.until = started + this.#backoff(member.failures);
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
        // Let the next connection try it, unless another attempt has changed its health meanwhile.
        if (halfOpen && changes === member.changes) member.until = monotonic();
      },
    };
  }

  /** Clears all ejections: the reason for the failures may have changed. */
  clearEjections(): void {
    for (const member of this.#members.values()) member.until = 0;
  }

  /**
   * Removes all other members, except those with connections and those that are ejected: they may
   * be used again before the ejection ends.
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
    // Members that were never chosen come in random order.
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

/** Whether one member is preferred to another that precedes it. */
const BETTER: Readonly<Record<Balance, Better>> = {
  failover: () => false,
  // The least recently chosen: fair even when members come and go.
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
