/**
 * Writes log records as lines: slog text or JSON, on stderr.
 *
 * @module
 */

import type { LogFormat } from "../config/config.ts";
import { formatJson, formatText, OWN_BOUNDS, PEER_BOUNDS } from "../log/format.ts";
import type { LogRecord } from "../log/mod.ts";

/** Writes one whole line, including its line end. */
export type LogWriter = (line: string) => void;

/** Options of {@linkcode logSink}. */
export type LogSinkOptions = {
  readonly format: LogFormat;
  /** Receives the lines; a daemon uses {@linkcode stderrWriter}. */
  readonly write: LogWriter;
};

/** Formats records, of the control plane and of the data plane, and writes them. */
export function logSink({ format, write }: LogSinkOptions): (record: LogRecord) => void {
  const formatted = format === "json" ? formatJson : formatText;
  return (record) => write(`${formatted(record, record.forPeers ? PEER_BOUNDS : OWN_BOUNDS)}\n`);
}

/** The part of `Deno.stderr` that {@linkcode stderrWriter} uses. */
export type LineStream = {
  /** Writes as much of `data` as possible and returns the number of bytes written. */
  writeSync(data: Uint8Array): number;
};

/**
 * Writes each line to stderr before it returns, so that no line is lost when the process ends. A
 * line that cannot be written is dropped: a log whose reader has gone away (EPIPE) or is too slow
 * for a non-blocking pipe (EAGAIN) must not stop the tunnels. If a blocking pipe is full, the write
 * blocks, as for any program that logs to stderr.
 */
export function stderrWriter(stream: LineStream = Deno.stderr): LogWriter {
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
