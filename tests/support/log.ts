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
