/**
 * The own chain as a server sends it.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { Material } from "../certstore/material.ts";
import type { Certificate } from "../x509/certificate.ts";

/**
 * The chain of `tls.cert`, PEM, completed by the intermediates that only the bundle has: peers that
 * know the root alone need them. The root itself is not sent (RFC 8446 section 4.4.2).
 */
export function completeChain(
  { certPem, chain, anchors }: Pick<Material, "certPem" | "chain" | "anchors">,
): string {
  let pem = certPem;
  const complete = [...chain];
  for (let last = complete.at(-1); last !== undefined; last = complete.at(-1)) {
    const issuer = issuerOf(last, anchors);
    if (isSelfIssued(last) || issuer === undefined || isSelfIssued(issuer)) break;
    if (complete.some(({ der }) => Buffer.compare(der, issuer.der) === 0)) break;
    pem += `${pem.endsWith("\n") ? "" : "\n"}${pemOf(issuer.der)}`;
    complete.push(issuer);
  }
  return pem;
}

function issuerOf(
  { issuer }: Certificate,
  anchors: readonly Certificate[],
): Certificate | undefined {
  return anchors.find(({ subject }) => subject.key === issuer.key);
}

function isSelfIssued({ subject, issuer }: Certificate): boolean {
  return subject.key === issuer.key;
}

function pemOf(der: Uint8Array): string {
  const lines = Buffer.from(der).toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}
