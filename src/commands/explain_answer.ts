/**
 * Formats the answer of `explain`.
 *
 * @module
 */

import type { Decision } from "../acl/mod.ts";
import { type Basis, formatBasis } from "../acl/decision.ts";
import { DIMENSIONS, formatRule, ruleKey } from "../acl/rule.ts";
import { dnsName } from "../acl/dns.ts";
import { textFault } from "../acl/text.ts";
import { uriFault } from "../acl/uri.ts";
import { shownIn } from "../acl/view.ts";
import { formatTime, renewAsV3 } from "../certstore/certificates.ts";
import type { TlsConfig } from "../config/config.ts";
import { quote } from "../util/text.ts";
import { identityOf, type PeerIdentity } from "../identity.ts";
import type { PeerRole } from "../proxy/tls_contexts.ts";
import { spkiSha256 } from "../tls/signature.ts";
import type { VerificationResult } from "../tls/peer_verifier.ts";
import type { Certificate } from "../x509/certificate.ts";

const DAY = 86_400_000;
/** Certificates that expire within this number of days get a note. */
const SOON = 30;
/** Characters of a value that are shown; legitimate names are shorter. */
const MAX_SHOWN = 200;

/** What the daemon would do with the peer. */
export type Outcome =
  /** The chain is missing or does not verify: the handshake fails. */
  | {
    readonly kind: "refused";
    readonly result: Extract<VerificationResult, { ok: false }>;
    readonly leaf: Certificate | undefined;
  }
  /** The rules were evaluated. */
  | {
    readonly kind: "decided";
    readonly decision: Decision;
    readonly certificate: Certificate | undefined;
    readonly chain: readonly Uint8Array[];
    readonly identity: PeerIdentity | undefined;
    readonly validUntil: number | undefined;
  };

/** The side that the peer connects to, and its role. */
export type AskedSide = { readonly tls: TlsConfig; readonly role: PeerRole };

/** The answer, line by line. Values come from the peer and are not escaped yet. */
export function describe(side: AskedSide, outcome: Outcome, now: number): readonly string[] {
  if (outcome.kind === "refused") {
    const { result: { reason, detail }, leaf } = outcome;
    return [
      "verdict: denied",
      `chain: ${reason}: ${detail}`,
      ...(detail.includes("X.509 v1 ") ? [`fix: ${renewAsV3()}`] : []),
      ...(leaf === undefined
        ? []
        : describeLeaf(leaf, identityOf(leaf, spkiSha256(leaf.publicKey)))),
      "decided by: the chain; the rules are not asked",
      ...(leaf === undefined ? [] : notes(side, leaf, now)),
    ];
  }
  const { decision, certificate, identity, validUntil, chain } = outcome;
  const { basis } = decision.verdict;
  const lines = [verdictLine(decision)];
  if (certificate === undefined || identity === undefined || validUntil === undefined) {
    lines.push(
      side.tls.clientAuth === "none"
        ? "chain: none is asked for"
        : "chain: none is shown, and none is required",
    );
  } else {
    const shown = chain.length === 1 ? "1 certificate" : `${chain.length} certificates`;
    lines.push(
      `chain: holds until ${formatTime(validUntil)} (${days(validUntil, now)}), ${shown} shown`,
    );
    lines.push(...describeLeaf(certificate, identity));
  }
  lines.push(`decided by: ${decidedBy(basis)}`);
  if (basis.kind === "rule") lines.push(`shown: ${quote(basis.shown, MAX_SHOWN)}`);
  if (basis.kind === "no_match" && basis.nearest !== undefined) {
    const { rule, shown, why } = basis.nearest;
    lines.push(
      `nearest: ${ruleKey(rule)}: ${quote(rule.text, MAX_SHOWN)} is not ` +
        `${quote(shown, MAX_SHOWN)}: ${why}`,
    );
  }
  if (certificate !== undefined) lines.push(...notes(side, certificate, now));
  return lines;
}

function verdictLine(decision: Decision): string {
  if (!decision.admit) return "verdict: denied";
  return decision.wouldDeny ? "verdict: would be denied (audit)" : "verdict: allowed";
}

function decidedBy(basis: Basis): string {
  // A rule is shown in full, so that it can be searched for in the config.
  return basis.kind === "rule" ? formatRule(basis.rule) : formatBasis(basis);
}

/** All values that rules can match; dimensions without values are left out. */
function describeLeaf(leaf: Certificate, identity: PeerIdentity): readonly string[] {
  return [
    `subject: ${quote(identity.subject, MAX_SHOWN)}`,
    `issuer: ${quote(identity.issuer, MAX_SHOWN)}`,
    `serial: ${identity.serial}`,
    `valid: ${formatTime(leaf.notBefore)} to ${formatTime(leaf.notAfter)}`,
    ...DIMENSIONS.flatMap((dimension) =>
      shownIn(dimension, identity).map((value) => `${dimension}: ${quote(value, MAX_SHOWN)}`)
    ),
  ];
}

/** Notes about values that no rule can match, and about certificates that are soon to expire. */
function notes({ role }: AskedSide, leaf: Certificate, now: number): readonly string[] {
  const identity = identityOf(leaf, spkiSha256(leaf.publicKey));
  const found: string[] = [];
  if (leaf.notAfter >= now && leaf.notAfter < now + SOON * DAY) {
    found.push(
      `the certificate expires at ${formatTime(leaf.notAfter)} (${days(leaf.notAfter, now)})`,
    );
  }
  if (identity.commonNames.length > 1) {
    found.push("a subject with several CNs matches no allow_cn, and every deny_cn looks at each");
  }
  const subject = [
    ...identity.commonNames,
    ...identity.organizations,
    ...identity.organizationalUnits,
  ];
  for (const value of subject) {
    const fault = textFault(value);
    if (fault !== undefined) found.push(noMatch(value.guess, fault));
  }
  for (const name of identity.dnsNames) {
    if (dnsName(name) !== undefined) continue;
    found.push(
      noMatch(name, name.includes("*") ? "a wildcard is not a name" : "it is no DNS name"),
    );
  }
  for (const uri of identity.uris) {
    const fault = uriFault(uri);
    if (fault !== undefined) found.push(noMatch(uri, fault.why));
  }
  if (role.purpose === "server") {
    found.push(`the server must carry the name ${quote(role.serverName)}`);
  }
  return found.map((note) => `note: ${note}`);
}

function noMatch(value: string, why: string): string {
  return `${quote(value, MAX_SHOWN)} matches no allow rule: ${why}`;
}

function days(until: number, now: number): string {
  const left = Math.floor((until - now) / DAY);
  return left === 1 ? "1 day left" : `${left} days left`;
}
