/**
 * Structured log records: levels, fields, and the fields that a logger adds to each of its records.
 * Loggers are passed in. What becomes of a record is not decided here: the control plane formats and
 * writes it (`control/log_sink.ts`), and the data plane sends it there.
 *
 * @module
 */

import { LOG_LEVELS, type LogLevel } from "../config/config.ts";
import type { Fields, LogEntry } from "./format.ts";

export { type Fields, type LogValue, quote } from "./format.ts";

/** Writes log records. Its methods never throw, whatever receives the records. */
export interface Logger {
  /** Details for troubleshooting. */
  debug(message: string, fields?: Fields): void;
  /** Normal events. */
  info(message: string, fields?: Fields): void;
  /** Works, but needs attention. */
  warn(message: string, fields?: Fields): void;
  /** A requested operation failed. */
  error(message: string, fields?: Fields): void;
  /**
   * A logger that adds `fields` to every record. A record's own field of the same name takes
   * precedence.
   */
  with(fields: Fields): Logger;
  /**
   * Like {@linkcode Logger.with}, but adds the fields behind the record's own, so that the subject
   * of the line comes first.
   */
  endingWith(fields: Fields): Logger;
  /**
   * The same logger for lines that contain text from a peer. Their values are truncated after a few
   * hundred bytes, whereas other lines have room for all errors in a file.
   */
  forPeers(): Logger;
  /** Whether records of `level` are written. Use it to avoid computing expensive fields. */
  enabled(level: LogLevel): boolean;
}

/** One record. Plain data, so it can be sent from the data plane to the control plane. */
export type LogRecord = LogEntry & {
  /** Whether it can contain text from a peer; see {@linkcode Logger.forPeers}. */
  readonly forPeers: boolean;
};

/** Options of {@linkcode createLogger}. */
export type LoggerOptions = {
  /** The lowest level that is written. */
  readonly level: LogLevel;
  /** Receives the records. What it throws is dropped. */
  readonly emit: (record: LogRecord) => void;
};

/** Creates a logger. */
export function createLogger({ level, emit }: LoggerOptions): Logger {
  return new RecordLogger(LOG_LEVELS.indexOf(level), emit, { first: {}, last: {} }, false);
}

/** The fields that a logger adds before and behind those of the record. */
type Added = { readonly first: Fields; readonly last: Fields };

class RecordLogger implements Logger {
  readonly #lowest: number;
  readonly #emit: (record: LogRecord) => void;
  readonly #added: Added;
  readonly #forPeers: boolean;

  constructor(
    lowest: number,
    emit: (record: LogRecord) => void,
    added: Added,
    forPeers: boolean,
  ) {
    this.#lowest = lowest;
    this.#emit = emit;
    this.#added = added;
    this.#forPeers = forPeers;
  }

  debug(message: string, fields: Fields = {}): void {
    this.#log("debug", message, fields);
  }

  info(message: string, fields: Fields = {}): void {
    this.#log("info", message, fields);
  }

  warn(message: string, fields: Fields = {}): void {
    this.#log("warn", message, fields);
  }

  error(message: string, fields: Fields = {}): void {
    this.#log("error", message, fields);
  }

  with(fields: Fields): Logger {
    const { first, last } = this.#added;
    return this.#adding({ first: { ...first, ...fields }, last });
  }

  endingWith(fields: Fields): Logger {
    const { first, last } = this.#added;
    return this.#adding({ first, last: { ...last, ...fields } });
  }

  forPeers(): Logger {
    if (this.#forPeers) return this;
    return new RecordLogger(this.#lowest, this.#emit, this.#added, true);
  }

  enabled(level: LogLevel): boolean {
    return LOG_LEVELS.indexOf(level) >= this.#lowest;
  }

  #adding(added: Added): Logger {
    return new RecordLogger(this.#lowest, this.#emit, added, this.#forPeers);
  }

  #log(level: LogLevel, message: string, fields: Fields): void {
    if (!this.enabled(level)) return;
    const { first, last } = this.#added;
    try {
      this.#emit({
        time: Date.now(),
        level,
        message,
        // The record's own field takes precedence, and keeps its position before `last`.
        fields: { ...first, ...fields, ...last, ...fields },
        forPeers: this.#forPeers,
      });
    } catch {
      // A log that fails must not end a connection, and there is no other place to report it.
    }
  }
}
