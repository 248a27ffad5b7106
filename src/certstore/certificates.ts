/**
 * The certificates of a PEM file, each read strictly.
 *
 * @module
 */

import { type Certificate, CertificateError, type Name } from "../x509/certificate.ts";
import { formatName } from "../x509/names.ts";
import { parseCertificate } from "../x509/parse.ts";
import { peekSubject } from "../x509/peek.ts";
import { type FileReport, quoteText } from "./findings.ts";
import { describeNotPem, describeWrongBlocks } from "./foreign.ts";
import { parsePem, type PemBlock } from "./pem.ts";

/** A certificate and where it stands. */
export type Listed = {
  readonly certificate: Certificate;
  /** `certificate 3 (line 41, "CN=frontend")`; the only one of a file has no number. */
  readonly who: string;
};

/** A certificate that cannot be used, and whose it is as far as that can be told. */
export type Unusable = {
  /** `certificate 3 (line 41, "CN=frontend"): what is wrong, and how to mend it`. */
  readonly fault: string;
  /** Its subject, as far as that can be read. */
  readonly subject: Name | undefined;
  /** The file ends within it: it is half written, and more may be missing. */
  readonly cut: boolean;
};

/** What a file holds: its certificates, in their order, and its other blocks. */
export type CertificateFile = {
  readonly listed: readonly Listed[];
  readonly unreadable: readonly Unusable[];
  readonly others: readonly PemBlock[];
};

/** What a certificate is for: it decides which advice is given. */
export type CertificateUse = "own" | "ca";

/** At most this many certificates of one file are named one by one in errors. */
const MAX_NAMED = 5;

const CERTIFICATE = "CERTIFICATE";
/** Labels of certificates with OpenSSL's trust settings, or of old; the engine passes over them. */
const ALIASES = new Set(["TRUSTED CERTIFICATE", "X509 CERTIFICATE"]);

/**
 * Reads all certificates of a file, whether or not each of them can be read; `undefined` when the file
 * holds none, which is reported.
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
          const who = subject === undefined ? place : `${place}, ${quoteText(formatName(subject))}`;
          const fault = `${who}): ${read.message}${advice(read, use)}`;
          unreadable.push({ fault, subject, cut: false });
        } else {
          const who = `${place}, ${quoteText(formatName(read.subject))})`;
          listed.push({ certificate: read, who });
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
 * Reads all certificates of a file of which each one counts; `undefined` when one of them, or the
 * file, cannot be used, which is reported.
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

/** Reports certificates that cannot be used as errors, a line each up to a bound. */
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

/** The command that makes a v3 certificate of a v1 one, of the peer's or of the own. */
export function renewAsV3(): string {
  return V3_COMMANDS.own.replace(/^: /, "");
}

/**
 * What `openssl` makes of a v1 certificate a v3 one with; no quotes and no backslashes, which a log
 * would escape. The name and the key stay, so that what a CA has signed stays valid.
 */
const V3_COMMANDS: Readonly<Record<CertificateUse, string>> = {
  ca:
    ". In a bundle it would let in whoever has a copy of it, without its key. With the CA's key: " +
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

/** A time for people: ISO 8601, UTC, whole seconds. */
export function formatTime(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}

/** Whether a certificate is valid at `now`; its last second counts in full. */
export function validity(certificate: Certificate, now: number): "valid" | "early" | "expired" {
  if (now < certificate.notBefore) return "early";
  return now >= certificate.notAfter + 1000 ? "expired" : "valid";
}
