/**
 * The decision on a peer as one value: what decided, what the peer showed, what nearly matched. The
 * log line, the metrics and `explain` all read this, so they cannot disagree.
 *
 * @module
 */

import { formatRule, type Rule } from "./rule.ts";

/** An allow rule that came close, for the people who wonder why. */
export type NearMiss = {
  readonly rule: Rule;
  /** What the peer showed, in its own words; the beginning of it if it is long. */
  readonly shown: string;
  /** Why it does not match. */
  readonly why: string;
};

/** What a verdict rests on. */
export type Basis =
  /** A rule matched what the peer showed. */
  | { readonly kind: "rule"; readonly rule: Rule; readonly shown: string }
  /** There are no allow rules, and no deny rule matched. */
  | { readonly kind: "open" }
  /** There are allow rules, and none matched. */
  | { readonly kind: "no_match"; readonly nearest: NearMiss | undefined }
  /** The peer showed no certificate, and that is fine. */
  | { readonly kind: "anonymous" }
  /** The peer showed no certificate, and there are allow rules. */
  | { readonly kind: "anonymous_denied" };

/** What the rules say, whatever is done about it. */
export type Verdict = { readonly allowed: boolean; readonly basis: Basis };

/** Why, in a form that fits a log line. Holds the peer's words: escape it where it is shown. */
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

/** The near miss in words; `undefined` where there is none. */
export function formatNearest(basis: Basis): string | undefined {
  if (basis.kind !== "no_match" || basis.nearest === undefined) return undefined;
  const { rule, shown, why } = basis.nearest;
  return `${formatRule(rule)} is not ${JSON.stringify(shown)}: ${why}`;
}
