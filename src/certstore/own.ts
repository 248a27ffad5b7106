/**
 * The own certificate chain and its private key. The chain is the leaf first, then certificates
 * that each signed an earlier one; the key is PKCS#8, SEC1 or PKCS#1 in PEM, and becomes PKCS#8.
 *
 * @module
 */

import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { verifySignature } from "../tls/signature.ts";
import { describeUnsupported } from "../x509/algorithms.ts";
import type { Certificate } from "../x509/certificate.ts";
import { formatTime, type Listed, readCertificates, validity } from "./certificates.ts";
import type { FileReport } from "./findings.ts";
import {
  describeNotPem,
  describeWrongBlocks,
  formatPem,
  isKeyLabel,
  parsePem,
  shellWord,
} from "./pem.ts";

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
  for (const { certificate, title } of rest) {
    const state = validity(certificate, now);
    if (state === "valid") continue;
    report.warn(
      state === "expired"
        ? `${title} expired at ${
          formatTime(certificate.notAfter)
        }: most peers refuse the chain; renew it`
        : `${title} is valid from ${
          formatTime(certificate.notBefore)
        }: peers refuse the chain until then`,
    );
  }
  return chain;
}

function checkLeaf(
  { certificate, title }: Listed,
  now: number,
  report: FileReport,
  early: (notYet: NotYet) => void,
): void {
  const { publicKey, signatureAlgorithm, extendedKeyUsage: usages } = certificate;
  switch (validity(certificate, now)) {
    case "expired":
      report.error(`${title} expired at ${formatTime(certificate.notAfter)}; renew it`);
      break;
    case "early":
      report.error(
        `${title} is valid from ${formatTime(certificate.notBefore)} and now it is ` +
          `${formatTime(now)}; wait, or set the clock right`,
      );
      early({ validFrom: certificate.notBefore });
      break;
  }
  if (publicKey.kind === "unsupported") {
    report.error(`${title} is for ${publicKey.what}; issue one for a P-256 key`);
  } else if (publicKey.kind === "rsa" && publicKey.bits < 2048) {
    report.error(`${title} is for an RSA key of ${publicKey.bits} bits; issue one for a P-256 key`);
  }
  if (signatureAlgorithm.kind === "unsupported") {
    report.warn(
      `${title} is signed with ${describeUnsupported(signatureAlgorithm)}: mtlsd and many others ` +
        "refuse it",
    );
  }
  if (certificate.keyUsage?.digitalSignature === false) {
    report.warn(`${title} is not for signatures (key usage): mtlsd and many others refuse it`);
  }
  if (usages !== undefined && !usages.includes(EKU_SERVER) && !usages.includes(EKU_CLIENT)) {
    report.warn(`${title} is not for TLS (extended key usage): peers refuse it`);
  }
  const unknown = certificate.unknownCritical.find((oid) => oid !== CRL_DISTRIBUTION_POINTS);
  const unreadable = certificate.tlsCannotRead ??
    (unknown === undefined ? undefined : `a critical extension ${unknown}`);
  if (unreadable !== undefined) {
    report.error(
      `${title} has ${unreadable}, which the TLS engine cannot read: no handshake would succeed; ` +
        "issue one without",
    );
  } else if (certificate.unknownCritical.length > 0) {
    report.warn(
      `${title} has a critical extension ${CRL_DISTRIBUTION_POINTS} that mtlsd does not process: ` +
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
  for (const [i, { certificate, title }] of chain.entries()) {
    if (i === 0) continue;
    const before = chain.slice(0, i);
    if (before.some((other) => sameBytes(other.certificate.der, certificate.der))) {
      report.warn(`${title} stands there twice; peers get both`);
      continue;
    }
    if (before.some((other) => signed(certificate, other.certificate))) continue;
    const later = chain.slice(i + 1).find((other) => signed(certificate, other.certificate));
    if (later === undefined) {
      report.warn(`${title} signed no other of the file, peers get it for nothing; take it out`);
    } else {
      report.error(
        `${title} stands before ${later.title}, which it signed; ` +
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
    keyReport.error(
      `it does not belong to the ${leaf.title} of tls.cert; name the key made for it`,
    );
  } else {
    certReport.error(`the key belongs to ${own.title}, not to the first one; put that one first`);
  }
}

/** Whether two arrays hold the same bytes. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** A private key that TLS can use. */
export type OwnKey = {
  /** PKCS#8, PEM. */
  readonly pem: string;
  /** SubjectPublicKeyInfo of the public key, DER. */
  readonly spki: Uint8Array;
};

const MIN_RSA_BITS = 2048;
const MAX_RSA_BITS = 8192;
const NEW_KEY = "make a P-256 key (openssl genpkey -algorithm EC -pkeyopt " +
  "ec_paramgen_curve:P-256 -out NEW.pem) and a certificate for it";

/** The OID of prime fields, which occurs only in EC keys with explicit curve parameters. */
const PRIME_FIELD = "06072a8648ce3d0101";

/**
 * Reads the private key of a file. Returns `undefined`, and reports an error, if it is not usable.
 */
export function readOwnKey(bytes: Uint8Array, report: FileReport): OwnKey | undefined {
  const blocks = parsePem(new TextDecoder().decode(bytes));
  const keys = blocks.filter(({ label }) => isKeyLabel(label));
  const [block, ...others] = keys;
  if (block === undefined) {
    report.error(
      blocks.length === 0
        ? describeNotPem(bytes, report.path, "private key")
        : describeWrongBlocks(blocks, report.path, "private key"),
    );
    return undefined;
  }
  if (others.length > 0) {
    const lines = keys.map(({ line }) => line).join(", ");
    report.error(
      `it holds ${keys.length} private keys (lines ${lines}); keep that of the certificate`,
    );
    return undefined;
  }
  if (block.kind === "encrypted" || block.label === "ENCRYPTED PRIVATE KEY") {
    report.error(
      "its private key is encrypted, and there is no way to ask for the passphrase; decrypt it: " +
        `openssl pkey -in ${shellWord(report.path)} -out NEW.pem`,
    );
    return undefined;
  }
  if (block.label === "OPENSSH PRIVATE KEY") {
    report.error(
      "its private key is in OpenSSH's own format; convert a copy of it " +
        "(ssh-keygen -p -m PKCS8 -f COPY) or make a new one",
    );
    return undefined;
  }
  if (block.kind === "broken") {
    report.error(`its private key (line ${block.line}) is damaged: ${block.fault}; copy it again`);
    return undefined;
  }
  return usable(block.label, block.der, report);
}

function usable(label: string, der: Uint8Array, report: FileReport): OwnKey | undefined {
  let key: KeyObject;
  try {
    key = createPrivateKey(formatPem(label, der));
  } catch {
    // The library's error message is not included because it may quote the key.
    report.error(unreadable(label, der));
    return undefined;
  }
  const fault = keyFault(key);
  if (fault !== undefined) {
    report.error(`it is ${fault}, which the TLS engine cannot use; ${NEW_KEY}`);
    return undefined;
  }
  try {
    const pkcs8 = key.export({ type: "pkcs8", format: "der" });
    const spki = createPublicKey(key).export({ type: "spki", format: "der" });
    return { pem: formatPem("PRIVATE KEY", pkcs8), spki };
  } catch {
    // As above.
    report.error(unreadable(label, der));
    return undefined;
  }
}

function unreadable(label: string, der: Uint8Array): string {
  if (label === "DSA PRIVATE KEY") {
    return `it is a DSA key, which the TLS engine cannot use; ${NEW_KEY}`;
  }
  return der.toHex().includes(PRIME_FIELD)
    ? `its EC key spells its curve out, which the TLS engine cannot use; ${NEW_KEY}`
    : `its "${label}" block holds no private key that can be read; export the key again as PKCS#8`;
}

/** Why a key cannot be used; `undefined` if it can. */
function keyFault(key: KeyObject): string | undefined {
  const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case "ed25519":
      return undefined;
    case "ec":
      return namedCurve === "prime256v1" || namedCurve === "secp384r1"
        ? undefined
        : `an EC key on the curve ${namedCurve ?? "?"}`;
    case "rsa":
      return modulusLength >= MIN_RSA_BITS && modulusLength <= MAX_RSA_BITS
        ? undefined
        : `an RSA key of ${modulusLength} bits (${MIN_RSA_BITS} to ${MAX_RSA_BITS} work)`;
    case "rsa-pss":
      return "an RSA key for RSASSA-PSS only";
    default:
      return `a key of type ${key.asymmetricKeyType ?? "?"}`;
  }
}
