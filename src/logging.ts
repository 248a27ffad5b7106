/**
 * The log: structured records through LogTape (levels, context fields, sinks that cannot throw into
 * the caller) as slog text or JSON lines. A sink is a function and the logger is handed in.
 *
 * LogTape keeps one configuration for the process. Each logger made here adds a category and a sink
 * of its own to whatever is configured, so loggers neither see nor disturb each other.
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
import type { LogFormat, LogLevel } from "./config/config.ts";
import {
  type Fields,
  formatJson,
  formatText,
  type LogEntry,
  OWN_BOUNDS,
  PEER_BOUNDS,
} from "./logging/format.ts";

export { type Fields, type LogValue, quote } from "./logging/format.ts";

/** Writes log records. None of its methods throws, whatever the sink does. */
export interface Logger {
  /** Details for whoever looks into a problem. */
  debug(message: string, fields?: Fields): void;
  /** What normally happens. */
  info(message: string, fields?: Fields): void;
  /** Works, but somebody should look at it. */
  warn(message: string, fields?: Fields): void;
  /** Something that was asked for did not happen. */
  error(message: string, fields?: Fields): void;
  /** A logger that adds `fields` to every record; a record's own field of that name wins. */
  with(fields: Fields): Logger;
  /** The same, behind a record's own fields: what a line is about comes first. */
  endingWith(fields: Fields): Logger;
  /**
   * The same logger for lines that a peer has a part in: what it puts into one is cut after a few
   * hundred bytes, where other lines have room for all that is wrong with a file.
   */
  forPeers(): Logger;
  /** Whether records of `level` are written, to spare the making of costly fields. */
  enabled(level: LogLevel): boolean;
}

/** Takes one whole line, line end included. */
export type LogWriter = (line: string) => void;

/** Settings of {@linkcode createLogger}. */
export type LoggerOptions = {
  /** The least important level that is written. */
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** Where lines go; {@linkcode stderrSink} for a daemon. */
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

/** Make a logger; any number of them may exist at once. */
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
      // LogTape's own diagnostics would go to the console, in a format of their own.
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

  /** A record's own field wins, and stands where it stood. */
  #all(fields: Fields): Fields {
    return { ...fields, ...this.#last, ...fields };
  }

  enabled(level: LogLevel): boolean {
    return this.#tape.isEnabledFor(TO_TAPE[level]);
  }
}

/** The message is taken as written: LogTape's `{placeholders}` are not for peers to fill in. */
function toEntry(record: LogRecord): LogEntry {
  const { rawMessage } = record;
  return {
    time: record.timestamp,
    level: FROM_TAPE[record.level],
    message: typeof rawMessage === "string" ? rawMessage : rawMessage.join(""),
    // Only the methods above make records, and they take nothing else.
    fields: record.properties as Fields,
  };
}

/** The part of `Deno.stderr` that {@linkcode stderrSink} uses. */
export type LineStream = {
  /** Writes what it can of `data` and says how many bytes that was. */
  writeSync(data: Uint8Array): number;
};

/**
 * A sink that writes each line to stderr before it returns, so that the last words of a process are
 * not lost. A line that cannot be written is dropped: a log whose reader has gone away (EPIPE) or is
 * too slow for a non-blocking pipe (EAGAIN) must not stop the tunnel. On a blocking pipe that nobody
 * empties the write waits, as with any program that logs to stderr.
 */
export function stderrSink(stream: LineStream = Deno.stderr): LogWriter {
  const encoder = new TextEncoder();
  let torn = false;
  return (line) => {
    // After half a line the next one must not be glued to it.
    const data = encoder.encode(torn ? `\n${line}` : line);
    let done = 0;
    try {
      while (done < data.length) {
        const written = stream.writeSync(data.subarray(done));
        if (written <= 0) break;
        done += written;
      }
    } catch {
      // There is no other place to report a broken log to; see above for why it is not fatal.
    }
    if (done > 0) torn = done < data.length;
  };
}
