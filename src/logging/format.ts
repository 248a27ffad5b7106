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

/** A length of time. Text shows it as `1.234s`, JSON as a number of seconds. */
export type Duration = { readonly seconds: number };

/** A field's value. `undefined` leaves the field out. */
export type LogValue =
  | string
  | number
  | boolean
  | readonly string[]
  | Duration
  | undefined;

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

/**
 * How much of a line its values may take, in bytes as they are printed: UTF-8, after escaping, without
 * the quotes around them and the words that mark a cut.
 */
export type Bounds = {
  /** Of each value, the message included. */
  readonly value: number;
  /**
   * Of all values together. Where they would take more, the longest are cut further: a long name cannot
   * push out an address or a reason.
   */
  readonly line: number;
};

/** For lines that a peer has a part in: small, whatever the peer puts into them. */
export const PEER_BOUNDS: Bounds = { value: 400, line: 1600 };

/** For lines that only the daemon and its files have a part in. */
export const OWN_BOUNDS: Bounds = { value: 8192, line: 16_384 };

/** Bytes that every value may have, however full the line. */
const MIN_VALUE = 24;

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
export function formatText(entry: LogEntry, bounds: Bounds = OWN_BOUNDS): string {
  const { text: message } = cut(entry.message, bounds.value, textWidth);
  let line = `time=${new Date(entry.time).toISOString()} level=${LEVEL_NAMES[entry.level]}` +
    ` msg=${quoteIfNeeded(message)}`;
  for (const [key, shown] of fitted(entry.fields, bounds, textValue)) {
    line += ` ${quoteIfNeeded(key)}=${shown}`;
  }
  return line;
}

/** One JSON object (RFC 8259) with `time`, `level`, `msg` and the fields, without line end. */
export function formatJson(entry: LogEntry, bounds: Bounds = OWN_BOUNDS): string {
  const record: Record<string, JsonValue> = {
    time: new Date(entry.time).toISOString(),
    level: LEVEL_NAMES[entry.level],
    msg: cut(entry.message, bounds.value, jsonWidth).text.toWellFormed(),
  };
  for (const [key, shown] of fitted(entry.fields, bounds, jsonValue)) record[key] = shown;
  return JSON.stringify(record).replace(JSON_ESCAPED, escapeForJson);
}

/** What a value becomes in a line, and how many bytes of that are subject to a bound. */
type Shown<T> = { readonly shown: T; readonly bytes: number };

/** Shows a value in at most so many bytes. */
type Show<T> = (value: Exclude<LogValue, undefined>, room: number) => Shown<T>;

/** The fields, each value cut at the largest length that leaves the line within its bounds. */
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

/** The fields that are there, under names that leave the built-in ones alone. */
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

/** What JSON takes. */
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

/** JSON has no notation for some numbers, and `null` would hide what happened. */
function jsonNumber(value: number): number | string {
  return Number.isFinite(value) ? value : textNumber(value);
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

/** How many bytes a character takes in a line; it is no lone surrogate. */
type Width = (char: string) => number;

/** In text that is quoted; bare, none takes more. */
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

/** Controls that `JSON.stringify` has short escapes for. */
const JSON_SHORT = "\b\t\n\f\r";

/** Whether it is printed as it is. */
function isPlain(char: string): boolean {
  return PLAIN.test(char);
}

const PLAIN = /^[[\p{L}\p{M}\p{N}\p{P}\p{S} ]--["\\]]$/v;

/** What most values are: a byte for each character, whatever the format. */
const SIMPLE = /^[ !#-\[\]-~]*$/;

/** In UTF-8. */
function utf8Length(char: string): number {
  const code = char.codePointAt(0) ?? 0;
  if (code < 0x80) return 1;
  if (code < 0x800) return 2;
  return code < 0x10000 ? 3 : 4;
}

/** A text that was cut if need be; `bytes` of it are the peer's own, printed. */
type Cut = { readonly text: string; readonly bytes: number };

/**
 * `text`, or as much of it as fits into `room` bytes once it is printed, and how long it was. Whole
 * characters only, so that no escape is cut in two. The work does not grow with what is left out.
 */
function cut(text: string, room: number, width: Width): Cut {
  if (text.length <= room && SIMPLE.test(text)) return { text, bytes: text.length };
  let bytes = 0;
  let end = 0;
  // Each UTF-16 unit takes a byte at least.
  for (const char of text.slice(0, room + 2).toWellFormed()) {
    const more = width(char);
    if (bytes + more > room) break;
    bytes += more;
    end += char.length;
  }
  if (end >= text.length) return { text, bytes };
  return { text: `${text.slice(0, end)}...(cut, ${text.length} characters)`, bytes };
}

/** As many of `items` as fit, at least one; how many are missing is said in the last. */
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

/** JSON's escapes are UTF-16 units, so a character beyond the BMP takes two. */
function escapeForJson(char: string): string {
  let out = "";
  for (let i = 0; i < char.length; i++) out += `\\u${hex(char.charCodeAt(i), 4)}`;
  return out;
}

function hex(code: number, width: number): string {
  return code.toString(16).padStart(width, "0");
}
