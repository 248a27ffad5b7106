/**
 * A bound on how many lines strangers can have written.
 *
 * Each kind of message has its own allowance, and within it each source: so a flood of one kind hides no
 * other, and a flood from one address hides no line about another one. Lines about connections that were
 * let in, and those about the daemon itself, do not come here. What is left out is counted, and told of
 * every {@linkcode REPORT_EVERY} while there is any and once after the flood has ended.
 *
 * @module
 */

import type { LogLevel } from "../config/config.ts";
import type { Logger } from "../logging.ts";

/** Messages that strangers can cause, without the `listener: ` or `dialer: ` in front. */
export const LIMITED_MESSAGES = [
  "handshake failed",
  "denied connection",
  "refused PROXY header",
  "connection closed",
  "connection failed",
  "peer gone before accept",
] as const;

/** One of {@linkcode LIMITED_MESSAGES}. */
export type LimitedMessage = typeof LIMITED_MESSAGES[number];

/** So many lines at a stretch, and so many a second from then on. */
export type Allowance = { readonly burst: number; readonly perSecond: number };

/** For each message and source. */
export const PER_SOURCE: Allowance = { burst: 200, perSecond: 2 };

/** For each message, all sources together. */
export const PER_MESSAGE: Allowance = { burst: 1000, perSecond: 20 };

/** What was left out is told after so many milliseconds. */
export const REPORT_EVERY = 10_000;

/** So many sources of each message are told apart; of more, those that were quiet longest start anew. */
const MAX_SOURCES = 1024;

/** Settings of {@linkcode LogLimiter}. */
export type LogLimiterOptions = {
  /** Where it is told what was left out. */
  readonly logger: Logger;
  /** Called for each line that is left out. */
  readonly count: (message: LimitedMessage) => void;
  /** Milliseconds on a clock that never goes back. */
  readonly monotonic: () => number;
  /** Calls back after so many milliseconds; what it returns calls that off. */
  readonly setTimer: (callback: () => void, delay: number) => () => void;
};

/** Whose line it would be. */
export type LineSource = {
  /** The peer's address or network, for the log. */
  readonly source: string;
  /** What tells apart peers of one source, such as a verified key, where there is something. */
  readonly peer?: string | undefined;
};

/** Decides which lines about strangers are written. */
export class LogLimiter {
  readonly #options: LogLimiterOptions;
  readonly #messages = new Map<LimitedMessage, Allowed>();
  #cancel: (() => void) | undefined;

  /** Everything may be written, up to the bursts. */
  constructor(options: LogLimiterOptions) {
    this.#options = options;
  }

  /**
   * Whether a line with this message may be written now. One that may not is counted, unless it is below
   * the level of the log.
   */
  allows(level: LogLevel, message: LimitedMessage, from: LineSource): boolean {
    const { logger, count, monotonic, setTimer } = this.#options;
    if (!logger.enabled(level)) return false;
    const now = monotonic();
    let allowed = this.#messages.get(message);
    if (allowed === undefined) this.#messages.set(message, allowed = new Allowed(now));
    if (allowed.take(from, now)) return true;
    allowed.leaveOut(level, from.source, now);
    count(message);
    this.#cancel ??= setTimer(() => this.report(), REPORT_EVERY);
    return false;
  }

  /** Tells now of what was left out and not told yet. */
  report(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    const { logger, monotonic } = this.#options;
    for (const [message, allowed] of this.#messages) {
      const left = allowed.takeReport();
      if (left === undefined) continue;
      const { level, suppressed, since, bySource } = left;
      const [[most, count] = ["", 0]] = [...bySource].toSorted(([, a], [, b]) => b - a);
      logger[level]("log lines suppressed", {
        message,
        suppressed,
        duration: { seconds: (monotonic() - since) / 1000 },
        sources: bySource.size,
        most_from: most,
        most_from_suppressed: count,
      });
    }
  }
}

/** A token bucket. */
class Bucket {
  readonly #allowance: Allowance;
  #tokens: number;
  #at: number;

  constructor(allowance: Allowance, now: number) {
    this.#allowance = allowance;
    this.#tokens = allowance.burst;
    this.#at = now;
  }

  /** Whether there is one to take. */
  has(now: number): boolean {
    const { burst, perSecond } = this.#allowance;
    this.#tokens = Math.min(burst, this.#tokens + (now - this.#at) / 1000 * perSecond);
    this.#at = now;
    return this.#tokens >= 1;
  }

  /** Takes one that {@linkcode Bucket.has} has found. */
  take(): void {
    this.#tokens--;
  }
}

/** What was left out of one message. */
type LeftOut = {
  level: LogLevel;
  suppressed: number;
  readonly since: number;
  /** Up to {@linkcode MAX_SOURCES} of them. */
  readonly bySource: Map<string, number>;
};

/** The allowances of one message. */
class Allowed {
  readonly #all: Bucket;
  /** The one used last at the end. */
  readonly #sources = new Map<string, Bucket>();
  #left: LeftOut | undefined;

  constructor(now: number) {
    this.#all = new Bucket(PER_MESSAGE, now);
  }

  take({ source, peer }: LineSource, now: number): boolean {
    const key = peer === undefined ? source : `${source} ${peer}`;
    const own = this.#sources.get(key) ?? new Bucket(PER_SOURCE, now);
    this.#sources.delete(key);
    this.#sources.set(key, own);
    if (this.#sources.size > MAX_SOURCES) {
      const [oldest = key] = this.#sources.keys();
      this.#sources.delete(oldest);
    }
    // Of both or of none: what a source may not write is not at the others' expense.
    if (!own.has(now) || !this.#all.has(now)) return false;
    own.take();
    this.#all.take();
    return true;
  }

  leaveOut(level: LogLevel, source: string, now: number): void {
    const left = this.#left ??= { level, suppressed: 0, since: now, bySource: new Map() };
    left.level = level;
    left.suppressed++;
    const before = left.bySource.get(source);
    if (before !== undefined || left.bySource.size < MAX_SOURCES) {
      left.bySource.set(source, (before ?? 0) + 1);
    }
  }

  takeReport(): LeftOut | undefined {
    const left = this.#left;
    this.#left = undefined;
    return left;
  }
}
