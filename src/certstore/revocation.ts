/**
 * Reads, verifies and merges the revocation lists of `tls.crl`.
 *
 * @module
 */

import { verifySignature } from "../tls/signature.ts";
import { type Certificate, CertificateError } from "../x509/certificate.ts";
import { type CertificateList, parseCertificateList } from "../x509/crl.ts";
import { formatName } from "../x509/names.ts";
import { runSteps } from "../x509/path.ts";
import {
  findRevoked,
  type Revocation,
  type RevocationList,
  revocationOf,
  sameKey,
} from "../x509/revocation.ts";
import { formatTime } from "./certificates.ts";
import { type FileReport, quoteText } from "./findings.ts";
import { describeNotPem, describeWrongBlocks, isCertificate, isKeyLabel } from "./foreign.ts";
import { findListIssuer, type ListIssuers } from "./list_issuer.ts";
import { parsePem, type PemBlock } from "./pem.ts";

/** One file of `tls.crl`. */
export type ListFile = {
  readonly bytes: Uint8Array;
  readonly report: FileReport;
  /** Whether the config also expects certificates or the key in this file. */
  readonly shared: { readonly certificates: boolean; readonly key: boolean };
};

/** The context for reading revocation lists. */
export type ListContext = {
  /**
   * The certificates that may have signed the lists. If they could not be loaded, `undefined`: the
   * signatures are not checked then.
   */
  readonly issuers: ListIssuers | undefined;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** Called with the `thisUpdate` of each list that is not in effect yet. */
  readonly early: (thisUpdate: number) => unknown;
};

/** A list and its position in the file. */
type Listed = {
  readonly list: CertificateList;
  /** For example `revocation list 2 (line 41, "CN=acme CA")`. */
  readonly who: string;
};

const LABELS = new Set(["X509 CRL", "CRL"]);

/** Maximum number of lists of one file that are reported one by one. */
const MAX_REPORTED = 5;

/**
 * Reads all files. Lists that are not usable are reported as errors and left out. Older lists of
 * the same CA still count, with a warning.
 */
export function readRevocation(files: readonly ListFile[], context: ListContext): Revocation {
  const lists = files.flatMap((file) => {
    const verified = readListFile(file).flatMap((listed) =>
      verifyList(listed, file.report, context) ?? []
    );
    return verified.map((list) => ({ list, report: file.report }));
  });
  for (const { list, report } of lists) {
    const newer = lists.find((other) => other.list !== list && supersedes(other.list, list));
    if (newer === undefined) continue;
    report.warn(
      `the list of ${quoteText(formatName(list.issuer.subject))} as of ` +
        `${formatTime(list.thisUpdate)} counts although there is another one as of ` +
        `${formatTime(newer.list.thisUpdate)}; keep the newest one`,
    );
  }
  return revocationOf(lists.map(({ list }) => list));
}

/** Whether `a` was issued by the same CA as `b` and is not older. */
function supersedes(a: RevocationList, b: RevocationList): boolean {
  // Lists of two distribution points may cover different certificates.
  return a.issuer.subject.key === b.issuer.subject.key &&
    a.distributionPoint === b.distributionPoint &&
    sameKey(a.issuer.publicKey, b.issuer.publicKey) && a.thisUpdate >= b.thisUpdate;
}

/** The lists of one file, PEM or DER; empty if one of them cannot be parsed. */
function readListFile({ bytes, report, shared }: ListFile): readonly Listed[] {
  if (isDer(bytes)) return readDer(bytes, report);
  const blocks = parsePem(new TextDecoder().decode(bytes));
  const own = blocks.filter(({ label }) => LABELS.has(label));
  if (own.length === 0) {
    report.error(
      blocks.length === 0
        ? describeNotPem(bytes, report.path, "revocation list")
        : describeWrongBlocks(blocks, report.path, "revocation list"),
    );
    return [];
  }
  for (const { label, line } of blocks) {
    if (isKeyLabel(label) && !shared.key) {
      report.warn(`a private key stands in it (line ${line}); keep keys out of what is passed on`);
    } else if (label === "CERTIFICATE" && !shared.certificates) {
      report.warn(`its certificate (line ${line}) is not looked at; take it out`);
    }
  }
  return readBlocks(own, report);
}

/** Text cannot begin like this: the second byte encodes a length of more than 127. */
function isDer([first = 0, second = 0]: Uint8Array): boolean {
  return first === 0x30 && second > 0x80 && second <= 0x84;
}

