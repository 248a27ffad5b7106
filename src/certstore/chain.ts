/**
 * The own certificate chain: the leaf first, then certificates that each signed an earlier one.
 *
 * @module
 */

import { verifySignature } from "../tls/signature.ts";
import { describeUnsupported } from "../x509/algorithms.ts";
import type { Certificate } from "../x509/certificate.ts";
import { formatTime, type Listed, readCertificates, validity } from "./certificates.ts";
import type { FileReport } from "./findings.ts";
import type { OwnKey } from "./key.ts";

/** The extended key usage of TLS servers. */
export const EKU_SERVER = "1.3.6.1.5.5.7.3.1";
/** The extended key usage of TLS clients. */
export const EKU_CLIENT = "1.3.6.1.5.5.7.3.2";

/** The own certificate is not valid yet; `validFrom` is in milliseconds since the epoch. */
export type NotYet = { readonly validFrom: number };

/** The only critical extension that the TLS stack understands but mtlsd does not process. */
const CRL_DISTRIBUTION_POINTS = "2.5.29.31";

/**
 * Reads the own chain and checks each certificate by itself. A fault that only some peers reject
 * (an expired intermediate, where a peer may know another path) is a warning. A leaf that is not
 * valid yet is an error and is also passed to `early`.
 */
export function readOwnChain(
  bytes: Uint8Array,
  now: number,
  report: FileReport,
  early: (notYet: NotYet) => void,
): readonly Listed[] | undefined {
  const chain = readCertificates(bytes, report)?.listed;
  const [leaf, ...rest] = chain ?? [];
  if (chain === undefined || leaf === undefined) return undefined;
  checkLeaf(leaf, now, report, early);
  for (const { certificate, who } of rest) {
    const state = validity(certificate, now);
    if (state === "valid") continue;
    report.warn(
      state === "expired"
        ? `${who} expired at ${
          formatTime(certificate.notAfter)
        }: most peers refuse the chain; renew it`
        : `${who} is valid from ${
          formatTime(certificate.notBefore)
        }: peers refuse the chain until then`,
    );
  }
  return chain;
}

function checkLeaf(
  { certificate, who }: Listed,
  now: number,
  report: FileReport,
  early: (notYet: NotYet) => void,
): void {
  const { publicKey, signatureAlgorithm, extendedKeyUsage: usages } = certificate;
  switch (validity(certificate, now)) {
    case "expired":
      report.error(`${who} expired at ${formatTime(certificate.notAfter)}; renew it`);
      break;
    case "early":
      report.error(
        `${who} is valid from ${formatTime(certificate.notBefore)} and now it is ` +
          `${formatTime(now)}; wait, or set the clock right`,
      );
      early({ validFrom: certificate.notBefore });
      break;
  }
  if (publicKey.kind === "unsupported") {
    report.error(`${who} is for ${publicKey.what}; issue one for a P-256 key`);
  } else if (publicKey.kind === "rsa" && publicKey.bits < 2048) {
    report.error(`${who} is for an RSA key of ${publicKey.bits} bits; issue one for a P-256 key`);
  }
  if (signatureAlgorithm.kind === "unsupported") {
    report.warn(
      `${who} is signed with ${describeUnsupported(signatureAlgorithm)}: mtlsd and many others ` +
        "refuse it",
    );
  }
  if (certificate.keyUsage?.digitalSignature === false) {
    report.warn(`${who} is not for signatures (key usage): mtlsd and many others refuse it`);
  }
  if (usages !== undefined && !usages.includes(EKU_SERVER) && !usages.includes(EKU_CLIENT)) {
    report.warn(`${who} is not for TLS (extended key usage): peers refuse it`);
  }
  const unknown = certificate.unknownCritical.find((oid) => oid !== CRL_DISTRIBUTION_POINTS);
  const unreadable = certificate.engineCannotRead ??
    (unknown === undefined ? undefined : `a critical extension ${unknown}`);
  if (unreadable !== undefined) {
    report.error(
      `${who} has ${unreadable}, which the TLS engine cannot read: no handshake would succeed; ` +
        "issue one without",
    );
  } else if (certificate.unknownCritical.length > 0) {
    report.warn(
      `${who} has a critical extension ${CRL_DISTRIBUTION_POINTS} that mtlsd does not process: ` +
        "mtlsd and many others refuse it",
    );
  }
}

/**
 * Whether `issuer` signed `subject`. If the signature algorithm is unsupported, only names are
 * compared.
 */
function signed(issuer: Certificate, subject: Certificate): boolean {
  const { signatureAlgorithm, tbs, signature } = subject;
  return issuer.subject.key === subject.issuer.key &&
    (signatureAlgorithm.kind === "unsupported" ||
      verifySignature(signatureAlgorithm, issuer.publicKey, tbs, signature));
}

/** Maximum length of the own chain; peers do not accept longer ones anyway. */
const MAX_CHAIN = 16;

/**
 * Checks the order behind the leaf. With cross-signed certificates the chain can fork, so each
 * certificate must have signed any earlier one, not necessarily the one right before it.
 */
export function checkOrder(chain: readonly Listed[], report: FileReport): void {
  if (chain.length > MAX_CHAIN) {
    report.error(
      `it holds ${chain.length} certificates, which are all shown to each peer; ` +
        "keep the own certificate and its intermediates",
    );
    return;
  }
  for (const [i, { certificate, who }] of chain.entries()) {
    if (i === 0) continue;
    const before = chain.slice(0, i);
    if (before.some((other) => sameBytes(other.certificate.der, certificate.der))) {
      report.warn(`${who} stands there twice; peers get both`);
      continue;
    }
    if (before.some((other) => signed(certificate, other.certificate))) continue;
    const later = chain.slice(i + 1).find((other) => signed(certificate, other.certificate));
    if (later === undefined) {
      report.warn(`${who} signed no other of the file, peers get it for nothing; take it out`);
    } else {
      report.error(
        `${who} stands before ${later.who}, which it signed; ` +
          "put the own certificate first and each signer behind what it signed",
      );
    }
  }
}

/**
 * Checks that the first certificate belongs to the key. The error is reported for the file that has
 * to change.
 */
export function checkPair(
  chain: readonly Listed[],
  key: OwnKey,
  certReport: FileReport,
  keyReport: FileReport,
): void {
  const [leaf] = chain;
  if (leaf === undefined || sameBytes(leaf.certificate.publicKey.der, key.spki)) return;
  const own = chain.find(({ certificate }) => sameBytes(certificate.publicKey.der, key.spki));
  if (own === undefined) {
    keyReport.error(`it does not belong to the ${leaf.who} of tls.cert; name the key made for it`);
  } else {
    certReport.error(`the key belongs to ${own.who}, not to the first one; put that one first`);
  }
}

/** Whether two arrays hold the same bytes. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
