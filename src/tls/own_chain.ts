/**
 * The chain of our own certificate, as a server sends it.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { Credentials } from "./credentials.ts";
import type { Certificate } from "../x509/certificate.ts";
import { verifySignature } from "./signature.ts";

/** Maximum number of certificates to send; peers accept no longer path. */
const MAX_SENT = 8;

/**
 * The chain of `tls.cert`, PEM, completed from `tls.intermediates` and the bundle: peers that know
 * only the root need the intermediates. The root itself is not sent (RFC 8446 section 4.4.2).
 */
export function completeChain(
  { certPem, chain, anchors, intermediates }: Pick<
    Credentials,
    "certPem" | "chain" | "anchors" | "intermediates"
  >,
): string {
  let pem = certPem;
  for (const added of missing(chain, [...intermediates, ...anchors])) {
    pem += `${pem.endsWith("\n") ? "" : "\n"}${pemOf(added.der)}`;
  }
  return pem;
}

/** The certificates of `known` that continue the chain, without the root. */
export function missing(
  chain: readonly Certificate[],
  known: readonly Certificate[],
): readonly Certificate[] {
  const complete = [...chain];
  while (complete.length < MAX_SENT) {
    const last = complete.at(-1);
    const issuer = last && known.find((candidate) => signed(candidate, last));
    if (last === undefined || isSelfIssued(last) || !issuer || isSelfIssued(issuer)) break;
    if (complete.some(({ der }) => Buffer.compare(der, issuer.der) === 0)) break;
    complete.push(issuer);
  }
  return complete.slice(chain.length);
}

/** Whether `issuer` signed `subject`. With an unsupported algorithm the names decide. */
function signed(issuer: Certificate, subject: Certificate): boolean {
  const { signatureAlgorithm: algorithm, tbs, signature } = subject;
  return issuer.subject.key === subject.issuer.key &&
    (algorithm.kind === "unsupported" ||
      verifySignature(algorithm, issuer.publicKey, tbs, signature));
}

function isSelfIssued({ subject, issuer }: Certificate): boolean {
  return subject.key === issuer.key;
}

function pemOf(der: Uint8Array): string {
  const lines = Buffer.from(der).toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}
