/**
 * The log: structured records through LogTape (levels, context fields, sinks that cannot throw into
 * the caller), formatted as slog text or JSON lines. The sink is a function, and loggers are passed
 * in.
 *
 * LogTape has one configuration per process. Each logger created here adds its own category and
 * sink to the current configuration, so loggers do not affect each other.
 *
 * @module
 */

import {
  configureSync,
  getConfig,
  getLogger,
  type Logger as Tape,
  type LogLevel as TapeLevel,
  type LogRecord,
} from "@logtape/logtape";
import type { LogFormat, LogLevel } from "../config/config.ts";
import {
  type Fields,
  formatJson,
  formatText,
  type LogEntry,
  OWN_BOUNDS,
  PEER_BOUNDS,
} from "./format.ts";

export { type Fields, type LogValue, quote } from "./format.ts";

/** Writes log records. Its methods never throw, whatever the sink does. */
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

/** Writes one whole line, including its line end. */
export type LogWriter = (line: string) => void;

/** Options of {@linkcode createLogger}. */
export type LoggerOptions = {
  /** The lowest level that is written. */
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** Receives the lines; a daemon uses {@linkcode stderrSink}. */
  readonly write: LogWriter;
};

const TO_TAPE = {
  debug: "debug",
  info: "info",
  warn: "warning",
  error: "error",
} as const satisfies Record<LogLevel, TapeLevel>;

const FROM_TAPE = {
  trace: "debug",
  debug: "debug",
  info: "info",
  warning: "warn",
  error: "error",
  fatal: "error",
} as const satisfies Record<TapeLevel, LogLevel>;

/** Creates a logger. Any number of loggers can exist at once. */
export function createLogger(options: LoggerOptions): Logger {
  const { write } = options;
  const format = options.format === "json" ? formatJson : formatText;
  const id = crypto.randomUUID();
  const peers = `${id} ${FOR_PEERS}`;
  const category = ["mtlsd", id];
  const lowestLevel = TO_TAPE[options.level];
  const current = getConfig();
  configureSync({
    ...current,
    reset: true,
    sinks: {
      ...current?.sinks,
      [id]: (record: LogRecord) => write(`${format(toEntry(record), OWN_BOUNDS)}\n`),
      [peers]: (record: LogRecord) => write(`${format(toEntry(record), PEER_BOUNDS)}\n`),
    },
    loggers: [
      // LogTape's own diagnostics would go to the console in a different format.
      ...(current?.loggers ?? [{ category: ["logtape", "meta"], lowestLevel: null }]),
      { category, sinks: [id], parentSinks: "override", lowestLevel },
      {
        category: [...category, FOR_PEERS],
        sinks: [peers],
        parentSinks: "override",
        lowestLevel,
      },
    ],
  });
  return new TapeLogger(getLogger(category), false);
}

/** The subcategory of {@linkcode Logger.forPeers}. */
const FOR_PEERS = "peers";

class TapeLogger implements Logger {
  readonly #tape: Tape;
  readonly #forPeers: boolean;
  readonly #last: Fields;

  constructor(tape: Tape, forPeers: boolean, last: Fields = {}) {
    this.#tape = tape;
    this.#forPeers = forPeers;
    this.#last = last;
  }

  debug(message: string, fields: Fields = {}): void {
    this.#tape.debug(message, this.#all(fields));
  }

  info(message: string, fields: Fields = {}): void {
    this.#tape.info(message, this.#all(fields));
  }

  warn(message: string, fields: Fields = {}): void {
    this.#tape.warning(message, this.#all(fields));
  }

  error(message: string, fields: Fields = {}): void {
    this.#tape.error(message, this.#all(fields));
  }

  with(fields: Fields): Logger {
    return new TapeLogger(this.#tape.with(fields), this.#forPeers, this.#last);
  }

  endingWith(fields: Fields): Logger {
    return new TapeLogger(this.#tape, this.#forPeers, { ...this.#last, ...fields });
  }

  forPeers(): Logger {
    return this.#forPeers ? this : new TapeLogger(this.#tape.getChild(FOR_PEERS), true, this.#last);
  }

  /** A record's own field takes precedence and keeps its position. */
  #all(fields: Fields): Fields {
    return { ...fields, ...this.#last, ...fields };
  }

  enabled(level: LogLevel): boolean {
    return this.#tape.isEnabledFor(TO_TAPE[level]);
  }
}

/** Uses the message verbatim: LogTape must not expand `{placeholders}` in text from a peer. */
function toEntry(record: LogRecord): LogEntry {
  const { rawMessage } = record;
  return {
    time: record.timestamp,
    level: FROM_TAPE[record.level],
    message: typeof rawMessage === "string" ? rawMessage : rawMessage.join(""),
    // Only the methods above create records, and they accept only these types.
    fields: record.properties as Fields,
  };
}

/** The part of `Deno.stderr` that {@linkcode stderrSink} uses. */
export type LineStream = {
  /** Writes as much of `data` as possible and returns the number of bytes written. */
  writeSync(data: Uint8Array): number;
};

/**
 * A sink that writes each line to stderr before it returns, so that no line is lost when the
 * process ends. A line that cannot be written is dropped: a log whose reader has gone away (EPIPE)
 * or is too slow for a non-blocking pipe (EAGAIN) must not stop the tunnels. If a blocking pipe is
 * full, the write blocks, as for any program that logs to stderr.
 */
export function stderrSink(stream: LineStream = Deno.stderr): LogWriter {
  const encoder = new TextEncoder();
  let torn = false;
  return (line) => {
    // After a partial line, start a new one.
    const data = encoder.encode(torn ? `\n${line}` : line);
    let done = 0;
    try {
      while (done < data.length) {
        const written = stream.writeSync(data.subarray(done));
        if (written <= 0) break;
        done += written;
      }
    } catch {
      // There is no other place to report this error. It is not fatal; see above.
    }
    if (done > 0) torn = done < data.length;
  };
}
