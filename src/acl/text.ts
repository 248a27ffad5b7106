/**
 * CN, O and OU. Allow rules match exactly the decoded string, deny rules every way in which the
 * value can be read.
 *
 * @module
 */

import type { SubjectValue } from "../identity.ts";
import type { ParsedRule, TextDimension } from "./rule.ts";

/**
 * C0, DEL and C1 control characters, and the replacement character of a value that could not be
 * decoded.
 */
const CONTROL = /[\p{Cc}\ufffd]/u;

/** Parses a rule: any text that a certificate can contain. */
export function parseTextRule(of: TextDimension, text: string): ParsedRule {
  if (CONTROL.test(text)) {
    return {
      ok: false,
      reason: "a rule has no control characters or line ends: a name with one matches no allow " +
        "rule, and deny rules look through them",
    };
  }
  if (!text.isWellFormed()) {
    return {
      ok: false,
      reason: "it holds half a character, which no certificate can: write it out",
    };
  }
  return { ok: true, value: { kind: "text", of, value: text } };
}

/** Why no allow rule can match the value, whatever the rule; `undefined` if one can. */
export function textFault({ text }: SubjectValue): string | undefined {
  if (text === undefined) {
    return "its string type, or a byte in it, has no meaning that all agree on";
  }
  return CONTROL.test(text) ? "it holds a control character" : undefined;
}

/** The text that allow rules are compared with; `undefined` if none can match. */
export function textKey(value: SubjectValue): string | undefined {
  return textFault(value) === undefined ? value.text : undefined;
}

/** Undoes the decoding of UTF-8 bytes as Latin-1. */
function asUtf8(guess: string): string {
  if (/[\u0100-\uffff]/.test(guess)) return guess;
  const bytes = new Uint8Array(guess.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = guess.charCodeAt(i);
  return new TextDecoder().decode(bytes);
}

/** Every way in which a lenient parser may read the value. */
export function textReadings({ text, guess }: SubjectValue): readonly string[] {
  const read = text === undefined ? [guess, asUtf8(guess)] : [text];
  const cut = read.flatMap((one) => [one, one.replace(/\0.*$/s, "")]);
  const all = cut.flatMap((one) => [one, one.replace(/[\p{Cc}\p{Cf}\ufffd]+/gu, "")]);
  return [...new Set(all)];
}
