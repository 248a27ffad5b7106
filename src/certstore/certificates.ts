/**
 * The certificates of a PEM file, each read strictly.
 *
 * @module
 */

import { type Certificate, CertificateError } from "../x509/certificate.ts";
import { formatName } from "../x509/names.ts";
import { parseCertificate } from "../x509/parse.ts";
import { type FileReport, quoteText } from "./findings.ts";
import { describeNotPem, describeWrongBlocks } from "./foreign.ts";
import { parsePem, type PemBlock } from "./pem.ts";

/** A certificate and where it stands. */
export type Listed = {
  readonly certificate: Certificate;
  /** `certificate 3 (line 41, "CN=frontend")`; the only one of a file has no number. */
  readonly who: string;
};

/** What a file holds: its certificates, and its other blocks. */
export type CertificateFile = {
  readonly listed: readonly Listed[];
  readonly others: readonly PemBlock[];
};

/** At most so many certificates of one file are told of one by one. */
const MAX_TOLD = 5;

const CERTIFICATE = "CERTIFICATE";
/** Labels of certificates with OpenSSL's trust settings, or of old; the engine passes over them. */
const ALIASES = new Set(["TRUSTED CERTIFICATE", "X509 CERTIFICATE"]);

/**
 * Reads all certificates of a file; `undefined` when one of them, or the file, cannot be used, which
 * is reported with what `explain` adds to it.
 */
export function readCertificates(
  bytes: Uint8Array,
  report: FileReport,
  explain: (error: CertificateError) => string = () => "",
): CertificateFile | undefined {
  const blocks = parsePem(new TextDecoder().decode(bytes));
  const own = blocks.filter(({ label }) => label === CERTIFICATE);
  const others = blocks.filter(({ label }) => label !== CERTIFICATE);
  if (own.length === 0) {
    report.error(
      blocks.length === 0
        ? describeNotPem(bytes, report.path, "certificate")
        : describeWrongBlocks(blocks, report.path, "certificate"),
    );
    return undefined;
  }
  const faults = others.filter(({ label }) => ALIASES.has(label)).map(({ label, line }) =>
    `its "${label}" block (line ${line}) would be passed over; ` +
    "convert it: openssl x509 -in THAT.pem -out NEW.pem"
  );
  const listed: Listed[] = [];
  for (const [i, block] of own.entries()) {
    const place = own.length === 1
      ? `certificate (line ${block.line}`
      : `certificate ${i + 1} (line ${block.line}`;
    switch (block.kind) {
      case "sound":
        try {
          const certificate = Object.freeze(parseCertificate(block.der));
          const who = `${place}, ${quoteText(formatName(certificate.subject))})`;
          listed.push({ certificate, who });
        } catch (error) {
          if (!(error instanceof CertificateError)) throw error;
          faults.push(`${place}): ${error.message}${explain(error)}`);
        }
        break;
      case "broken":
        faults.push(`${place}) is damaged: ${block.fault}; copy it again`);
        break;
      case "encrypted":
        faults.push(`${place}) is encrypted; decrypt it`);
        break;
      default:
        block satisfies never;
    }
  }
  for (const fault of faults.slice(0, MAX_TOLD)) report.error(fault);
  if (faults.length > MAX_TOLD) report.error(`${faults.length - MAX_TOLD} more are as bad`);
  return faults.length === 0 ? { listed, others } : undefined;
}

/** A time for people: ISO 8601, UTC, whole seconds. */
export function formatTime(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}

/** Whether a certificate is valid at `now`; its last second counts in full. */
export function validity(certificate: Certificate, now: number): "valid" | "early" | "expired" {
  if (now < certificate.notBefore) return "early";
  return now >= certificate.notAfter + 1000 ? "expired" : "valid";
}
