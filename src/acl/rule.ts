/**
 * Rules of access control: what the config says, parsed into patterns of plain data. A pattern that
 * can never match is refused here, so that no rule stands in a file to no effect.
 *
 * @module
 */

import { type DnsPattern, parseDnsRule } from "./dns.ts";
import { type IpPattern, parseIpRule } from "./ip.ts";
import { parseSpkiRule } from "./spki.ts";
import { parseTextRule } from "./text.ts";
import { parseUriRule, type UriPattern } from "./uri.ts";

/** What rules look at, in the order in which they are tried. */
export const DIMENSIONS = ["cn", "org", "ou", "dns", "ip", "uri", "spki"] as const;

/** One of {@linkcode DIMENSIONS}. */
export type Dimension = typeof DIMENSIONS[number];

/** The dimensions of the subject's attributes. */
export type TextDimension = "cn" | "org" | "ou";

/** Whether a rule lets in or keeps out. */
export const SIDES = ["allow", "deny"] as const;

/** One of {@linkcode SIDES}. */
export type Side = typeof SIDES[number];

/** What a rule is compared with. Plain data, so that it can be handed to another thread. */
export type Pattern =
  /** CN, O, OU: the decoded string, exactly. */
  | { readonly kind: "text"; readonly of: TextDimension; readonly value: string }
  /** DNS SAN: lower case, no final dot. */
  | ({ readonly kind: "dns" } & DnsPattern)
  /** IP SAN. */
  | ({ readonly kind: "ip" } & IpPattern)
  /** URI SAN. */
  | ({ readonly kind: "uri" } & UriPattern)
  /** SHA-256 of the public key (SubjectPublicKeyInfo), base64. */
  | { readonly kind: "spki"; readonly sha256: string };

/** One rule. */
export type Rule = {
  /** The block that it stands in, where that is not `acl`. */
  readonly block?: "upstream_acl";
  readonly side: Side;
  readonly dimension: Dimension;
  /** As the config has it. */
  readonly text: string;
  readonly pattern: Pattern;
};

/** A parsed value, or why there is none: `reason` completes `Cannot use "...": `. */
export type ParsedRule =
  | { readonly ok: true; readonly value: Pattern }
  | { readonly ok: false; readonly reason: string };

/** The rule's key in the config: `acl.allow_cn`, of a bridge's target `upstream_acl.allow_cn`. */
export function ruleKey(
  { block, side, dimension }: Pick<Rule, "block" | "side" | "dimension">,
): string {
  return `${block ?? "acl"}.${side}_${dimension}`;
}

/** The rule for people: `acl.allow_cn: frontend`. */
export function formatRule(rule: Rule): string {
  return `${ruleKey(rule)}: ${rule.text}`;
}

/** Parses what a list of the config holds. */
export function parseRule(dimension: Dimension, text: string): ParsedRule {
  if (text === "") return { ok: false, reason: "a rule must not be empty" };
  switch (dimension) {
    case "cn":
    case "org":
    case "ou":
      return parseTextRule(dimension, text);
    case "dns":
      return parseDnsRule(text);
    case "ip":
      return parseIpRule(text);
    case "uri": {
      const parsed = parseUriRule(text);
      return parsed.ok ? { ok: true, value: { kind: "uri", ...parsed.value } } : parsed;
    }
    case "spki":
      return parseSpkiRule(text);
    // deno-coverage-ignore -- the compiler knows that nothing else comes here
    default:
      return dimension satisfies never;
  }
}
