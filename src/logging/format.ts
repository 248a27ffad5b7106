/**
 * One log record as one line: Go's `slog` text, byte for byte, or JSON.
 *
 * Values may be a peer's words (names in its certificate, its error messages), so none can leave its
 * field: whatever is not a letter, mark, number, punctuation or symbol is escaped, which takes in
 * line ends, ANSI escapes, C1 and bidi controls, zero-width characters and odd spaces. The only
 * difference from slog is DEL, which slog's text and JSON print raw and we escape.
 *
 * @module
 */

import type { LogLevel } from "../config/config.ts";

/** A field's value. `undefined` leaves the field out. */
export type LogValue = string | number | boolean | readonly string[] | undefined;

/** Structured fields of a record: static keys of ours, values of anybody's. */
export type Fields = Readonly<Record<string, LogValue>>;

/** What a line is made of. */
export type LogEntry = {
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: Fields;
};

/** UTF-16 units of a string, or of all strings of a list, that are printed; the rest is cut. */
export const MAX_VALUE_LENGTH = 1024;

const LEVEL_NAMES = {
  debug: "DEBUG",
  info: "INFO",
  warn: "WARN",
  error: "ERROR",
} as const satisfies Record<LogLevel, string>;

/** slog's `needsQuoting`, the other way round: non-empty, printable, no space, `"`, `=`, U+FFFD. */
const BARE = /^[[\p{L}\p{M}\p{N}\p{P}\p{S}]--["=\uFFFD]]+$/v;

/** What Go's `strconv.Quote` escapes: quote, backslash and whatever `unicode.IsPrint` denies. */
const QUOTE_ESCAPED = /["\\]|[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/gu;

/** What `JSON.stringify` leaves raw and a terminal or an editor may act on. */
const JSON_ESCAPED = /[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/gu;

/** Go's short escapes. */
const SHORT_ESCAPES: ReadonlyMap<string, string> = new Map([
  ['"', '\\"'],
  ["\\", "\\\\"],
  ["\x07", "\\a"],
  ["\b", "\\b"],
  ["\f", "\\f"],
  ["\n", "\\n"],
  ["\r", "\\r"],
  ["\t", "\\t"],
  ["\v", "\\v"],
]);

/** `text` as Go's `strconv.Quote` prints it; a lone surrogate reads as U+FFFD. */
export function quote(text: string): string {
  return `"${text.toWellFormed().replace(QUOTE_ESCAPED, escapeForText)}"`;
}

/** `text` as slog prints a string: bare where that is unmistakable, otherwise {@linkcode quote}d. */
export function quoteIfNeeded(text: string): string {
  return BARE.test(text) ? text : quote(text);
}

/** `time=... level=... msg=... key=value ...`, as slog's `TextHandler` in UTC, without line end. */
export function formatText(entry: LogEntry): string {
  let line = `time=${new Date(entry.time).toISOString()} level=${LEVEL_NAMES[entry.level]}` +
    ` msg=${quoteIfNeeded(cut(entry.message))}`;
  for (const [key, value] of ownFields(entry.fields)) {
    line += ` ${quoteIfNeeded(key)}=${textValue(value)}`;
  }
  return line;
}

/** One JSON object (RFC 8259) with `time`, `level`, `msg` and the fields, without line end. */
export function formatJson(entry: LogEntry): string {
  const record: Record<string, Exclude<LogValue, undefined>> = {
    time: new Date(entry.time).toISOString(),
    level: LEVEL_NAMES[entry.level],
    msg: cut(entry.message).toWellFormed(),
  };
  for (const [key, value] of ownFields(entry.fields)) record[key] = jsonValue(value);
  return JSON.stringify(record).replace(JSON_ESCAPED, escapeForJson);
}

/** The fields that are there, under names that leave the built-in ones alone. */
function* ownFields(fields: Fields): Generator<[string, Exclude<LogValue, undefined>]> {
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    const taken = key === "time" || key === "level" || key === "msg";
    yield [taken ? `_${key}` : key, value];
  }
}

function textValue(value: Exclude<LogValue, undefined>): string {
  switch (typeof value) {
    case "string":
      return quoteIfNeeded(cut(value));
    case "number":
      return textNumber(value);
    case "boolean":
      return String(value);
    default:
      return quoteIfNeeded(`[${cutList(value).join(" ")}]`);
  }
}

function jsonValue(value: Exclude<LogValue, undefined>): Exclude<LogValue, undefined> {
  switch (typeof value) {
    case "string":
      return cut(value).toWellFormed();
    case "number":
      // JSON has no such numbers, and `null` would hide what happened.
      return Number.isFinite(value) ? value : textNumber(value);
    case "boolean":
      return value;
    default:
      return cutList(value).map((item) => item.toWellFormed());
  }
}

/** Integers as Go's int64, the rest as its `strconv.FormatFloat(value, 'g', -1, 64)`. */
function textNumber(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value < 0 ? "-Inf" : "+Inf";
  if (Number.isSafeInteger(value)) return String(value);
  const [mantissa = "", exponent = "0"] = value.toExponential().split("e");
  const power = Number(exponent);
  // Go writes an exponent from 1e+06 on (the shortest form counts as precision 6).
  if (power >= -4 && power < 6) return String(value);
  const digits = String(Math.abs(power)).padStart(2, "0");
  return `${mantissa}e${power < 0 ? "-" : "+"}${digits}`;
}

/** `text`, or as much of it as a line should carry and how long it was. */
function cut(text: string): string {
  if (text.length <= MAX_VALUE_LENGTH) return text;
  let end = MAX_VALUE_LENGTH;
  const last = text.charCodeAt(end - 1);
  if (last >= 0xd800 && last <= 0xdbff) end--; // keep pairs whole
  return `${text.slice(0, end)}...(cut, ${text.length} characters)`;
}

/** As many of `items` as fit, at least one; how many are missing is said in the last. */
function cutList(items: readonly string[]): readonly string[] {
  const kept: string[] = [];
  let room = MAX_VALUE_LENGTH;
  for (const item of items) {
    room -= item.length + 1;
    if (room < 0 && kept.length > 0) {
      kept.push(`...(${items.length - kept.length} more)`);
      break;
    }
    kept.push(cut(item));
  }
  return kept;
}

function escapeForText(char: string): string {
  const short = SHORT_ESCAPES.get(char);
  if (short !== undefined) return short;
  const code = char.codePointAt(0) ?? 0;
  if (code < 0x20 || code === 0x7f) return `\\x${hex(code, 2)}`;
  return code < 0x10000 ? `\\u${hex(code, 4)}` : `\\U${hex(code, 8)}`;
}

/** JSON's escapes are UTF-16 units, so a character beyond the BMP takes two. */
function escapeForJson(char: string): string {
  let out = "";
  for (let i = 0; i < char.length; i++) out += `\\u${hex(char.charCodeAt(i), 4)}`;
  return out;
}

function hex(code: number, width: number): string {
  return code.toString(16).padStart(width, "0");
}
