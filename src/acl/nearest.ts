/**
 * Finds the allow rule that came closest to matching a denied peer. Most denials come from a typo
 * in the rule or in the certificate.
 *
 * The work is bounded, whatever the peer presents and however many rules there are: only the
 * beginning of long values is compared, only the first values of each dimension are considered, and
 * only the few most similar pairs are compared in full.
 *
 * @module
 */

import { editDistance } from "../util/suggest.ts";
import type { PeerIdentity } from "../identity.ts";
import type { NearMiss } from "./decision.ts";
import type { Dimension, Rule } from "./rule.ts";
import { textFault } from "./text.ts";
import { uriFault } from "./uri.ts";
import { shownIn } from "./view.ts";

/** UTF-16 units of a value that are compared. */
const MAX_LENGTH = 96;
/** Values that are considered in each dimension. */
const MAX_VALUES = 16;
/** Pairs of a rule and a value that are considered, and pairs that are compared in full. */
const MAX_PAIRS = 16_384;
const MAX_COMPARED = 8;
/** UTF-16 units of a value that are reported. */
const MAX_SHOWN = 200;

/** A value and its index among the values of its dimension. */
type Shown = {
  readonly dimension: Dimension;
  readonly place: number;
  readonly value: string;
  readonly folded: string;
};

type Pair = { readonly rule: Rule; readonly shown: Shown; readonly likeness: number };

/**
 * Removes differences that are hard to see: character width, composition, case, surrounding blanks.
 */
function fold(text: string): string {
  const folded = text.slice(0, MAX_LENGTH).normalize("NFKC").toLowerCase().trim();
  // Normalization can make a text longer.
  return folded.slice(0, MAX_LENGTH);
}

/**
 * A cheap similarity from 0 to 1: the share of the longer text that is a common prefix or suffix.
 */
function likeness(a: string, b: string): number {
  const shorter = Math.min(a.length, b.length);
  const longer = Math.max(a.length, b.length);
  if (longer === 0) return 0;
  let front = 0;
  while (front < shorter && a[front] === b[front]) front++;
  let back = 0;
  while (back < shorter - front && a.at(-1 - back) === b.at(-1 - back)) back++;
  return (front + back) / longer;
}

function cut(text: string): string {
  return text.length <= MAX_SHOWN ? text : `${text.slice(0, MAX_SHOWN)}...`.toWellFormed();
}

function shownBy(peer: PeerIdentity, dimension: Dimension): readonly Shown[] {
  return shownIn(dimension, peer).slice(0, MAX_VALUES).map((value, place) => ({
    dimension,
    place,
    value,
    folded: fold(value),
  }));
}

/** Why no rule matches the value as it stands or, failing that, why this rule does not. */
function why(rule: Rule, { dimension, place, value }: Shown, peer: PeerIdentity): string {
  if (dimension !== rule.dimension) {
    return `the peer shows it as ${dimension}, not as ${rule.dimension}`;
  }
  const attribute = { cn: peer.commonNames, org: peer.organizations, ou: peer.organizationalUnits };
  const { pattern } = rule;
  switch (pattern.kind) {
    case "text": {
      if (pattern.of === "cn" && peer.commonNames.length > 1) {
        return "a subject with several CNs matches no allow_cn";
      }
      const subject = attribute[pattern.of][place];
      return (subject && textFault(subject)) ?? difference(rule.text, value);
    }
    case "dns":
      if (value.includes("*")) return "a wildcard in a certificate is not a name of the peer";
      return pattern.wildcard ? "the star stands for one label" : "it is another name";
    case "ip":
      return pattern.bits === pattern.bytes.length * 8
        ? "it is another address"
        : "it is not in that network";
    case "uri": {
      const fault = uriFault(value);
      if (fault !== undefined) return fault.why;
      return value.endsWith("/") && !pattern.slash ? "it ends in a slash" : "it is another URI";
    }
    case "spki":
      return "it is another key";
    // deno-coverage-ignore -- the compiler knows that nothing else comes here
    default:
      return pattern satisfies never;
  }
}

function difference(wanted: string, shown: string): string {
  if (shown.trim() === wanted.trim()) return "spaces differ";
  if (shown.toLowerCase() === wanted.toLowerCase()) return "upper and lower case differ";
  if (shown.normalize("NFKC") === wanted.normalize("NFKC")) return "it only looks the same";
  return "it is another value";
}

/** Dimensions that are often confused with one another. */
const CONFUSED: readonly Dimension[] = ["cn", "org", "ou", "dns"];

/** The most similar pairs, best first. */
function likeliest(rules: readonly Rule[], peer: PeerIdentity): readonly Pair[] {
  const shown = new Map<Dimension, readonly Shown[]>();
  const inDimension = (dimension: Dimension): readonly Shown[] => {
    const known = shown.get(dimension) ?? shownBy(peer, dimension);
    shown.set(dimension, known);
    return known;
  };
  const elsewhere = new Map(
    CONFUSED.flatMap(inDimension).map((one) => [one.value, one] as const).toReversed(),
  );
  const best: Pair[] = [];
  const offer = (pair: Pair): void => {
    const last = best[MAX_COMPARED - 1];
    if (last !== undefined && last.likeness >= pair.likeness) return;
    const at = best.findIndex((other) => other.likeness < pair.likeness);
    best.splice(at === -1 ? best.length : at, 0, pair);
    if (best.length > MAX_COMPARED) best.pop();
  };
  let pairs = 0;
  for (const rule of rules) {
    const wanted = fold(rule.text);
    const other = CONFUSED.includes(rule.dimension) ? elsewhere.get(rule.text) : undefined;
    if (other !== undefined && other.dimension !== rule.dimension) {
      offer({ rule, shown: other, likeness: 1 });
    }
    for (const one of inDimension(rule.dimension)) {
      if (pairs++ >= MAX_PAIRS) return best;
      offer({ rule, shown: one, likeness: likeness(wanted, one.folded) });
    }
  }
  return best;
}

/** The number of edits between a rule and a value. */
function distanceOf({ rule, shown }: Pair): number {
  const beyond = (text: string): number => Math.max(0, text.length - MAX_LENGTH);
  // A difference that folding removes counts less than one letter.
  const slip = rule.text === shown.value ? 0 : 0.5;
  return editDistance(fold(rule.text), shown.folded) + slip +
    Math.abs(beyond(rule.text) - beyond(shown.value));
}

/** The nearest allow rule; `undefined` if no value has at least half in common with a rule. */
export function nearestRule(rules: readonly Rule[], peer: PeerIdentity): NearMiss | undefined {
  let best: { readonly pair: Pair; readonly distance: number } | undefined;
  for (const pair of likeliest(rules, peer)) {
    const length = Math.max(pair.shown.value.length, pair.rule.text.length);
    const distance = distanceOf(pair);
    if (distance < length / 2 && (best === undefined || distance < best.distance)) {
      best = { pair, distance };
    }
  }
  if (best === undefined) return undefined;
  const { rule, shown } = best.pair;
  return { rule, shown: cut(shown.value), why: why(rule, shown, peer) };
}
