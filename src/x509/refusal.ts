/**
 * Explains why a chain was refused: which certificate is affected, what is wrong and how to fix it.
 * For messages only: the result never admits a peer. Linear in the size of what was shown.
 *
 * @module
 */

import { type Certificate, CertificateError, type Name } from "./certificate.ts";
import { describeDifference, lookalike } from "./lookalike.ts";
import { formatName } from "./names.ts";
import { parseCertificate, peekSubject } from "./parse.ts";
import type { PathResult } from "./path.ts";

/** What the daemon has itself, besides what the peer showed. */
export type Known = {
  readonly anchors: readonly Certificate[];
  readonly intermediates: readonly Certificate[];
  /** Certificates of the bundle that cannot be used: their subjects' keys, and why. */
  readonly leftOut: readonly { readonly name: string | undefined; readonly fault: string }[];
};

/** What a peer showed, and what of it can be parsed. */
export type Shown = {
  /** DER, the peer's own first. */
  readonly presented: readonly Uint8Array[];
  /** Those that can be parsed, the peer's own first. */
  readonly readable: readonly Certificate[];
};

/** A certificate that was shown and cannot be parsed. */
type Unread = {
  readonly place: number;
  readonly subject: Name | undefined;
  readonly fault: string;
};

/** Maximum number of steps to follow names; a path has no more. */
const MAX_STEPS = 8;
/** Maximum number of unreadable certificates to examine and name. */
const MAX_UNREAD = 8;
const MAX_NAMED = 3;
/** Maximum number of characters to show of a name or reason: more than genuine ones have. */
const MAX_TEXT = 160;

function cut(text: string): string {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}...` : text;
}

/**
 * Describes a refusal, with the position of the certificate or, where there is no path, the reason.
 */
export function describeRefusal(
  refusal: Extract<PathResult, { ok: false }>,
  shown: Shown,
  known: Known,
): string {
  if (refusal.fault === "untrusted") return whyUntrusted(shown, known);
  const { detail, certificate } = refusal;
  const place = certificate && placeOf(certificate, shown, known);
  return place === undefined ? detail : `${detail}; ${place}`;
}

/** Why a peer's own unreadable certificate is refused. */
export function describeUnreadable(der: Uint8Array, { message }: CertificateError): string {
  const subject = peekSubject(der);
  const whose = subject === undefined ? "" : ` (${cut(formatName(subject))})`;
  return `the peer's certificate${whose}: ${message}`;
}

function placeOf(certificate: Certificate, { presented }: Shown, known: Known): string | undefined {
  const index = presented.indexOf(certificate.der);
  if (index === 0) return presented.length === 1 ? undefined : "it is the peer's own";
  if (index > 0) return `it is certificate ${index + 1} of ${presented.length} shown`;
  if (known.anchors.includes(certificate)) return "it stands in the bundle";
  return known.intermediates.includes(certificate) ? "it stands in tls.intermediates" : undefined;
}

/** The unreadable certificates among those shown, up to a limit. */
function unreadOf({ presented, readable }: Shown): { unread: readonly Unread[]; more: number } {
  const read = new Set(readable.map(({ der }) => der));
  const all = [...presented.entries()].filter(([, der]) => !read.has(der));
  const unread = all.slice(0, MAX_UNREAD).map(([index, der]): Unread => ({
    place: index + 1,
    subject: peekSubject(der),
    fault: faultOf(der),
  }));
  return { unread, more: all.length - unread.length };
}

function faultOf(der: Uint8Array): string {
  try {
    parseCertificate(der);
  } catch (error) {
    if (error instanceof CertificateError) return error.message;
    throw error;
  }
  return "it was not looked at";
}

/** Follows issuer names to the last certificate of the chain. */
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

function whyUntrusted(shown: Shown, known: Known): string {
  const [leaf, ...others] = shown.readable;
  if (leaf === undefined) return "no certificate was shown";
  const last = lastByNames(leaf, [...others, ...known.intermediates]);
  const issuer = cut(formatName(last.issuer));
  const by = last === leaf
    ? `its issuer is ${issuer}`
    : `its issuers lead to ${cut(formatName(last.subject))}, whose issuer is ${issuer}`;
  const { unread, more } = unreadOf(shown);
  return `no chain of valid signatures leads from ${cut(formatName(leaf.subject))} to a CA of ` +
    `the bundle; ${by}, ${issuerState(last.issuer, shown, unread, known)}` +
    dropped(unread.filter(({ subject }) => subject?.key !== last.issuer.key), more);
}

/** Describes what is known about the issuer at which the names end. */
function issuerState(
  issuer: Name,
  { readable }: Shown,
  unread: readonly Unread[],
  { anchors, intermediates, leftOut }: Known,
): string {
  const unreadable = unread.find(({ subject }) => subject?.key === issuer.key);
  if (unreadable !== undefined) {
    return `which was shown as certificate ${unreadable.place} and cannot be used: ` +
      cut(unreadable.fault);
  }
  const unable = leftOut.find(({ name }) => name === issuer.key);
  if (unable !== undefined) return `which is left out of the bundle: ${cut(unable.fault)}`;
  if (anchors.some(({ subject }) => subject.key === issuer.key)) {
    return "and a CA of that name is in the bundle, but a signature on the way is of another key";
  }
  const places = [
    ["the bundle has a CA", anchors],
    ["tls.intermediates has a CA", intermediates],
    ["a certificate was shown", readable],
  ] as const;
  for (const [where, certificates] of places) {
    const like = lookalike(issuer, certificates);
    if (like === undefined) continue;
    return `and ${where} whose name looks the same but is written in other bytes: ` +
      `${describeDifference(issuer, like.subject)}; issue one of the two certificates anew with ` +
      "the name as the other has it";
  }
  return "which is neither in the bundle nor among those shown";
}

function dropped(unread: readonly Unread[], more: number): string {
  const named = unread.slice(0, MAX_NAMED).map(({ place, subject, fault }) => {
    const whose = subject === undefined ? "" : ` (${cut(formatName(subject))})`;
    return `; not considered: certificate ${place}${whose}: ${cut(fault)}`;
  });
  const rest = unread.length - named.length + more;
  return named.join("") + (rest === 0 ? "" : `; nor ${rest} more`);
}
