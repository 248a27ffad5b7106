/**
 * Formats log records as lines: Go's `slog` text format, byte for byte, or JSON.
 *
 * Values can contain text from a peer (names in its certificate, its error messages), so no value
 * may break out of its field. Everything other than letters, marks, numbers, punctuation and
 * symbols is escaped, including line ends, ANSI escapes, C1 and bidi controls, zero-width
 * characters and unusual spaces. The only difference from slog is DEL, which slog's text and JSON
 * formats print unescaped.
 *
 * @module
 */

import type { LogLevel } from "../config/config.ts";

/** A length of time: `1.234s` in text, a number of seconds in JSON. */
export type Duration = { readonly seconds: number };

/** The value of a field. Fields with the value `undefined` are omitted. */
export type LogValue =
  | string
  | number
  | boolean
  | readonly string[]
  | Duration
  | undefined;

/**
 * Structured fields of a record. The keys are fixed in the code, the values can contain text from a
 * peer.
 */
export type Fields = Readonly<Record<string, LogValue>>;

/** The contents of a line. */
export type LogEntry = {
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: Fields;
};

/**
 * Limits on the values of a line in bytes as they are printed: UTF-8, after escaping, without the
 * surrounding quotes and the marks of a truncation.
 */
export type Bounds = {
  /** For each value, including the message. */
  readonly value: number;
  /**
   * For all values together. If they would exceed it, the longest ones are truncated further, so
   * that a long name cannot displace an address or a reason.
   */
  readonly line: number;
};

/** For lines that contain text from a peer. */
export const PEER_BOUNDS: Bounds = { value: 400, line: 1600 };

/** For lines that contain only text from the daemon and its files. */
export const OWN_BOUNDS: Bounds = { value: 8192, line: 16_384 };

/** The number of bytes that every value may have in any case. */
const MIN_VALUE = 24;

const LEVEL_NAMES = {
  debug: "DEBUG",
  info: "INFO",
  warn: "WARN",
  error: "ERROR",
} as const satisfies Record<LogLevel, string>;

