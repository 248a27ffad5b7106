/**
 * Revocation: verified lists, and the look-up of each certificate of a path (RFC 5280 section 6.3,
 * with complete lists).
 *
 * A list covers the certificates signed by its signer's name and key, not everything under that
 * name: two CAs of one name are kept apart. Several lists of one signer all apply, so an outdated
 * list that was left in place can only refuse peers, never admit one. A certificate whose issuer
 * has no list is not revoked.
 *
 * @module
 */

import type { Certificate, PublicKey } from "./certificate.ts";
import type { Steps } from "./path.ts";

/** A revocation list with a verified signature. Times are milliseconds since the epoch. */
export type RevocationList = {
  /** The certificate of the CA that signed it. */
  readonly issuer: Certificate;
  readonly thisUpdate: number;
  /** When the next list is due; from then on this one is too old. */
  readonly nextUpdate: number;
  /** The CRL number, lower-case hex; `undefined` where it has none. */
  readonly number: string | undefined;
  /**
   * Where the list is published, from its issuing distribution point; `undefined` without a name.
   */
  readonly distributionPoint: string | undefined;
  /** Serial numbers, formatted like {@linkcode Certificate.serial}. */
  readonly serials: ReadonlySet<string>;
  /** Number of entries. */
  readonly entries: number;
};

/** All lists in force. Plain data, so it can be posted to a Worker. */
export type Revocation = {
  readonly lists: readonly RevocationList[];
  /** The same lists by issuer's name ({@linkcode Name.key}). */
  readonly byIssuer: ReadonlyMap<string, readonly RevocationList[]>;
};

/** No lists: no certificate is revoked. */
export const NO_REVOCATION: Revocation = Object.freeze({ lists: [], byIssuer: new Map() });

/** Combines verified lists. */
export function revocationOf(lists: readonly RevocationList[]): Revocation {
  const byIssuer = Map.groupBy(lists, ({ issuer }) => issuer.subject.key);
  return Object.freeze({ lists: Object.freeze([...lists]), byIssuer });
}

/**
 * When the first of the lists is due for renewal, in milliseconds since the epoch; `undefined`
 * without lists.
 */
export function earliestUpdate({ lists }: Revocation): number | undefined {
  return lists.length === 0 ? undefined : Math.min(...lists.map(({ nextUpdate }) => nextUpdate));
}

/** Whether two keys are equal. */
export function sameKey(a: PublicKey, b: PublicKey): boolean {
  return a.der.length === b.der.length && a.der.every((byte, i) => byte === b.der[i]);
}

/**
 * Finds the first certificate of a path, leaf first and anchor last, that a list revokes.
 *
 * Unlike in RFC 5280 the anchor is checked too: bundles hold intermediates and peers' own
 * certificates, whose revocation must not depend on where they are. The path does not include the
 * anchor's issuer; the list's issuer counts as that if its key verifies the certificate. Where that
 * cannot be checked, the name decides.
 */
export function* findRevoked(
  path: readonly Certificate[],
  revocation: Revocation,
): Steps<Certificate | undefined> {
  for (const [i, certificate] of path.entries()) {
    const above = path[i + 1];
    for (const { issuer, serials } of revocation.byIssuer.get(certificate.issuer.key) ?? []) {
      if (!serials.has(certificate.serial)) continue;
      const named = above === undefined
        ? yield* maybeSigned(certificate, issuer)
        : sameKey(above.publicKey, issuer.publicKey);
      if (named) return certificate;
    }
  }
  return undefined;
}

/** Whether `issuer` signed `certificate`; assumed to be so where the algorithm is unsupported. */
function* maybeSigned(certificate: Certificate, { publicKey }: Certificate): Steps<boolean> {
  return certificate.signatureAlgorithm.kind === "unsupported" ||
    (yield { subject: certificate, key: publicKey });
}