function readDer(bytes: Uint8Array, report: FileReport): readonly Listed[] {
  const parsed = tryParse(bytes);
  if (typeof parsed === "string") {
    report.error(
      isCertificate(bytes)
        ? "it is a certificate, not a revocation list; name the revocation list of that CA"
        : `revocation list (DER): ${parsed}`,
    );
    return [];
  }
  return [{ list: parsed, who: `revocation list (${nameOf(parsed)})` }];
}

function readBlocks(own: readonly PemBlock[], report: FileReport): readonly Listed[] {
  const faults: string[] = [];
  const listed: Listed[] = [];
  for (const [i, block] of own.entries()) {
    const place = `revocation list ${own.length === 1 ? "" : `${i + 1} `}(line ${block.line}`;
    const read = readBlock(block);
    if ("fault" in read) faults.push(`${place})${read.fault}`);
    else listed.push({ list: read.list, who: `${place}, ${nameOf(read.list)})` });
  }
  for (const fault of faults.slice(0, MAX_REPORTED)) report.error(fault);
  if (faults.length > MAX_REPORTED) report.error(`${faults.length - MAX_REPORTED} more are as bad`);
  return faults.length === 0 ? listed : [];
}

function readBlock(
  block: PemBlock,
): { readonly list: CertificateList } | { readonly fault: string } {
  switch (block.kind) {
    case "sound": {
      const parsed = tryParse(block.der);
      return typeof parsed === "string" ? { fault: `: ${parsed}` } : { list: parsed };
    }
    case "broken":
      return { fault: ` is damaged: ${block.fault}; copy it again` };
    case "encrypted":
      return { fault: " is encrypted; decrypt it" };
  }
}

/** The parsed list, or a clause that says what is wrong with it. */
function tryParse(der: Uint8Array): CertificateList | string {
  try {
    return parseCertificateList(der);
  } catch (error) {
    if (error instanceof CertificateError) return error.message;
    throw error;
  }
}

function nameOf({ issuer }: CertificateList): string {
  return quoteText(formatName(issuer));
}

/** Checks the signature and the times. The result keeps no reference to the bytes of the file. */
function verifyList(
  { list, who }: Listed,
  report: FileReport,
  { issuers, now, early }: ListContext,
): RevocationList | undefined {
  const found = issuers && findListIssuer(list, issuers, now);
  if (found?.ok === false) {
    report.error(`${who} ${found.fault}`);
    return undefined;
  }
  const { thisUpdate, nextUpdate, number, distributionPoint, serials, entries } = list;
  if (now < thisUpdate) {
    report.error(
      `${who} is of the future: its thisUpdate is ${formatTime(thisUpdate)} and now it is ` +
        `${formatTime(now)}; wait, or set the clock right`,
    );
    early(thisUpdate);
    return undefined;
  }
  if (now > nextUpdate) {
    report.error(`${who} is past its nextUpdate, ${formatTime(nextUpdate)}; fetch the next one`);
    return undefined;
  }
  return found && {
    issuer: found.issuer,
    ...{ thisUpdate, nextUpdate, number, distributionPoint, serials, entries },
  };
}

/**
 * Warns about CAs of the bundle that have no list although another CA of the same name has one:
 * after a key rollover, that list is easily mistaken for theirs.
 */
export function warnOfNamesakes(
  anchors: readonly Certificate[],
  { byIssuer }: Revocation,
  report: FileReport,
): void {
  for (const { subject, publicKey, serial, basicConstraints } of anchors) {
    const lists = byIssuer.get(subject.key) ?? [];
    if (basicConstraints?.ca !== true || lists.length === 0) continue;
    if (lists.some(({ issuer }) => sameKey(issuer.publicKey, publicKey))) continue;
    report.warn(
      `certificate ${quoteText(formatName(subject))} (serial ${serial}) has no revocation list, ` +
        "only another CA of that name has: what it signed is not looked up",
    );
  }
}

/** Warns about own certificates and CAs of the bundle that are revoked. */
export function warnOfRevoked(
  certificates: readonly Certificate[],
  revocation: Revocation,
  report: FileReport,
  consequence: string,
): void {
  for (const certificate of certificates) {
    const steps = findRevoked([certificate], revocation);
    if (runSteps(steps, verifySignature) === undefined) continue;
    report.warn(
      `certificate ${quoteText(formatName(certificate.subject))} (serial ${certificate.serial}) ` +
        `was revoked by ${quoteText(formatName(certificate.issuer))}: ${consequence}`,
    );
  }
}
