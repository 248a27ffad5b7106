/**
 * The decision on a peer as one value: what it is based on, what the peer presented, and which rule
 * nearly matched. The log line, the metrics and `explain` all read this value, so they cannot
 * disagree.
 *
 * @module
 */

import { formatRule, type Rule } from "./rule.ts";

/** The allow rule that came closest to matching, to help find out why a peer was denied. */
export type NearMiss = {
  readonly rule: Rule;
  /** The value that the peer presented, verbatim; truncated if it is long. */
  readonly shown: string;
  /** Why the rule does not match it. */
  readonly why: string;
};

/** What a verdict is based on. */
export type Basis =
  /** A rule matched a value that the peer presented. */
  | { readonly kind: "rule"; readonly rule: Rule; readonly shown: string }
  /** There are no allow rules, and no deny rule matched. */
  | { readonly kind: "open" }
  /** There are allow rules, and none matched. */
  | { readonly kind: "no_match"; readonly nearest: NearMiss | undefined }
  /** The peer presented no certificate, and none is required. */
  | { readonly kind: "anonymous" }
  /** The peer presented no certificate, and there are allow rules. */
  | { readonly kind: "anonymous_denied" };

/** What the rules say, independent of what is done about it (see `acl.mode`). */
export type Verdict = { readonly allowed: boolean; readonly basis: Basis };

/**
 * The basis as a short text for log lines. It can contain text from the peer: escape it for
 * display.
 */
export function formatBasis(basis: Basis): string {
  switch (basis.kind) {
    case "rule":
      return formatRule(basis.rule);
    case "open":
      return "no allow rules";
    case "no_match":
      return "no allow rule matches";
    case "anonymous":
      return "no certificate shown, none needed";
    case "anonymous_denied":
      return "no certificate shown, and there are allow rules";
    // deno-coverage-ignore -- the compiler knows that nothing else comes here
    default:
      return basis satisfies never;
  }
}

/** The nearest miss as a sentence; `undefined` if there is none. Contains text from the peer. */
export function formatNearest(basis: Basis): string | undefined {
  if (basis.kind !== "no_match" || basis.nearest === undefined) return undefined;
  const { rule, shown, why } = basis.nearest;
  return `${formatRule(rule)} is not ${JSON.stringify(shown)}: ${why}`;
}
