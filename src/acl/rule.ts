/**
 * Access control rules: the texts in the config, parsed into patterns of plain data. Patterns that
 * can never match are rejected, so that no rule in a config is without effect.
 *
 * @module
 */

import { type DnsPattern, parseDnsRule } from "./dns.ts";
import { type IpPattern, parseIpRule } from "./ip.ts";
import { parseSpkiRule } from "./spki.ts";
import { parseTextRule } from "./text.ts";
import { parseUriRule, type UriPattern } from "./uri.ts";

/** The certificate fields that rules can check, in the order in which they are tried. */
export const DIMENSIONS = ["cn", "org", "ou", "dns", "ip", "uri", "spki"] as const;

/** One of {@linkcode DIMENSIONS}. */
export type Dimension = typeof DIMENSIONS[number];

/** The dimensions that are attributes of the subject. */
export type TextDimension = "cn" | "org" | "ou";

/** Whether a rule allows or denies. */
export const SIDES = ["allow", "deny"] as const;

/** One of {@linkcode SIDES}. */
export type Side = typeof SIDES[number];

/** What a rule is compared with. Plain data, so that it can be passed to another thread. */
export type Pattern =
  /** CN, O or OU: the decoded string, compared exactly. */
  | { readonly kind: "text"; readonly of: TextDimension; readonly value: string }
  /** DNS SAN: in lower case, without a trailing dot. */
  | ({ readonly kind: "dns" } & DnsPattern)
  /** IP SAN. */
  | ({ readonly kind: "ip" } & IpPattern)
  /** URI SAN. */
  | ({ readonly kind: "uri" } & UriPattern)
  /** SHA-256 of the public key (SubjectPublicKeyInfo), base64. */
  | { readonly kind: "spki"; readonly sha256: string };

/** One rule of the config. */
export type Rule = {
  /** The config block that the rule is in, if that is not `acl`. */
  readonly block?: "upstream_acl";
  readonly side: Side;
  readonly dimension: Dimension;
  /** The rule as written in the config. */
  readonly text: string;
  readonly pattern: Pattern;
};

/**
 * The `acl` block: rules for peer certificates. Without any rule, every valid certificate is
 * allowed.
 */
export type AclConfig = {
  /**
   * Allow rules, OR'd across all dimensions. Empty: every peer that no deny rule matches is
   * allowed.
   */
  readonly allow: readonly Rule[];
  /** Deny rules, which take precedence over allow rules. Empty: no peer is denied by a rule. */
  readonly deny: readonly Rule[];
  /**
   * `audit` admits every peer with a valid certificate, and logs which ones `enforce` would deny.
   */
  readonly mode: AclMode;
  /** Whether a peer without a certificate is allowed even if there are allow rules. */
  readonly allowAnonymous: boolean;
};

/** Whether denials are enforced or only logged. */
export const ACL_MODES = ["enforce", "audit"] as const;

/** One of {@linkcode ACL_MODES}. */
export type AclMode = typeof ACL_MODES[number];

/** A parsed pattern, or the reason for rejecting it, which completes `Cannot use "...": `. */
export type ParsedRule =
  | { readonly ok: true; readonly value: Pattern }
  | { readonly ok: false; readonly reason: string };

/**
 * The config key of the rule: `acl.allow_cn`, or `upstream_acl.allow_cn` for the upstream of a
 * bridge.
 */
export function ruleKey(
  { block, side, dimension }: Pick<Rule, "block" | "side" | "dimension">,
): string {
  return `${block ?? "acl"}.${side}_${dimension}`;
}

/** The rule for display: `acl.allow_cn: frontend`. */
export function formatRule(rule: Rule): string {
  return `${ruleKey(rule)}: ${rule.text}`;
}

/** Parses one entry of a rule list in the config. */
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
