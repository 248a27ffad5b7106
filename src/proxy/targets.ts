/**
 * Several targets in place of one: who is tried, in which order and for how long, until one takes the
 * connection. It is lost only when none does.
 *
 * @module
 */

import { formatAddress } from "../config/address.ts";
import type { Address, Balance, NonEmpty, Target } from "../config/config.ts";
import { DialError, type Resolver } from "../net.ts";
import { Pool } from "./targets_pool.ts";
import { failureOf, isSlow, NoTarget, type TargetFailure } from "./targets_failure.ts";

/** Counts what becomes of each target; `index` is its place in the config. */
export type TargetMetrics = {
  /** It took a connection; `targetReleased` follows once. */
  targetConnected(index: number): void;
  /** A connection that it had taken has ended. */
  targetReleased(index: number): void;
  /** A try failed; a target whose name has several addresses may have several for one connection. */
  targetFailed(index: number): void;
  /** Whether it is well: it has not failed since it last took a connection. */
  targetUp(index: number, up: boolean): void;
};

/** Settings of {@linkcode Targets}. */
export type TargetsOptions = {
  readonly targets: NonEmpty<Target>;
  readonly balance: Balance;
  /** Milliseconds for one connection, whatever number of targets it takes. */
  readonly dialTimeout: number;
  readonly resolver: Pick<Resolver, "resolve">;
  readonly metrics: TargetMetrics;
  /** Milliseconds on a clock that never goes back. */
  readonly monotonic: () => number;
  /** 0 up to 1, 1 excluded; `Math.random` is good enough. */
  readonly random: () => number;
};

/** One try. */
export type Attempt = {
  readonly index: number;
  readonly target: Target;
  /** What to dial: the target's address, or one of the addresses of its name. */
  readonly address: Address;
  /** Milliseconds, TLS included; more than 0. */
  readonly timeout: number;
  readonly signal: AbortSignal;
};

/** What a connection asks for. */
export type ConnectOptions = {
  readonly signal: AbortSignal;
  /** Told of each try that failed, when it did. */
  readonly onFailure?: (failure: TargetFailure) => void;
};

/** A connection that a target took. It counts as open until it is disposed of. */
export type Reached<T> = Disposable & {
  readonly value: T;
  readonly index: number;
  readonly target: Target;
  readonly address: Address;
};

/**
 * Dials one address, and makes TLS of it where that is due, all within `timeout`.
 *
 * A `DialError`, `HandshakeError` or `TargetDenied` makes Targets try the next, except one that comes of
 * the signal; anything else ends it.
 */
export type DialOne<T> = (attempt: Attempt) => Promise<T>;

/**
 * The least time, in milliseconds, that an address of a name is given, however many there are, and that a
 * target is worth being tried for a second time.
 */
const MIN_SHARE = 250;

/**
 * The least time, in milliseconds, that a target is given, however many there are, so that one which is
 * well and far away is not passed over for its distance; half of what there is for all at most.
 */
const MIN_TRY = 1000;

/** Milliseconds by which a timer may be early. */
const TIMER_SLACK = 5;

/** The way of one connection through the targets. */
type Search<T> = {
  readonly dialOne: DialOne<T>;
  readonly signal: AbortSignal;
  readonly fail: (failure: TargetFailure) => void;
};

/** What an address took. */
type Taken<T> = {
  readonly value: T;
  readonly address: Address;
  /** Its place among the connections of that address. */
  readonly held: Disposable;
};

/** The targets of one tunnel, with what is known of their health. */
export class Targets {
  readonly #options: TargetsOptions;
  readonly #pool: Pool<number>;
  /** For each target the addresses of its name, by host. */
  readonly #addresses: readonly Pool<string>[];

