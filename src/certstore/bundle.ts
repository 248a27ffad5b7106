/**
 * The bundle of `tls.ca`: which CAs' peers are let in.
 *
 * @module
 */

import type { Certificate, CertificateError } from "../x509/certificate.ts";
import { formatTime, type Listed, readCertificates, validity } from "./certificates.ts";
import type { FileReport } from "./findings.ts";
import { isKeyLabel } from "./foreign.ts";

/** So many CAs work; the engine takes them all apart for each connection. */
export const MAX_CAS = 256;
/** From more than so many on the cost of a handshake is told. */
const MANY_CAS = 20;

/** A v1 certificate is not only old: see trap 4 in the TLS layer. */
function explain(error: CertificateError): string {
  return error.message.includes("X.509 v1 ")
    ? ". In a bundle it would let in whoever has a copy of it, without its key"
    : "";
}

/**
 * Reads the bundle, each certificate once. Entries that verify nobody are warnings: they are how
 * CAs are rolled over, and do no harm.
 *
 * `shared` says what else is meant to be in the same file: the private key, revocation lists.
 */
export function readBundle(
  bytes: Uint8Array,
  now: number,
  shared: { readonly key: boolean; readonly lists: boolean },
  report: FileReport,
): readonly Certificate[] | undefined {
  const file = readCertificates(bytes, report, explain);
  if (file === undefined) return undefined;
  let sound = true;
  for (const { label, line } of file.others) {
    if (label === "X509 CRL" && !shared.lists) {
      report.error(
        `its revocation list (line ${line}) would not be looked at; name the file in tls.crl too, ` +
          "or take the list out",
      );
      sound = false;
    } else if (isKeyLabel(label) && !shared.key) {
      report.warn(`a private key stands in it (line ${line}); keep keys out of what is passed on`);
    }
  }
  const seen = new Map<string, Listed>();
  for (const entry of file.listed) {
    const id = entry.certificate.der.toBase64();
    if (!seen.has(id)) seen.set(id, entry);
  }
  const anchors = [...seen.values()];
  if (anchors.length > MAX_CAS) {
    report.error(
      `it holds ${anchors.length} CAs and ${MAX_CAS} are the most; keep those that sign the peers`,
    );
    return undefined;
  }
  for (const anchor of anchors) checkAnchor(anchor, now, report);
  if (anchors.length > MANY_CAS) {
    report.warn(
      `it holds ${anchors.length} CAs: all of them are read anew with each handshake, and a server ` +
        "sends their names; keep those that sign the peers",
    );
  }
  return sound ? anchors.map(({ certificate }) => certificate) : undefined;
}

function checkAnchor({ certificate, who }: Listed, now: number, report: FileReport): void {
  switch (validity(certificate, now)) {
    case "expired":
      report.warn(`${who} expired at ${formatTime(certificate.notAfter)}: it verifies nobody`);
      return;
    case "early":
      report.warn(`${who} verifies nobody until ${formatTime(certificate.notBefore)}`);
      return;
  }
  const useless = uselessness(certificate);
  if (useless !== undefined) {
    report.warn(`${who} ${useless}: it verifies nobody`);
  } else if (certificate.basicConstraints?.ca !== true) {
    report.warn(`${who} is no CA: it lets in its own holder and nobody else`);
  } else if (certificate.keyUsage?.keyCertSign === false) {
    report.warn(`${who} may not sign certificates (key usage): it verifies nobody else`);
  }
}

function uselessness({ publicKey, unknownCritical }: Certificate): string | undefined {
  if (publicKey.kind === "unsupported") return `has ${publicKey.what}`;
  if (publicKey.kind === "rsa" && publicKey.bits < 2048) {
    return `has an RSA key of ${publicKey.bits} bits where 2048 is the least`;
  }
  return unknownCritical.length > 0
    ? `has a critical extension ${unknownCritical[0]} that mtlsd does not know`
    : undefined;
}
