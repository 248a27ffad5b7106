/**
 * CN, O and OU: exactly the decoded string for allow rules, whatever it may be taken for for deny
 * rules.
 *
 * @module
 */

import type { SubjectValue } from "../identity.ts";
import type { ParsedRule, TextDimension } from "./rule.ts";

/** C0, DEL, C1, and the character that stands for what has no text. */
const CONTROL = /[\p{Cc}\ufffd]/u;

/** A rule: any text that a certificate can show. */
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

/** Why no allow rule matches the value, whatever it says; `undefined` where one may. */
export function textFault({ text }: SubjectValue): string | undefined {
  if (text === undefined) {
    return "its string type, or a byte in it, has no meaning that all agree on";
  }
  return CONTROL.test(text) ? "it holds a control character" : undefined;
}

/** What an allow rule is compared with. */
export function textKey(value: SubjectValue): string | undefined {
  return textFault(value) === undefined ? value.text : undefined;
}

/** Bytes that were read as characters of their own, read as UTF-8. */
function asUtf8(guess: string): string {
  if (/[\u0100-\uffff]/.test(guess)) return guess;
  const bytes = new Uint8Array(guess.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = guess.charCodeAt(i);
  return new TextDecoder().decode(bytes);
}

/** Everything that a lax reader may take the value for. */
export function textReadings({ text, guess }: SubjectValue): readonly string[] {
  const read = text === undefined ? [guess, asUtf8(guess)] : [text];
  const cut = read.flatMap((one) => [one, one.replace(/\0.*$/s, "")]);
  const all = cut.flatMap((one) => [one, one.replace(/[\p{Cc}\p{Cf}\ufffd]+/gu, "")]);
  return [...new Set(all)];
}
