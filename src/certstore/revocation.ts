/**
 * Reads, verifies and merges the revocation lists of `tls.crl`. The issuer of a list is a CA of the
 * bundle, or an intermediate below one.
 *
 * @module
 */

import { verifySignature } from "../tls/signature.ts";
import { type Certificate, CertificateError } from "../x509/certificate.ts";
import { type CertificateList, parseCertificateList } from "../x509/crl.ts";
import { formatName } from "../x509/names.ts";
import { runSteps, validatePath } from "../x509/path.ts";
import {
  findRevoked,
  type Revocation,
  type RevocationList,
  revocationOf,
  sameKey,
} from "../x509/revocation.ts";
import { formatTime } from "./certificates.ts";
import { type FileReport, quoteText } from "./findings.ts";
import {
  describeNotPem,
  describeWrongBlocks,
  isCertificate,
  isKeyLabel,
  parsePem,
  type PemBlock,
} from "./pem.ts";
import { describeUnsupported, fits, weakKey } from "../x509/algorithms.ts";
import { describeDifference, lookalike } from "../x509/lookalike.ts";
import { describeRefusal } from "../x509/refusal.ts";
import type { LeftOut } from "../x509/credentials.ts";

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
  readonly title: string;
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
  return [{ list: parsed, title: `revocation list (${nameOf(parsed)})` }];
}

function readBlocks(own: readonly PemBlock[], report: FileReport): readonly Listed[] {
  const faults: string[] = [];
  const listed: Listed[] = [];
  for (const [i, block] of own.entries()) {
    const place = `revocation list ${own.length === 1 ? "" : `${i + 1} `}(line ${block.line}`;
    const read = readBlock(block);
    if ("fault" in read) faults.push(`${place})${read.fault}`);
    else listed.push({ list: read.list, title: `${place}, ${nameOf(read.list)})` });
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
  { list, title }: Listed,
  report: FileReport,
  { issuers, now, early }: ListContext,
): RevocationList | undefined {
  const found = issuers && findListIssuer(list, issuers, now);
  if (found?.ok === false) {
    report.error(`${title} ${found.fault}`);
    return undefined;
  }
  const { thisUpdate, nextUpdate, number, distributionPoint, serials, entries } = list;
  if (now < thisUpdate) {
    report.error(
      `${title} is of the future: its thisUpdate is ${formatTime(thisUpdate)} and now it is ` +
        `${formatTime(now)}; wait, or set the clock right`,
    );
    early(thisUpdate);
    return undefined;
  }
  if (now > nextUpdate) {
    report.error(`${title} is past its nextUpdate, ${formatTime(nextUpdate)}; fetch the next one`);
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

/** The certificates that may have issued a list. */
export type ListIssuers = {
  /** The bundle. */
  readonly anchors: readonly Certificate[];
  /** The certificates of the bundle that were left out. */
  readonly leftOut: readonly LeftOut[];
  /**
   * The intermediates of `tls.intermediates` and of the own chain. Each may sign lists if the
   * bundle verifies it, with the help of the others.
   */
  readonly helpers: readonly Certificate[];
};

/** The CA that signed a list, or a clause that says what is wrong with the list. */
type FoundIssuer =
  | { readonly ok: true; readonly issuer: Certificate }
  | { readonly ok: false; readonly fault: string };

/**
 * Finds the CA that has the issuer name of the list, may sign lists, and whose key verifies it (RFC
 * 5280 sections 4.2.1.3 and 6.3.3). If several CAs have the name, each is tried.
 *
 * @param now milliseconds since the epoch.
 */
function findListIssuer(
  list: CertificateList,
  { anchors, leftOut, helpers }: ListIssuers,
  now: number,
): FoundIssuer {
  const { signatureAlgorithm: algorithm, tbs, signature } = list;
  if (algorithm.kind === "unsupported") {
    return refuse(
      `is signed with ${describeUnsupported(algorithm)}`,
    );
  }
  const namesakes = [...anchors, ...helpers].filter(({ subject }) =>
    subject.key === list.issuer.key
  );
  if (namesakes.length === 0) {
    const unable = leftOut.find(({ name }) => name === list.issuer.key);
    if (unable !== undefined) {
      return refuse(`is of a CA that is left out of tls.ca: ${unable.fault}`);
    }
    for (const [where, known] of [["tls.ca", anchors], ["the intermediates", helpers]] as const) {
      const like = lookalike(list.issuer, known);
      if (like === undefined) continue;
      return refuse(
        `is of an issuer whose name looks like that of a CA of ${where} but is written in other ` +
          `bytes: ${
            describeDifference(list.issuer, like.subject)
          }; issue one of the two anew with ` +
          "the name as the other has it",
      );
    }
    return refuse(
      `is of an unknown issuer: ${quoteText(formatName(list.issuer))} is no CA of tls.ca and no ` +
        "intermediate of tls.intermediates or tls.cert; put the certificate of that CA into " +
        "tls.intermediates",
    );
  }
  const signers = namesakes.filter(({ publicKey }) =>
    fits(algorithm, publicKey) && verifySignature(algorithm, publicKey, tbs, signature)
  );
  let fault: string | undefined;
  for (const issuer of signers) {
    const why = unfit(issuer) ??
      (anchors.includes(issuer)
        ? undefined
        : unverified(issuer, helpers, { anchors, leftOut }, now));
    if (why === undefined) return { ok: true, issuer };
    fault ??= `is signed by certificate ${quoteText(formatName(issuer.subject))}, ${why}`;
  }
  return refuse(
    fault ?? "has a bad signature: it was changed, or another CA of that name signed it; " +
        "fetch it again",
  );
}

function refuse(fault: string): FoundIssuer {
  return { ok: false, fault };
}

/** Why a certificate may not sign lists; `undefined` if it may. */
function unfit({ basicConstraints, keyUsage, publicKey }: Certificate): string | undefined {
  const weak = weakKey(publicKey);
  if (weak !== undefined) return `which has ${weak}`;
  if (basicConstraints?.ca !== true) return "which is no CA (basic constraints)";
  return keyUsage?.cRLSign === false ? "which may not sign lists (key usage)" : undefined;
}

/** Why the bundle does not verify an intermediate; `undefined` if it does. */
function unverified(
  issuer: Certificate,
  helpers: readonly Certificate[],
  { anchors, leftOut }: Pick<ListIssuers, "anchors" | "leftOut">,
  now: number,
): string | undefined {
  const readable = [issuer, ...helpers.filter((helper) => helper !== issuer)];
  const result = validatePath(readable, { anchors, purpose: "issuer", now, verifySignature });
  if (result.ok) return undefined;
  const shown = { presented: [issuer.der], readable: [issuer] };
  const why = describeRefusal(result, shown, { anchors, intermediates: helpers, leftOut });
  return `which the CAs of tls.ca do not verify: ${why}; put what leads from it to one of ` +
    "them into tls.intermediates, or take the list out";
}
