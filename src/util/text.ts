/**
 * Text from outside: what parsing it results in, and how to show it on one line without letting it
 * change how the line reads.
 *
 * @module
 */

/** A parsed value, or the reason for rejecting it, which completes `Cannot use "...": `. */
export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly reason: string };

/**
 * Characters that could break a line or change how it reads: control, format (bidi, zero width),
 * private, unassigned and surrogate code points, line separators, and spaces other than U+0020.
 */
const UNSAFE = /\p{C}|\p{Zl}|\p{Zp}|(?! )\p{Zs}|\p{Default_Ignorable_Code_Point}/gu;

function escapeCodePoint(char: string): string {
  const hex = (char.codePointAt(0) ?? 0).toString(16);
  return hex.length > 4 ? `\\u{${hex}}` : `\\u${hex.padStart(4, "0")}`;
}

/**
 * Replaces every character that is not plainly visible with a `\u` escape; the result is one line.
 */
export function escapeText(text: string): string {
  return text.replace(UNSAFE, escapeCodePoint);
}

/**
 * At most `limit` code points of the text, escaped and in double quotes; `...` marks a truncated
 * text.
 */
export function quote(text: string, limit = 60): string {
  // `limit` code points fit into twice as many code units, so there is no need to split the whole
  // text.
  const points = [...text.slice(0, 2 * limit + 2)];
  const kept = points.slice(0, limit).join("").replace(/["\\]/g, "\\$&");
  return `"${escapeText(kept)}"${points.length > limit ? "..." : ""}`;
}

/** The words as a choice, each one quoted: `"a", "b" or "c"`. */
export function either(words: readonly string[]): string {
  const quoted = words.map((word) => quote(word));
  const last = quoted.pop() ?? "";
  return quoted.length === 0 ? last : `${quoted.join(", ")} or ${last}`;
}