/** The negation of slog's `needsQuoting`: non-empty, printable, no space, `"`, `=` or U+FFFD. */
const BARE = /^[[\p{L}\p{M}\p{N}\p{P}\p{S}]--["=\uFFFD]]+$/v;

/**
 * The characters that Go's `strconv.Quote` escapes: quote, backslash and those that
 * `unicode.IsPrint` rejects.
 */
const QUOTE_ESCAPED = /["\\]|[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/gu;

/**
 * Characters that `JSON.stringify` does not escape although a terminal or an editor may interpret
 * them.
 */
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

/** `text` as Go's `strconv.Quote` prints it; a lone surrogate becomes U+FFFD. */
export function quote(text: string): string {
  return `"${text.toWellFormed().replace(QUOTE_ESCAPED, escapeForText)}"`;
}

/**
 * `text` as slog prints a string: unquoted if that is unambiguous, otherwise as {@linkcode quote}
 * does.
 */
export function quoteIfNeeded(text: string): string {
  return BARE.test(text) ? text : quote(text);
}

/**
 * `time=... level=... msg=... key=value ...`, as printed by slog's `TextHandler` in UTC, without a
 * line end.
 */
export function formatText(entry: LogEntry, bounds: Bounds = OWN_BOUNDS): string {
  const { text: message } = cut(entry.message, bounds.value, textWidth);
  let line = `time=${new Date(entry.time).toISOString()} level=${LEVEL_NAMES[entry.level]}` +
    ` msg=${quoteIfNeeded(message)}`;
  for (const [key, shown] of fitted(entry.fields, bounds, textValue)) {
    line += ` ${quoteIfNeeded(key)}=${shown}`;
  }
  return line;
}

/** One JSON object (RFC 8259) with `time`, `level`, `msg` and the fields, without a line end. */
export function formatJson(entry: LogEntry, bounds: Bounds = OWN_BOUNDS): string {
  const record: Record<string, JsonValue> = {
    time: new Date(entry.time).toISOString(),
    level: LEVEL_NAMES[entry.level],
    msg: cut(entry.message, bounds.value, jsonWidth).text.toWellFormed(),
  };
  for (const [key, shown] of fitted(entry.fields, bounds, jsonValue)) record[key] = shown;
  return JSON.stringify(record).replace(JSON_ESCAPED, escapeForJson);
}

/** A formatted value, and how many of its bytes count towards the limits. */
type Shown<T> = { readonly shown: T; readonly bytes: number };

/** Formats a value in at most `room` bytes. */
type Show<T> = (value: Exclude<LogValue, undefined>, room: number) => Shown<T>;

/**
 * The fields, with each value truncated at the largest length that keeps the line within its
 * limits.
 */
function fitted<T>(fields: Fields, bounds: Bounds, show: Show<T>): readonly [string, T][] {
  const all = [...ownFields(fields)];
  for (let room = bounds.value;; room = Math.max(MIN_VALUE, room >> 1)) {
    let bytes = 0;
    const shown = all.map(([key, value]): [string, T] => {
      const one = show(value, room);
      bytes += one.bytes;
      return [key, one.shown];
    });
    if (bytes <= bounds.line || room === MIN_VALUE) return shown;
  }
}

/** The defined fields, renamed where they would collide with the built-in ones. */
function* ownFields(fields: Fields): Generator<[string, Exclude<LogValue, undefined>]> {
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    const taken = key === "time" || key === "level" || key === "msg";
    yield [taken ? `_${key}` : key, value];
  }
}

const textValue: Show<string> = (value, room) => {
  switch (typeof value) {
    case "string": {
      const { text, bytes } = cut(value, room, textWidth);
      return { shown: quoteIfNeeded(text), bytes };
    }
    case "number":
      return { shown: textNumber(value), bytes: 0 };
    case "boolean":
      return { shown: String(value), bytes: 0 };
    default: {
      if ("seconds" in value) return { shown: `${value.seconds.toFixed(3)}s`, bytes: 0 };
      const { items, bytes } = cutList(value, room, textWidth, " ".length);
      return { shown: quoteIfNeeded(`[${items.join(" ")}]`), bytes };
    }
  }
};

/** The types of values in JSON output. */
type JsonValue = string | number | boolean | readonly string[];

const jsonValue: Show<JsonValue> = (value, room) => {
  switch (typeof value) {
    case "string": {
      const { text, bytes } = cut(value, room, jsonWidth);
      return { shown: text.toWellFormed(), bytes };
    }
    case "number":
      return { shown: jsonNumber(value), bytes: 0 };
    case "boolean":
      return { shown: value, bytes: 0 };
    default: {
      if ("seconds" in value) return { shown: jsonNumber(value.seconds), bytes: 0 };
      const { items, bytes } = cutList(value, room, jsonWidth, '","'.length);
      return { shown: items.map((item) => item.toWellFormed()), bytes };
    }
  }
};

/** JSON cannot represent all numbers, and `null` would hide the value. */
function jsonNumber(value: number): number | string {
  return Number.isFinite(value) ? value : textNumber(value);
}

/** Integers as Go formats int64, others as `strconv.FormatFloat(value, 'g', -1, 64)` does. */
function textNumber(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value < 0 ? "-Inf" : "+Inf";
  if (Number.isSafeInteger(value)) return String(value);
  const [mantissa = "", exponent = "0"] = value.toExponential().split("e");
  const power = Number(exponent);
  // Go uses an exponent from 1e+06 on, because the shortest form counts as precision 6.
  if (power >= -4 && power < 6) return String(value);
  const digits = String(Math.abs(power)).padStart(2, "0");
  return `${mantissa}e${power < 0 ? "-" : "+"}${digits}`;
}

/**
 * The number of bytes that a character takes in a line. The character is never a lone surrogate.
 */
type Width = (char: string) => number;

/** In quoted text. Unquoted characters are never longer. */
function textWidth(char: string): number {
  return isPlain(char) ? utf8Length(char) : escapeForText(char).length;
}

/** In a JSON string. */
function jsonWidth(char: string): number {
  if (isPlain(char)) return utf8Length(char);
  const code = char.codePointAt(0) ?? 0;
  if (char === '"' || char === "\\" || JSON_SHORT.includes(char)) return 2;
  return code < 0x10000 ? 6 : 12;
}

/** Control characters for which `JSON.stringify` has short escapes. */
const JSON_SHORT = "\b\t\n\f\r";

/** Whether the character is printed unescaped. */
function isPlain(char: string): boolean {
  return PLAIN.test(char);
}

const PLAIN = /^[[\p{L}\p{M}\p{N}\p{P}\p{S} ]--["\\]]$/v;

/** A fast path for common values: one byte per character in either format. */
const SIMPLE = /^[ !#-\[\]-~]*$/;

/** The length in UTF-8. */
function utf8Length(char: string): number {
  const code = char.codePointAt(0) ?? 0;
  if (code < 0x80) return 1;
  if (code < 0x800) return 2;
  return code < 0x10000 ? 3 : 4;
}

/** A possibly truncated text; `bytes` is the printed length of the original part. */
type Cut = { readonly text: string; readonly bytes: number };

/**
 * `text`, or as much of it as fits into `room` printed bytes, plus a note of its full length. Cuts
 * only between characters, so no escape is split. The cost does not depend on the length of the
 * rest.
 */
function cut(text: string, room: number, width: Width): Cut {
  if (text.length <= room && SIMPLE.test(text)) return { text, bytes: text.length };
  let bytes = 0;
  let end = 0;
  // Each UTF-16 unit takes at least one byte.
  for (const char of text.slice(0, room + 2).toWellFormed()) {
    const more = width(char);
    if (bytes + more > room) break;
    bytes += more;
    end += char.length;
  }
  if (end >= text.length) return { text, bytes };
  return { text: `${text.slice(0, end)}...(cut, ${text.length} characters)`, bytes };
}

/** As many of `items` as fit, at least one. The last item says how many are missing. */
function cutList(
  items: readonly string[],
  room: number,
  width: Width,
  between: number,
): { readonly items: readonly string[]; readonly bytes: number } {
  const kept: string[] = [];
  let bytes = 0;
  for (const item of items) {
    const one = cut(item, room, width);
    const more = one.bytes + (kept.length > 0 ? between : 0);
    if (kept.length > 0 && bytes + more > room) {
      kept.push(`...(${items.length - kept.length} more)`);
      break;
    }
    kept.push(one.text);
    bytes += more;
  }
  return { items: kept, bytes };
}

function escapeForText(char: string): string {
  const short = SHORT_ESCAPES.get(char);
  if (short !== undefined) return short;
  const code = char.codePointAt(0) ?? 0;
  if (code < 0x20 || code === 0x7f) return `\\x${hex(code, 2)}`;
  return code < 0x10000 ? `\\u${hex(code, 4)}` : `\\U${hex(code, 8)}`;
}

/** JSON escapes are UTF-16 units, so a character outside the BMP takes two. */
function escapeForJson(char: string): string {
  let out = "";
  for (let i = 0; i < char.length; i++) out += `\\u${hex(char.charCodeAt(i), 4)}`;
  return out;
}

function hex(code: number, width: number): string {
  return code.toString(16).padStart(width, "0");
}
