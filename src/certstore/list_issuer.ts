/**
 * Finds the issuer of a revocation list: a CA of the bundle, or an intermediate below one.
 *
 * @module
 */

import { verifySignature } from "../tls/signature.ts";
import { describeUnsupported, fits, weakKey } from "../x509/algorithms.ts";
import type { Certificate } from "../x509/certificate.ts";
import type { CertificateList } from "../x509/crl.ts";
import { formatName } from "../x509/names.ts";
import { describeDifference, lookalike } from "../x509/lookalike.ts";
import { validatePath } from "../x509/path.ts";
import { describeRefusal } from "../x509/refusal.ts";
import { quoteText } from "./findings.ts";
import type { LeftOut } from "../tls/credentials.ts";

/** The certificates that may have issued a list. */
export type ListIssuers = {
  /** The bundle. */
  readonly anchors: readonly Certificate[];
  /** The certificates of the bundle that were left out. */
  readonly leftOut: readonly LeftOut[];
  /**
   * The intermediates of `tls.intermediates` and of the own chain. Each may sign lists if the
   * bundle verifies it, with the help of the others.
   */
  readonly helpers: readonly Certificate[];
};

/** The CA that signed a list, or a clause that says what is wrong with the list. */
export type FoundIssuer =
  | { readonly ok: true; readonly issuer: Certificate }
  | { readonly ok: false; readonly fault: string };

/**
 * Finds the CA that has the issuer name of the list, may sign lists, and whose key verifies it (RFC
 * 5280 sections 4.2.1.3 and 6.3.3). If several CAs have the name, each is tried.
 *
 * @param now milliseconds since the epoch.
 */
export function findListIssuer(
  list: CertificateList,
  { anchors, leftOut, helpers }: ListIssuers,
  now: number,
): FoundIssuer {
  const { signatureAlgorithm: algorithm, tbs, signature } = list;
  if (algorithm.kind === "unsupported") {
    return refuse(
      `is signed with ${describeUnsupported(algorithm)}`,
    );
  }
  const namesakes = [...anchors, ...helpers].filter(({ subject }) =>
    subject.key === list.issuer.key
  );
  if (namesakes.length === 0) {
    const unable = leftOut.find(({ name }) => name === list.issuer.key);
    if (unable !== undefined) {
      return refuse(`is of a CA that is left out of tls.ca: ${unable.fault}`);
    }
    for (const [where, known] of [["tls.ca", anchors], ["the intermediates", helpers]] as const) {
      const like = lookalike(list.issuer, known);
      if (like === undefined) continue;
      return refuse(
        `is of an issuer whose name looks like that of a CA of ${where} but is written in other ` +
          `bytes: ${
            describeDifference(list.issuer, like.subject)
          }; issue one of the two anew with ` +
          "the name as the other has it",
      );
    }
    return refuse(
      `is of an unknown issuer: ${quoteText(formatName(list.issuer))} is no CA of tls.ca and no ` +
        "intermediate of tls.intermediates or tls.cert; put the certificate of that CA into " +
        "tls.intermediates",
    );
  }
  const signers = namesakes.filter(({ publicKey }) =>
    fits(algorithm, publicKey) && verifySignature(algorithm, publicKey, tbs, signature)
  );
  let fault: string | undefined;
  for (const issuer of signers) {
    const why = unfit(issuer) ??
      (anchors.includes(issuer)
        ? undefined
        : unverified(issuer, helpers, { anchors, leftOut }, now));
    if (why === undefined) return { ok: true, issuer };
    fault ??= `is signed by certificate ${quoteText(formatName(issuer.subject))}, ${why}`;
  }
  return refuse(
    fault ?? "has a bad signature: it was changed, or another CA of that name signed it; " +
        "fetch it again",
  );
}

function refuse(fault: string): FoundIssuer {
  return { ok: false, fault };
}

/** Why a certificate may not sign lists; `undefined` if it may. */
function unfit({ basicConstraints, keyUsage, publicKey }: Certificate): string | undefined {
  const weak = weakKey(publicKey);
  if (weak !== undefined) return `which has ${weak}`;
  if (basicConstraints?.ca !== true) return "which is no CA (basic constraints)";
  return keyUsage?.cRLSign === false ? "which may not sign lists (key usage)" : undefined;
}

/** Why the bundle does not verify an intermediate; `undefined` if it does. */
function unverified(
  issuer: Certificate,
  helpers: readonly Certificate[],
  { anchors, leftOut }: Pick<ListIssuers, "anchors" | "leftOut">,
  now: number,
): string | undefined {
  const readable = [issuer, ...helpers.filter((helper) => helper !== issuer)];
  const verdict = validatePath(readable, { anchors, purpose: "issuer", now, verifySignature });
  if (verdict.ok) return undefined;
  const shown = { presented: [issuer.der], readable: [issuer] };
  const why = describeRefusal(verdict, shown, { anchors, intermediates: helpers, leftOut });
  return `which the CAs of tls.ca do not verify: ${why}; put what leads from it to one of ` +
    "them into tls.intermediates, or take the list out";
}
