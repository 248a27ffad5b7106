/**
 * Certificate policies along a path (RFC 5280 section 6.1, updated by RFC 9618), with these inputs:
 * any policy is acceptable, and neither an explicit policy nor the inhibition of mappings or
 * any-policy is required initially. So policies refuse a path only where one of its CAs requires
 * them.
 *
 * RFC 5280 builds a tree, which a few kilobytes of certificates make exponential (CVE-2023-0464),
 * and RFC 9618 a graph. With the inputs above the only question is whether it is empty, and its
 * last level answers that: the policies that the next certificate may name. This module keeps only
 * that level, as a set. Time and memory are linear in the policies and mappings of the path, so no
 * limit is needed.
 *
 * In RFC 5280 a trust anchor is not part of the path. Its constraints on others apply nevertheless
 * (RFC 5937 section 3.2): policy constraints and inhibitAnyPolicy. Its own policies do not.
 *
 * @module
 */

import type { Certificate, PolicyExtensions } from "./certificate.ts";
import { formatName, isSelfIssued } from "./names.ts";

/** The OID 2.5.29.32.0 in the format of {@linkcode PolicyExtensions}. */
const ANY_POLICY = "551d2000";

/** The fields of a certificate that policy processing uses. */
export type PolicyCertificate = Pick<Certificate, "subject" | "issuer" | "policy">;

/** The counters of RFC 5280 section 6.1.2, (d) to (f): certificates until each takes effect. */
type Counters = { explicit: number; mapping: number; any: number };

/** RFC 5280 section 6.1.4, (h) to (j). */
function count(counters: Counters, certificate: PolicyCertificate): void {
  const { requireExplicitPolicy, inhibitPolicyMapping, inhibitAnyPolicy } = certificate.policy;
  const step = isSelfIssued(certificate) ? 0 : 1;
  const next = (counter: number, limit = Infinity): number =>
    Math.min(Math.max(counter - step, 0), limit);
  counters.explicit = next(counters.explicit, requireExplicitPolicy);
  counters.mapping = next(counters.mapping, inhibitPolicyMapping);
  counters.any = next(counters.any, inhibitAnyPolicy);
}

/** Section 6.1.3 (d) and (e): the expected policies that the certificate names. */
function validPolicies(
  expected: ReadonlySet<string>,
  policies: readonly string[] | undefined,
  takesAny: boolean,
): Set<string> {
  const named = policies ?? [];
  if (takesAny && named.includes(ANY_POLICY)) {
    // A certificate's any-policy stands for the policies that it does not name. If any-policy was
    // expected, it may name further ones.
    const others = expected.has(ANY_POLICY) ? named.filter((policy) => policy !== ANY_POLICY) : [];
    return new Set([...expected, ...others]);
  }
  return new Set(
    named.filter((policy) =>
      policy !== ANY_POLICY && (expected.has(policy) || expected.has(ANY_POLICY))
    ),
  );
}

/** Section 6.1.4 (b): the policies that the next certificate may name. */
function mapPolicies(
  valid: ReadonlySet<string>,
  mappings: PolicyExtensions["mappings"],
  allowed: boolean,
): Set<string> {
  const next = new Set(valid);
  for (const { issuer } of mappings) next.delete(issuer);
  if (!allowed) return next;
  for (const { issuer, subject } of mappings) {
    if (valid.has(issuer) || valid.has(ANY_POLICY)) next.add(subject);
  }
  return next;
}

/**
 * Why the policies of a path, leaf first and anchor last, refuse it; `undefined` when they do not.
 */
export function policyFault(path: readonly PolicyCertificate[]): string | undefined {
  const anchor = path.at(-1);
  const below = path.slice(0, -1).toReversed();
  if (anchor === undefined || below.length === 0) return undefined;
  const start = below.length + 1;
  const counters: Counters = { explicit: start, mapping: start, any: start };
  limitBy(counters, anchor);
  let expected = new Set([ANY_POLICY]);
  for (const [i, certificate] of below.entries()) {
    const { policies, mappings, requireExplicitPolicy } = certificate.policy;
    const last = i === below.length - 1;
    const takesAny = counters.any > 0 || (!last && isSelfIssued(certificate));
    const valid = validPolicies(expected, policies, takesAny);
    if (counters.explicit === 0 && valid.size === 0) return missing(certificate);
    if (last) {
      // Section 6.1.5 (a), (b) and (g).
      const explicit = requireExplicitPolicy === 0 || counters.explicit <= 1;
      return explicit && valid.size === 0 ? missing(certificate) : undefined;
    }
    if (mappings.some(({ issuer, subject }) => issuer === ANY_POLICY || subject === ANY_POLICY)) {
      return `certificate ${
        formatName(certificate.subject)
      } maps any-policy, which has no mapping ` +
        "(policy mappings)";
    }
    expected = mapPolicies(valid, mappings, counters.mapping > 0);
    count(counters, certificate);
  }
  return undefined;
}

function limitBy(counters: Counters, { policy }: PolicyCertificate): void {
  counters.explicit = Math.min(counters.explicit, policy.requireExplicitPolicy ?? Infinity);
  counters.mapping = Math.min(counters.mapping, policy.inhibitPolicyMapping ?? Infinity);
  counters.any = Math.min(counters.any, policy.inhibitAnyPolicy ?? Infinity);
}

function missing({ subject }: PolicyCertificate): string {
  const who = `certificate ${formatName(subject)}`;
  return `${who} names no certificate policy that all CAs above it allow, and one is required ` +
    "(policy constraints)";
}
