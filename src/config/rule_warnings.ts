/**
 * Warns about rules that are unlikely to match: in the syntax of another program, in the wrong
 * list, or with invisible characters. A deny rule of this kind denies no peer.
 *
 * These are not errors, because a certificate may contain any text.
 *
 * @module
 */

import { type Dimension, type Rule, ruleKey, type TextDimension } from "../acl/rule.ts";
import { parseIp } from "../util/ip.ts";
import { quote } from "../util/text.ts";

/** The warnings about each rule. */
export function ruleWarnings(
  rules: readonly Rule[],
): readonly { readonly key: string; readonly message: string }[] {
  return rules.flatMap((rule) => {
    const fault = faultOf(rule);
    if (fault === undefined) return [];
    const effect = rule.side === "deny" ? "it keeps nobody out then" : "it lets nobody in then";
    return [{
      key: ruleKey(rule),
      message: `${quote(rule.text)} can hardly match, and ${effect}: ${fault}`,
    }];
  });
}

function faultOf({ side, dimension, text }: Rule): string | undefined {
  const list = (other: Dimension): string => `${side}_${other}`;
  switch (dimension) {
    case "cn":
    case "org":
    case "ou":
      return textFault(dimension, text, list);
    case "uri":
      return /^spiffe:\/\/[^/]*\/?$/.test(text)
        ? `the SPIFFE ID of a workload has a path: write "${
          text.replace(/\/$/, "")
        }/**" for all of ` +
          "the trust domain"
        : undefined;
    // Texts that cannot be valid here are errors already.
    case "dns":
    case "ip":
    case "spki":
      return undefined;
    default:
      return dimension satisfies never;
  }
}

/** Names of attributes in the text form of a subject. */
const ATTRIBUTES: ReadonlyMap<string, TextDimension> = new Map([
  ["CN", "cn"],
  ["COMMONNAME", "cn"],
  ["O", "org"],
  ["ORGANIZATIONNAME", "org"],
  ["OU", "ou"],
  ["ORGANIZATIONALUNITNAME", "ou"],
]);

/** Prefixes that OpenSSL prints before names of the SAN. */
const SAN_LABELS: ReadonlyMap<string, Dimension> = new Map([
  ["DNS", "dns"],
  ["IP", "ip"],
  ["IP ADDRESS", "ip"],
  ["URI", "uri"],
]);

/** One attribute and its value at the start of a subject in text form: `CN=web`, `/O=Acme`. */
const ATTRIBUTE = /^\/?\s*([A-Za-z]{1,22}|\d+(?:\.\d+)+)\s*=\s*(.*)$/s;

function textFault(
  dimension: TextDimension,
  text: string,
  list: (other: Dimension) => string,
): string | undefined {
  const trimmed = text.trim();
  if (trimmed !== text) {
    return `it has white space around it, which counts: write ${quote(trimmed)}`;
  }
  if (/[\p{Cf}\p{Default_Ignorable_Code_Point}]|(?! )\p{Zs}/u.test(text)) {
    return "it holds characters that are not seen or are no plain space: type it anew";
  }
  const [, , quoted] = /^(["'])(.*)\1$/s.exec(text) ?? [];
  if (quoted !== undefined) {
    return `the quotes are part of it: write ${quote(quoted)}, quoted once`;
  }
  const subject = subjectFault(dimension, text, list);
  if (subject !== undefined) return subject;
  const [, label = "", name = ""] = /^([A-Za-z ]{2,10}):\s*(\S.*)$/s.exec(text) ?? [];
  const san = SAN_LABELS.get(label.toUpperCase());
  if (san !== undefined) {
    return `this is a name of the SAN, not of the subject: write ${quote(name)} under ${list(san)}`;
  }
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) {
    return `a URI is a name of the SAN, not of the subject: write it under ${list("uri")}`;
  }
  if (/^sha256:/i.test(text) || /^([0-9a-f]{2}:){15,}[0-9a-f]{2}$/i.test(text)) {
    return `a fingerprint is no name: write that of the public key under ${list("spki")}, as ` +
      "sha256:BASE64";
  }
  return patternFault(dimension, text, list);
}

/** Detects a whole subject, or a value that includes the attribute's name. */
function subjectFault(
  dimension: TextDimension,
  text: string,
  list: (other: Dimension) => string,
): string | undefined {
  if (!ATTRIBUTE.test(text)) return undefined;
  const slashes = text.startsWith("/");
  const parts = text.split(slashes ? /\/(?=[A-Za-z]+=)/ : /(?<!\\)[,+](?=\s*[A-Za-z]+\s*=)/)
    .flatMap((part): readonly { of: TextDimension | undefined; value: string }[] => {
      const [, name = "", value = ""] = ATTRIBUTE.exec(part.trim()) ?? [];
      return name === "" ? [] : [{ of: ATTRIBUTES.get(name.toUpperCase()), value: value.trim() }];
    });
  // "a=b" without a known attribute may be a real name.
  if (parts.every(({ of }) => of === undefined)) return undefined;
  const fitting = parts.find(({ of }) => of === dimension);
  const [first] = parts.filter(({ of }) => of !== undefined);
  const to = fitting ?? first;
  if (to?.of === undefined) return undefined;
  return "a rule is compared with the value of one attribute, without its name: write " +
    quote(to.value) + (to.of === dimension ? "" : ` under ${list(to.of)}`);
}

/** Detects the pattern and list syntax of other programs. */
function patternFault(
  dimension: TextDimension,
  text: string,
  list: (other: Dimension) => string,
): string | undefined {
  if (/^\*+$/.test(text)) {
    return "a star is a character like any other here: to let in every valid certificate, leave all " +
      "allow rules out";
  }
  if (/^\^|\.[*+]|\\[.dw]|\[[^\]]*-[^\]]*\]/.test(text)) {
    return "a rule is no regular expression: write each name by itself";
  }
  if (text.includes("*")) {
    return dimension === "cn" && /^\*\.[\w.-]+$/.test(text)
      ? `a star is a character like any other here: write names of hosts under ${list("dns")}, ` +
        "where it stands for one label"
      : "a star is a character like any other here: write each name by itself";
  }
  const items = text.split(/[,;|]/);
  if (items.length > 1 && items.every((item) => /^\S+$/.test(item))) {
    return `it is one name with a ${quote(/[,;|]/.exec(text)?.[0] ?? "")} in it: write a list, [${
      items.map((item) => quote(item)).join(", ")
    }]`;
  }
  if (dimension !== "cn" && parseIp(text) !== undefined) {
    return `an address is a name of the SAN, not of the subject: write it under ${list("ip")}`;
  }
  return undefined;
}
