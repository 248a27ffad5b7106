/**
 * Chooses among several targets: in which order and for how long each is tried, until one accepts
 * the connection. The connection fails only when all do.
 *
 * @module
 */

import { formatAddress } from "../config/address.ts";
import type { Address, Balance, NonEmpty, Target } from "../config/config.ts";
import { DialError, type Resolver } from "../net/mod.ts";
import { HandshakeCut, HandshakeError } from "../tls/handshake_error.ts";
import { TargetPool } from "./target_pool.ts";

/** Metrics of the targets; `index` is the target's position in the config. */
export type TargetMetrics = {
  /** The target accepted a connection; `targetReleased` follows once. */
  targetConnected(index: number): void;
  /** A connection that the target had accepted has ended. */
  targetReleased(index: number): void;
  /**
   * An attempt failed; a target whose name has several addresses may fail several times per
   * connection.
   */
  targetFailed(index: number): void;
  /** Whether the target is healthy: it has not failed since it last accepted a connection. */
  targetUp(index: number, up: boolean): void;
};

/** Settings of {@linkcode LoadBalancer}. */
export type LoadBalancerOptions = {
  readonly targets: NonEmpty<Target>;
  readonly balance: Balance;
  /** Milliseconds for one connection, however many targets are tried. */
  readonly dialTimeout: number;
  readonly resolver: Pick<Resolver, "resolve">;
  readonly metrics: TargetMetrics;
  /** Milliseconds on a monotonic clock. */
  readonly monotonic: () => number;
  /** A random number from 0 to less than 1; `Math.random` is sufficient. */
  readonly random: () => number;
};

/** One attempt. */
export type Attempt = {
  readonly index: number;
  readonly target: Target;
  /** The address to dial: the target's, or one of the addresses of its name. */
  readonly address: Address;
  /** Milliseconds, TLS included; more than 0. */
  readonly timeout: number;
  readonly signal: AbortSignal;
};

/** Settings of one connection. */
export type ConnectOptions = {
  readonly signal: AbortSignal;
  /** Called for each failed attempt. */
  readonly onFailure?: (failure: TargetFailure) => void;
};

/** A connection that a target accepted. It counts as open until it is disposed. */
export type Reached<T> = Disposable & {
  readonly value: T;
  readonly index: number;
  readonly target: Target;
  readonly address: Address;
};

/**
 * Dials one address, with TLS where configured, all within `timeout`.
 *
 * After a `DialError`, `HandshakeError` or `TargetDenied` the next target is tried, unless the
 * signal caused it; any other error ends the search.
 */
export type DialOne<T> = (attempt: Attempt) => Promise<T>;

/**
 * The least time in milliseconds for each address of a name, however many there are, and for a
 * second attempt at a target.
 */
const MIN_SHARE = 250;

/**
 * The least time in milliseconds for each target, however many there are, so that a healthy target
 * far away is not skipped for its latency; at most half of the total.
 */
const MIN_TRY = 1000;

/** Milliseconds by which a timer may fire early. */
const TIMER_SLACK = 5;

/** One connection's search through the targets. */
type Search<T> = {
  readonly dialOne: DialOne<T>;
  readonly signal: AbortSignal;
  readonly fail: (failure: TargetFailure) => void;
};

/** An accepted connection, and the address that accepted it. */
type Taken<T> = {
  readonly value: T;
  readonly address: Address;
  /** Its count among the connections of that address. */
  readonly held: Disposable;
};

/** The targets of one tunnel and their health. */
export class LoadBalancer {
  readonly #options: LoadBalancerOptions;
  readonly #pool: TargetPool<number>;
  /** For each target, the addresses of its name, by host. */
  readonly #addresses: readonly TargetPool<string>[];

