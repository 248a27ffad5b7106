/**
 * Reads the certificates of a PEM file, each with the strict parser.
 *
 * @module
 */

import { type Certificate, CertificateError, type Name } from "../x509/certificate.ts";
import { formatName } from "../x509/names.ts";
import { parseCertificate, peekSubject } from "../x509/parse.ts";
import { type FileReport, quoteText } from "./findings.ts";
import { describeNotPem, describeWrongBlocks, parsePem, type PemBlock } from "./pem.ts";

/** A certificate and its position in the file. */
export type Listed = {
  readonly certificate: Certificate;
  /**
   * `certificate 3 (line 41, "CN=frontend")`; without a number if it is the only one in the file.
   */
  readonly title: string;
};

/** A certificate that cannot be used. */
export type Unusable = {
  /** `certificate 3 (line 41, "CN=frontend"): what is wrong, and how to fix it`. */
  readonly fault: string;
  /** Its subject; `undefined` if that cannot be parsed. */
  readonly subject: Name | undefined;
  /** The file ends within it, so it is probably incomplete and more certificates may be missing. */
  readonly cut: boolean;
};

/** The contents of a file: its certificates in their order, and its other blocks. */
export type CertificateFile = {
  readonly listed: readonly Listed[];
  readonly unreadable: readonly Unusable[];
  readonly others: readonly PemBlock[];
};

/** What the certificate is used for, which determines the advice in errors. */
export type CertificateUse = "own" | "ca";

/** Maximum number of certificates of one file that are reported one by one. */
const MAX_NAMED = 5;

const CERTIFICATE = "CERTIFICATE";
/**
 * Labels of certificates with OpenSSL trust settings, and an obsolete one; the TLS stack ignores
 * both.
 */
const ALIASES = new Set(["TRUSTED CERTIFICATE", "X509 CERTIFICATE"]);

/**
 * Reads all certificates of a file, including those that cannot be parsed. Returns `undefined`, and
 * reports an error, if the file contains none.
 */
export function scanCertificates(
  bytes: Uint8Array,
  report: FileReport,
  use: CertificateUse,
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
  const unreadable: Unusable[] = others.filter(({ label }) => ALIASES.has(label)).map((
    { label, line },
  ) => ({
    fault: `its "${label}" block (line ${line}) would be passed over; ` +
      "convert it: openssl x509 -in THAT.pem -out NEW.pem",
    subject: undefined,
    cut: false,
  }));
  const listed: Listed[] = [];
  for (const [i, block] of own.entries()) {
    const place = own.length === 1
      ? `certificate (line ${block.line}`
      : `certificate ${i + 1} (line ${block.line}`;
    switch (block.kind) {
      case "sound": {
        const read = tryRead(block.der);
        if (read instanceof CertificateError) {
          const subject = peekSubject(block.der);
          const title = subject === undefined
            ? place
            : `${place}, ${quoteText(formatName(subject))}`;
          const fault = `${title}): ${read.message}${advice(read, use)}`;
          unreadable.push({ fault, subject, cut: false });
        } else {
          const title = `${place}, ${quoteText(formatName(read.subject))})`;
          listed.push({ certificate: read, title });
        }
        break;
      }
      case "broken":
        unreadable.push({
          fault: `${place}) is damaged: ${block.fault}; copy it again`,
          subject: undefined,
          cut: block.cut,
        });
        break;
      case "encrypted":
        unreadable.push({
          fault: `${place}) is encrypted; decrypt it`,
          subject: undefined,
          cut: false,
        });
        break;
      default:
        block satisfies never;
    }
  }
  return { listed, unreadable, others };
}

/**
 * Reads a file in which every certificate must be usable. Returns `undefined`, and reports an
 * error, if one of them or the file is not.
 */
export function readCertificates(
  bytes: Uint8Array,
  report: FileReport,
): CertificateFile | undefined {
  const file = scanCertificates(bytes, report, "own");
  if (file === undefined) return undefined;
  reportUnusable(file.unreadable, report);
  return file.unreadable.length === 0 ? file : undefined;
}

/** Reports unusable certificates as errors, one line each up to a limit. */
export function reportUnusable(unusable: readonly Unusable[], report: FileReport): void {
  for (const { fault } of unusable.slice(0, MAX_NAMED)) report.error(fault);
  if (unusable.length > MAX_NAMED) {
    report.error(`${unusable.length - MAX_NAMED} more are as bad`);
  }
}

function tryRead(der: Uint8Array): Certificate | CertificateError {
  try {
    return Object.freeze(parseCertificate(der));
  } catch (error) {
    if (error instanceof CertificateError) return error;
    throw error;
  }
}

/** The shell command that turns the own v1 certificate into a v3 one. */
export function renewAsV3(): string {
  return V3_COMMANDS.own.replace(/^: /, "");
}

/**
 * Advice with `openssl` commands that turn a v1 certificate into a v3 one. Without quotes and
 * backslashes, which the log would escape. Name and key stay the same, so what a CA has signed
 * remains valid.
 */
const V3_COMMANDS: Readonly<Record<CertificateUse, string>> = {
  ca:
    ". In a bundle it would let in every peer that has a copy of it, without its key. With the CA's key: " +
    "echo basicConstraints=critical,CA:TRUE > v3.ext && openssl x509 -in OLD.pem " +
    "-signkey CA-KEY.pem -days 3650 -extfile v3.ext -out NEW.pem",
  own: ": echo subjectAltName=DNS:NAME > v3.ext && " +
    "openssl x509 -x509toreq -in OLD.pem -signkey KEY.pem -out NEW.csr && " +
    "openssl x509 -req -in NEW.csr -CA CA.pem -CAkey CA-KEY.pem -CAcreateserial -days 365 " +
    "-extfile v3.ext -out NEW.pem",
};

function advice({ message }: CertificateError, use: CertificateUse): string {
  return message.includes("X.509 v1 ") ? V3_COMMANDS[use] : "";
}

/** A time for display: ISO 8601, UTC, whole seconds. */
export function formatTime(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}

/**
 * Whether a certificate is valid at `now`, in milliseconds since the epoch. The second of
 * `notAfter` is included.
 */
export function validity(certificate: Certificate, now: number): "valid" | "early" | "expired" {
  if (now < certificate.notBefore) return "early";
  return now >= certificate.notAfter + 1000 ? "expired" : "valid";
}
