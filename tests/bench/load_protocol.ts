/**
 * What the bench asks of its load generator, one JSON object a line each way.
 *
 * @module
 */

/** Where to connect on 127.0.0.1, and what to speak there. */
export type Target = { readonly port: number; readonly tls: boolean };

/** One piece of work. */
export type Command =
  /** Connects, echoes one byte and closes, `count` times; no session is resumed. */
  | {
    readonly op: "handshakes";
    readonly target: Target;
    readonly count: number;
    readonly concurrency: number;
  }
  /** Opens connections, each with one byte echoed, until `count` of them are held. */
  | { readonly op: "hold"; readonly target: Target; readonly count: number }
  /** Closes what is held. */
  | { readonly op: "release" }
  /** Opens connections to talk on, each with one byte echoed. */
  | { readonly op: "join"; readonly target: Target; readonly connections: number }
  /** Round trips on all joined connections at once, `rounds` in sum. */
  | { readonly op: "talk"; readonly rounds: number; readonly size: number }
  /** Round trips at a fixed rate on the first joined connection; gives `p50` and `p99` in seconds. */
  | { readonly op: "pace"; readonly rate: number; readonly count: number; readonly size: number }
  /** Closes what was joined. */
  | { readonly op: "leave" }
  /** Sends `bytes` in sum over `streams` connections to a sink. */
  | {
    readonly op: "send" | "receive";
    readonly target: Target;
    readonly bytes: number;
    readonly streams: number;
  }
  /** Tries until one byte has come back; gives the time `at`, in milliseconds since 1970. */
  | { readonly op: "first"; readonly target: Target; readonly within: number };

/** What came of it. */
export type Reply =
  | { readonly ok: true; readonly values: Readonly<Record<string, number>> }
  | { readonly ok: false; readonly error: string };

/** How many bytes ask a source for how many: a big-endian number in front. */
export const REQUEST_BYTES = 8;

/** The time in milliseconds since 1970, with fractions: the same in all processes of a machine. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}