  /** Starts with every target healthy. */
  constructor(options: LoadBalancerOptions) {
    const { targets, balance, monotonic, random, metrics } = options;
    this.#options = options;
    this.#pool = new TargetPool({
      balance,
      monotonic,
      random,
      onChange: (index, up) => metrics.targetUp(index, up),
    });
    const spread = balance === "least_connections" ? balance : "round_robin";
    this.#addresses = targets.map(() => new TargetPool({ balance: spread, monotonic, random }));
    for (const index of targets.keys()) metrics.targetUp(index, true);
  }

  /**
   * Clears all ejections, after a change of the credentials or rules that targets were checked
   * with.
   */
  clearEjections(): void {
    this.#pool.clearEjections();
    for (const pool of this.#addresses) pool.clearEjections();
  }

  /**
   * Tries one target after the other. Each gets a share of the remaining time; targets that needed
   * longer than their share get the time that the others left.
   *
   * @throws {NoTarget} when no target accepted the connection.
   * @throws {DialError} `aborted`, when the signal aborts.
   * @throws anything else that `dialOne` throws.
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
        // A target that hit another limit, such as the handshake timeout, would not do better with
        // more time.
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
    const attempt = this.#pool.start(index);
    let taken: Taken<T> | undefined;
    try {
      taken = await this.#tryAddresses(index, target, deadline, search);
    } catch (error) {
      attempt.abandoned();
      throw error;
    }
    if (taken === undefined) {
      attempt.failed();
      return undefined;
    }
    const held = [attempt.succeeded(), taken.held];
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

  /** `undefined` when all of its addresses failed. */
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
      // The other addresses used up the time. The first address is tried however little time there
      // is.
      if (time <= 0 && left.length < found.size) break;
      const timeout = Math.max(1, Math.ceil(share));
      const attempt = pool.start(key);
      try {
        const value = await dialOne({ index, target, address, timeout, signal });
        return { value, address, held: attempt.succeeded() };
      } catch (error) {
        const failure = failureOf(error);
        if (failure === undefined || signal.aborted) {
          attempt.abandoned();
          throw failure === undefined ? error : aborted(address, error);
        }
        attempt.failed();
        fail({ ...failure, index, address });
      }
      left = left.filter((other) => other !== key);
    }
    return undefined;
  }

  /**
   * The addresses to dial for a target, by their text; empty where its name was not resolved in
   * time.
   */
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

/** The error of an attempt that failed after it was cancelled. */
function aborted(address: Address, cause: unknown): DialError {
  const message = `Cannot connect to "${formatAddress(address)}": aborted`;
  return new DialError("aborted", message, { cause });
}

function isNonEmpty<T>(list: readonly T[]): list is NonEmpty<T> {
  return list.length > 0;
}

/** The rules deny a target whose certificate is valid. */
export class TargetDenied extends Error {
  /** The name of the class. */
  override readonly name = "TargetDenied";
}

/** Where a target failed: dialling, the handshake, or authorization. */
export type FailureKind = "dial" | "handshake" | "denied";

/** One failed attempt. */
export type TargetFailure = {
  readonly kind: FailureKind;
  /** The target's position in the config. */
  readonly index: number;
  /** The address that was dialled: the target's, or one of the addresses of its name. */
  readonly address: Address;
  readonly error: DialError | HandshakeError | TargetDenied;
};

/** No target accepted the connection. */
export class NoTarget extends Error {
  /** The name of the class. */
  override readonly name = "NoTarget";
  /** Every attempt, in order; never empty. */
  readonly failures: NonEmpty<TargetFailure>;

  /** The message includes that of each failure. */
  constructor(failures: NonEmpty<TargetFailure>) {
    const [first, ...more] = failures;
    const words = ({ address, error }: TargetFailure) =>
      error instanceof DialError ? error.message : `"${formatAddress(address)}": ${error.message}`;
    super(
      more.length === 0 ? first.error.message : failures.map(words).join("; "),
      { cause: failures.at(-1)?.error },
    );
    this.failures = failures;
  }
}

/**
 * Classifies a failure of the target; `undefined` for errors that say nothing about it: a cancelled
 * attempt, a failure of our code.
 */
export function failureOf(
  error: unknown,
): Pick<TargetFailure, "kind" | "error"> | undefined {
  if (error instanceof DialError) {
    return error.reason === "aborted" ? undefined : { kind: "dial", error };
  }
  if (error instanceof HandshakeError) {
    return error instanceof HandshakeCut ? undefined : { kind: "handshake", error };
  }
  return error instanceof TargetDenied ? { kind: "denied", error } : undefined;
}

/** Whether more time might have helped. */
export function isSlow({ error }: Pick<TargetFailure, "error">): boolean {
  return !(error instanceof TargetDenied) && error.reason === "timeout";
}
