/**
 * Durations in the syntax of Go's `time.ParseDuration`, as whole milliseconds.
 *
 * @module
 */

import type { Parsed } from "./text.ts";

/**
 * The longest duration in milliseconds: 596 h, a little under 25 days. Timers overflow at 2^31 ms
 * and would fire at once, so longer durations are rejected.
 */
export const MAX_DURATION_MS: number = 596 * 3_600_000;

/** Nanoseconds per unit. Both micro signs (U+00B5, U+03BC) are accepted, as in Go. */
const UNITS: ReadonlyMap<string, bigint> = new Map([
  ["ns", 1n],
  ["us", 1_000n],
  ["\u00b5s", 1_000n],
  ["\u03bcs", 1_000n],
  ["ms", 1_000_000n],
  ["s", 1_000_000_000n],
  ["m", 60_000_000_000n],
  ["h", 3_600_000_000_000n],
]);

const NS_PER_MS = 1_000_000n;

/** Maximum length of the text: parsing very long numbers takes too long. */
const MAX_LENGTH = 64;

/**
 * Parses `10s`, `1m30s`, `1.5h`, `250ms` or `0`. The value is in milliseconds, rounded up so that
 * only a zero duration becomes 0. Negative durations and those over {@linkcode MAX_DURATION_MS} are
 * rejected.
 */
export function parseDuration(text: string): Parsed<number> {
  if (text === "" || text.length > MAX_LENGTH) return refuse('must be a duration such as "10s"');
  const body = text.replace(/^[-+]/, "");
  if (body === "0") return { ok: true, value: 0 };
  if (body === "") return refuse('must be a duration such as "10s"');

  let numerator = 0n;
  let denominator = 1n;
  let rest = body;
  while (rest !== "") {
    const [part = "", whole = "", fraction = "", unit = ""] =
      /^([0-9]*)\.?([0-9]*)([^0-9.]*)/.exec(rest) ?? [];
    if (whole === "" && fraction === "") {
      return refuse('must be a duration such as "10s"');
    }
    if (unit === "") return refuse(`a duration needs a unit: write "${part}s" for seconds`);
    const scale = UNITS.get(unit);
    if (scale === undefined) {
      return refuse("the units of a duration are ns, us, ms, s, m and h");
    }
    const base = 10n ** BigInt(fraction.length);
    numerator = numerator * base + BigInt(whole + fraction) * scale * denominator;
    denominator *= base;
    rest = rest.slice(part.length);
  }

  if (text.startsWith("-") && numerator > 0n) return refuse("a duration must not be negative");
  const divisor = denominator * NS_PER_MS;
  const milliseconds = (numerator + divisor - 1n) / divisor;
  if (milliseconds > BigInt(MAX_DURATION_MS)) {
    return refuse(`must be at most ${MAX_DURATION_MS / 3_600_000}h`);
  }
  return { ok: true, value: Number(milliseconds) };
}

function refuse(reason: string): Parsed<never> {
  return { ok: false, reason };
}

/**
 * Formats milliseconds like Go's `Duration.String`: `250ms`, `1.5s`, `1m30s`, `1h0m0s`, `0s`.
 * Fractions of a millisecond are rounded.
 */
export function formatDuration(milliseconds: number): string {
  const total = Math.round(Math.abs(milliseconds));
  const sign = milliseconds < 0 && total > 0 ? "-" : "";
  if (total === 0) return "0s";
  if (total < 1000) return `${sign}${total}ms`;
  const seconds = (total % 60_000) / 1000;
  const minutes = Math.floor(total / 60_000) % 60;
  const hours = Math.floor(total / 3_600_000);
  const head = hours > 0 ? `${hours}h${minutes}m` : minutes > 0 ? `${minutes}m` : "";
  return `${sign}${head}${seconds}s`;
}
