/**
 * Why no path was found from a certificate to a trusted CA, in words: how far it leads by names, what
 * stands there, and what would help. For messages only: nothing is let in by what is found here. Work is
 * linear in what is handed in.
 *
 * @module
 */

import type { Certificate, Name } from "./certificate.ts";
import { describeDifference, lookalike } from "./lookalike.ts";
import { formatName } from "./names.ts";

/** A certificate that was shown and cannot be read. */
export type Unread = {
  /** Its place in the chain, counted from 1, the peer's own. */
  readonly place: number;
  /** As far as it can be read. */
  readonly subject: Name | undefined;
  /** What is wrong, of "it". */
  readonly fault: string;
};

/** What was shown, and what is known here. */
export type Circumstances = {
  /** Those that were shown and can be read, the peer's own first. */
  readonly shown: readonly Certificate[];
  readonly unread: readonly Unread[];
  readonly anchors: readonly Certificate[];
  readonly intermediates: readonly Certificate[];
  /** Certificates of the bundle that cannot serve: their subjects' keys, and why. */
  readonly leftOut: readonly { readonly name: string | undefined; readonly fault: string }[];
};

/** Steps that are followed by names: a path has no more. */
const MAX_STEPS = 8;
/** At most this many certificates that cannot be read are named. */
const MAX_NAMED = 3;
/** Characters of a name, or of a reason, that are shown: more than any honest one has. */
const MAX_TEXT = 160;

function cut(text: string): string {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}...` : text;
}

/** The certificate at which the names end. */
function lastByNames(leaf: Certificate, others: readonly Certificate[]): Certificate {
  const bySubject = Map.groupBy(others, ({ subject }) => subject.key);
  const seen = new Set([leaf]);
  let last = leaf;
  for (let step = 0; step < MAX_STEPS; step++) {
    const next = bySubject.get(last.issuer.key)?.find((other) => !seen.has(other));
    if (next === undefined) break;
    seen.add(next);
    last = next;
  }
  return last;
}

/** What there is of the issuer at which the names end, and what would help. */
function issuerState(issuer: Name, circumstances: Circumstances): string {
  const { shown, unread, anchors, intermediates, leftOut } = circumstances;
  const unreadable = unread.find(({ subject }) => subject?.key === issuer.key);
  if (unreadable !== undefined) {
    return `it was shown as certificate ${unreadable.place} and cannot be used: ` +
      cut(unreadable.fault);
  }
  const unable = leftOut.find(({ name }) => name === issuer.key);
  if (unable !== undefined) return `the bundle has it and it is left out: ${cut(unable.fault)}`;
  if (anchors.some(({ subject }) => subject.key === issuer.key)) {
    return "the bundle has a CA of that name, and a signature on the way is of another key";
  }
  for (const [where, known] of [["the bundle has", anchors], ["there is", intermediates]] as const) {
    const like = lookalike(issuer, known);
    if (like === undefined) continue;
    return `${where} a CA whose name looks the same and is encoded otherwise: ` +
      `${describeDifference(issuer, like.subject)}; issue one of them anew with the name of the other`;
  }
  const like = lookalike(issuer, shown);
  if (like !== undefined) {
    return "a certificate was shown whose name looks the same and is encoded otherwise: " +
      `${describeDifference(issuer, like.subject)}; issue one of them anew with the name of the other`;
  }
  return "it is neither in the bundle nor among those shown";
}

/** Why the first of the certificates that were shown is not trusted. */
export function whyUntrusted(circumstances: Circumstances): string {
  const { shown: [leaf, ...others], unread, intermediates } = circumstances;
  if (leaf === undefined) return "no certificate was shown";
  const last = lastByNames(leaf, [...others, ...intermediates]);
  const by = last === leaf
    ? `its issuer is ${cut(formatName(leaf.issuer))}`
    : `its issuers lead to ${cut(formatName(last.subject))}, issued by ${
      cut(formatName(last.issuer))
    }`;
  const named = unread.filter(({ subject }) => subject?.key !== last.issuer.key);
  const dropped = named.slice(0, MAX_NAMED).map(({ place, subject, fault }) => {
    const whose = subject === undefined ? "" : ` (${cut(formatName(subject))})`;
    return `; not considered: certificate ${place}${whose}: ${cut(fault)}`;
  });
  return `no chain of valid signatures leads from ${cut(formatName(leaf.subject))} to a CA of ` +
    `the bundle; ${by}: ${issuerState(last.issuer, circumstances)}${dropped.join("")}` +
    (named.length > MAX_NAMED ? `; nor ${named.length - MAX_NAMED} more` : "");
}
