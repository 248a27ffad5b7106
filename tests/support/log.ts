/**
 * A logger whose lines go to a function of the test.
 *
 * @module
 */

import { logSink, type LogSinkOptions } from "../../src/control/log_sink.ts";
import { createLogger, type Logger, type LoggerOptions } from "../../src/log/mod.ts";

/** Creates a logger that calls `write` for each line. */
export function lineLogger(
  { level, ...sink }: Pick<LoggerOptions, "level"> & LogSinkOptions,
): Logger {
  return createLogger({ level, emit: logSink(sink) });
}

/** One record of a {@linkcode TestLog}. */
export type TestRecord = {
  readonly level: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
};

/** A log that remembers. */
export class TestLog {
  readonly records: TestRecord[] = [];
  readonly debug = this.#level("debug");
  readonly info = this.#level("info");
  readonly warn = this.#level("warn");
  readonly error = this.#level("error");

  #level(level: string): (message: string, fields?: TestRecord["fields"]) => void {
    return (message, fields = {}) => void this.records.push({ level, message, fields });
  }

  of(message: string): TestRecord[] {
    return this.records.filter((record) => record.message === message);
  }
}
