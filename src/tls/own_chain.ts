/**
 * The own chain as a server sends it.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { Material } from "../certstore/material.ts";
import type { Certificate } from "../x509/certificate.ts";
import { verifySignature } from "./signature.ts";

/** At most this many certificates are sent; peers take no longer path. */
const MAX_SENT = 8;

/**
 * The chain of `tls.cert`, PEM, completed by what only `tls.intermediates` or the bundle has: peers
 * that know the root alone need it. The root itself is not sent (RFC 8446 section 4.4.2).
 */
export function completeChain(
  { certPem, chain, anchors, intermediates }: Pick<
    Material,
    "certPem" | "chain" | "anchors" | "intermediates"
  >,
): string {
  let pem = certPem;
  for (const added of missing(chain, [...intermediates, ...anchors])) {
    pem += `${pem.endsWith("\n") ? "" : "\n"}${pemOf(added.der)}`;
  }
  return pem;
}

/** What of `known` leads on from the end of the chain, without the root. */
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

/** Whether `issuer` signed `subject`; where the algorithm is not known here, by the names alone. */
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
