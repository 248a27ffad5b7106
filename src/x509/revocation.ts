/**
 * Who is revoked: verified lists, and the look-up of each certificate of a path (RFC 5280 section
 * 6.3, with complete lists).
 *
 * A list is about the certificates that its signer's name and key have signed, not about everything
 * under that name: two CAs of one name do not mix. Where there are several lists of one signer all of
 * them count, so that an older list that was left behind can keep somebody out and never let anybody
 * in. A certificate whose issuer has no list is not revoked.
 *
 * @module
 */

import type { Certificate, PublicKey } from "./certificate.ts";
import type { Steps } from "./path.ts";

/** A revocation list whose signature holds. Times are milliseconds since the epoch. */
export type RevocationList = {
  /** The certificate of the CA that signed it. */
  readonly issuer: Certificate;
  readonly thisUpdate: number;
  /** From then on the next list is due and this one too old. */
  readonly nextUpdate: number;
  /** The CRL number, lower-case hex; `undefined` where it has none. */
  readonly number: string | undefined;
  /** Where its issuing distribution point says that it is published; `undefined` without a name. */
  readonly distributionPoint: string | undefined;
  /** Serial numbers as {@linkcode Certificate.serial} has them. */
  readonly serials: ReadonlySet<string>;
  /** How many entries it has. */
  readonly entries: number;
};

/** All lists that are in force. Plain data: it can be posted to a Worker. */
export type Revocation = {
  readonly lists: readonly RevocationList[];
  /** The same by the issuer's name ({@linkcode Name.key}). */
  readonly byIssuer: ReadonlyMap<string, readonly RevocationList[]>;
};

/** Without any list: nobody is revoked. */
export const NO_REVOCATION: Revocation = Object.freeze({ lists: [], byIssuer: new Map() });

/** Puts verified lists in force together. */
export function revocationOf(lists: readonly RevocationList[]): Revocation {
  const byIssuer = Map.groupBy(lists, ({ issuer }) => issuer.subject.key);
  return Object.freeze({ lists: Object.freeze([...lists]), byIssuer });
}

/** When the first of the lists is due to be renewed, milliseconds since the epoch; if there is one. */
export function earliestUpdate({ lists }: Revocation): number | undefined {
  return lists.length === 0 ? undefined : Math.min(...lists.map(({ nextUpdate }) => nextUpdate));
}

/** Whether two keys are the same. */
export function sameKey(a: PublicKey, b: PublicKey): boolean {
  return a.der.length === b.der.length && a.der.every((byte, i) => byte === b.der[i]);
}

/**
 * The first certificate of a path, leaf first and anchor last, that a list names.
 *
 * The anchor is looked up like the others, unlike in RFC 5280: bundles hold intermediates, and own
 * certificates of peers, and that such a one is revoked must not depend on where it stands. The path
 * does not hold its issuer; the list's issuer is it if its key verifies the certificate. Where that
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

/** Whether `issuer` signed `certificate`; taken to be so where the algorithm is not known here. */
function* maybeSigned(certificate: Certificate, { publicKey }: Certificate): Steps<boolean> {
  return certificate.signatureAlgorithm.kind === "unsupported" ||
    (yield { subject: certificate, key: publicKey });
}