  /** Every target counts as well. */
  constructor(options: TargetsOptions) {
    const { targets, balance, monotonic, random, metrics } = options;
    this.#options = options;
    this.#pool = new Pool({
      balance,
      monotonic,
      random,
      onChange: (index, up) => metrics.targetUp(index, up),
    });
    const spread = balance === "least_connections" ? balance : "round_robin";
    this.#addresses = targets.map(() => new Pool({ balance: spread, monotonic, random }));
    for (const index of targets.keys()) metrics.targetUp(index, true);
  }

  /** Those that failed are tried again like any other, as after a change of what they are judged by. */
  forgive(): void {
    this.#pool.forgive();
    for (const pool of this.#addresses) pool.forgive();
  }

  /**
   * Tries one target after the other. Each gets its share of the time that is left, and those that took
   * longer than theirs get what the others have not used.
   *
   * @throws {NoTarget} when none took it.
   * @throws {DialError} `aborted`, when the signal was.
   * @throws what `dialOne` throws besides.
   */
  async connect<T>(dialOne: DialOne<T>, options: ConnectOptions): Promise<Reached<T>> {
    const { targets, dialTimeout, monotonic, metrics } = this.#options;
    const deadline = monotonic() + dialTimeout;
    const atLeast = Math.min(MIN_TRY, dialTimeout / 2);
    const failures: TargetFailure[] = [];
    const search: Search<T> = {
      dialOne,
      signal: options.signal,
      fail: (failure) => {
        failures.push(failure);
        metrics.targetFailed(failure.index);
        options.onFailure?.(failure);
      },
    };
    let left: readonly number[] = [...targets.keys()];
    for (const least of [-Infinity, MIN_SHARE]) {
      const slow: number[] = [];
      while (isNonEmpty(left)) {
        const now = monotonic();
        const time = deadline - now;
        if (time < least) break;
        const index = this.#pool.choose(left);
        const share = Math.min(time, Math.max(time / left.length, atLeast));
        const reached = await this.#tryTarget(index, now + share, search);
        if (reached !== undefined) return reached;
        const last = failures.at(-1);
        // Not where it was another limit that it did not keep, which would be no other with more time.
        const usedUp = monotonic() >= now + share - TIMER_SLACK;
        if (usedUp && last !== undefined && isSlow(last)) slow.push(index);
        left = left.filter((other) => other !== index);
      }
      left = slow;
    }
    if (isNonEmpty(failures)) throw new NoTarget(failures);
    throw new Error("no target was tried");
  }

  /** `undefined` when the target failed. */
  async #tryTarget<T>(
    index: number,
    deadline: number,
    search: Search<T>,
  ): Promise<Reached<T> | undefined> {
    const { targets, metrics } = this.#options;
    const target = targets[index];
    if (target === undefined) throw new RangeError(`there is no target ${index}`);
    const trial = this.#pool.start(index);
    let taken: Taken<T> | undefined;
    try {
      taken = await this.#tryAddresses(index, target, deadline, search);
    } catch (error) {
      trial.abandoned();
      throw error;
    }
    if (taken === undefined) {
      trial.failed();
      return undefined;
    }
    const held = [trial.succeeded(), taken.held];
    metrics.targetConnected(index);
    return {
      index,
      target,
      value: taken.value,
      address: taken.address,
      [Symbol.dispose]: () => {
        const open = held.splice(0);
        for (const one of open) one[Symbol.dispose]();
        if (open.length > 0) metrics.targetReleased(index);
      },
    };
  }

  /** `undefined` when each of its addresses failed. */
  async #tryAddresses<T>(
    index: number,
    target: Target,
    deadline: number,
    search: Search<T>,
  ): Promise<Taken<T> | undefined> {
    const { monotonic } = this.#options;
    const { dialOne, signal, fail } = search;
    const pool = this.#addresses[index];
    if (pool === undefined) throw new RangeError(`there is no target ${index}`);
    const found = await this.#resolve(index, target, deadline, search);
    let left: readonly string[] = [...found.keys()];
    pool.retain(left);
    while (isNonEmpty(left)) {
      const key = pool.choose(left);
      const address = found.get(key) ?? target.address;
      const time = deadline - monotonic();
      const share = Math.min(time, Math.max(MIN_SHARE, time / left.length));
      // What is left of it was another address's; the first is tried however little that is.
      if (time <= 0 && left.length < found.size) break;
      const timeout = Math.max(1, Math.ceil(share));
      const trial = pool.start(key);
      try {
        const value = await dialOne({ index, target, address, timeout, signal });
        return { value, address, held: trial.succeeded() };
      } catch (error) {
        const failure = failureOf(error);
        if (failure === undefined || signal.aborted) {
          trial.abandoned();
          throw failure === undefined ? error : aborted(address, error);
        }
        trial.failed();
        fail({ ...failure, index, address });
      }
      left = left.filter((other) => other !== key);
    }
    return undefined;
  }

  /** What to dial for a target, by how it is written; nothing where its name was not found in time. */
  async #resolve<T>(
    index: number,
    { address }: Target,
    deadline: number,
    { signal, fail }: Search<T>,
  ): Promise<ReadonlyMap<string, Address>> {
    const { resolver, monotonic } = this.#options;
    if (address.kind === "unix") return new Map([[formatAddress(address), address]]);
    try {
      const timeout = Math.max(1, Math.ceil(deadline - monotonic()));
      const found = await resolver.resolve(address, { timeout, signal });
      return new Map(found.map((one) => [formatAddress(one), one]));
    } catch (error) {
      const failure = failureOf(error);
      if (failure === undefined) throw error;
      fail({ ...failure, index, address });
      return new Map();
    }
  }
}

/** A try that failed when nobody waited for it any more. */
function aborted(address: Address, cause: unknown): DialError {
  const message = `Cannot connect to "${formatAddress(address)}": aborted`;
  return new DialError("aborted", message, { cause });
}

function isNonEmpty<T>(list: readonly T[]): list is NonEmpty<T> {
  return list.length > 0;
}
