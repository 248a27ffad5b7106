/**
 * Limits how many log lines unauthenticated peers can cause.
 *
 * Each kind of message has its own allowance, and so has each source within it: a flood of one kind
 * cannot hide another kind, and a flood from one address cannot hide lines about another address.
 * Lines about admitted connections and about the daemon itself are not limited. Suppressed lines
 * are counted, and reported every {@linkcode REPORT_EVERY} ms during a flood and once after its
 * end.
 *
 * @module
 */

import type { LogLevel } from "../config/config.ts";
import type { Logger } from "./mod.ts";

/**
 * The messages that unauthenticated peers can cause, without the prefix `listener: ` or `dialer: `.
 */
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

/** Limits of a token bucket: the number of lines at once, and per second after that. */
export type Allowance = { readonly burst: number; readonly perSecond: number };

/** The allowance of one source for each message. */
export const PER_SOURCE: Allowance = { burst: 200, perSecond: 2 };

/** The allowance of all sources together for each message. */
export const PER_MESSAGE: Allowance = { burst: 1000, perSecond: 20 };

/** Interval of reports about suppressed lines, in milliseconds. */
export const REPORT_EVERY = 10_000;

/**
 * Maximum number of sources to track for each message. Beyond it, the source that has been idle for
 * longest is dropped and starts with a full allowance when it comes back.
 */
const MAX_SOURCES = 1024;

/** Options of {@linkcode LogLimiter}. */
export type LogLimiterOptions = {
  /** The logger for reports about suppressed lines. */
  readonly logger: Logger;
  /** Called for each suppressed line. */
  readonly count: (message: LimitedMessage) => void;
  /** Milliseconds on a monotonic clock. */
  readonly monotonic: () => number;
  /** Calls back after `delay` milliseconds. The returned function cancels that. */
  readonly setTimer: (callback: () => void, delay: number) => () => void;
};

/** The peer that caused a line. */
export type LineSource = {
  /** The peer's address or network, for reports. */
  readonly source: string;
  /** Distinguishes peers with the same source, such as by a verified key, if known. */
  readonly peer?: string | undefined;
};

/** Decides which lines about unauthenticated peers are written. */
export class LogLimiter {
  readonly #options: LogLimiterOptions;
  readonly #messages = new Map<LimitedMessage, Allowed>();
  #cancel: (() => void) | undefined;

  /** Starts with full allowances. */
  constructor(options: LogLimiterOptions) {
    this.#options = options;
  }

  /**
   * Whether a line with this message may be written now. If not, it is counted as suppressed,
   * unless its level is below that of the log.
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

  /** Reports the lines suppressed since the last report, at once. */
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

  /** Whether a token is available. */
  has(now: number): boolean {
    const { burst, perSecond } = this.#allowance;
    this.#tokens = Math.min(burst, this.#tokens + (now - this.#at) / 1000 * perSecond);
    this.#at = now;
    return this.#tokens >= 1;
  }

  /** Takes a token; call it only after {@linkcode Bucket.has} has returned true. */
  take(): void {
    this.#tokens--;
  }
}

/** The suppressed lines of one message. */
type LeftOut = {
  level: LogLevel;
  suppressed: number;
  readonly since: number;
  /** Counts for up to {@linkcode MAX_SOURCES} sources. */
  readonly bySource: Map<string, number>;
};

/** The allowances of one message. */
class Allowed {
  readonly #all: Bucket;
  /** In order of use, the most recent last. */
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
    // Take from both buckets or neither, so that a source over its limit does not use up the common
    // allowance.
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
