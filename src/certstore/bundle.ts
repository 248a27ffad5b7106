/**
 * The bundle of `tls.ca`, the trust anchors for peers, and `tls.intermediates`, which helps to
 * build chains to them.
 *
 * Real bundles contain unusable certificates: X.509 v1, encodings that are not DER, keys that are
 * too short. They are left out with a warning as long as at least one other remains. This is safe,
 * since leaving out a CA never admits a peer.
 *
 * @module
 */

import { verifySignature } from "../tls/signature.ts";
import { weakKey } from "../x509/algorithms.ts";
import type { Certificate } from "../x509/certificate.ts";
import { formatName } from "../x509/names.ts";
import {
  type CertificateFile,
  formatTime,
  type Listed,
  reportUnusable,
  scanCertificates,
  type Unusable,
  validity,
} from "./certificates.ts";
import { EKU_CLIENT, EKU_SERVER } from "./own.ts";
import { type FileReport, quoteText } from "./findings.ts";
import { isKeyLabel } from "./pem.ts";
import type { LeftOut } from "../x509/credentials.ts";

/** Maximum number of CAs. Each CA can issue a certificate for any name, so more are a mistake. */
export const MAX_CAS = 256;
/** A bundle with more CAs than this causes a warning. */
const MANY_CAS = 20;
/** Default number of certificates of one bundle that are warned about one by one. */
export const MAX_WARNED = 8;

/** The context for reading a file of CAs. */
export type BundleContext = {
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** What else the config expects in the same file: the private key, revocation lists. */
  readonly shared: { readonly key: boolean; readonly lists: boolean };
  /** How many certificates to warn about one by one; default {@linkcode MAX_WARNED}. */
  readonly maxWarned?: number | undefined;
};

/** A parsed bundle. */
export type Bundle = {
  readonly anchors: readonly Certificate[];
  readonly leftOut: readonly LeftOut[];
};

/**
 * Reads the bundle, without duplicates. Unusable certificates are left out, each with a warning. If
 * none remains, or the file is truncated, an error is reported and the result is `undefined`.
 * Certificates that have expired or are not valid yet stay in the bundle so that a denial can name
 * them; they still verify no peer.
 */
export function readBundle(
  bytes: Uint8Array,
  context: BundleContext,
  report: FileReport,
): Bundle | undefined {
  const sorted = readCas(bytes, context, anchorFault, report);
  if (sorted === undefined) return undefined;
  const { usable, unusable, sound } = sorted;
  const { now } = context;
  warnOfEach(unusable, usable.flatMap((entry) => limits(entry, now) ?? []), context, report);
  const anchors = usable.map(({ certificate }) => certificate);
  const fault = trustFault(anchors, now);
  if (fault !== undefined) report.warn(`${fault}: no peer is let in`);
  if (usable.length > MANY_CAS) {
    report.warn(
      `it holds ${usable.length} CAs, and each of them can make a peer of any name; ` +
        "keep those that sign the peers",
    );
  }
  const leftOut = unusable.map(({ subject, fault }) => ({ name: subject?.key, fault }));
  return sound ? { anchors, leftOut } : undefined;
}

/**
 * Reads the file of `tls.intermediates` in the same way. Its certificates are not trusted by
 * themselves; only CAs that another CA issued are useful, and the rest is left out.
 */
export function readIntermediates(
  bytes: Uint8Array,
  context: BundleContext,
  report: FileReport,
): readonly Certificate[] | undefined {
  const sorted = readCas(bytes, context, intermediateFault, report);
  if (sorted === undefined) return undefined;
  const { usable, unusable, sound } = sorted;
  warnOfEach(
    unusable,
    usable.flatMap((entry) => validityFault(entry, context.now) ?? []),
    context,
    report,
  );
  return sound ? usable.map(({ certificate }) => certificate) : undefined;
}

/**
 * The usable certificates without duplicates, the unusable ones, and whether there are no other
 * errors.
 */
type Sorted = {
  readonly usable: readonly Listed[];
  readonly unusable: readonly Unusable[];
  readonly sound: boolean;
};

/**
 * Sorts the certificates of a file. Returns `undefined`, and reports an error, if the file is
 * unusable.
 */
function readCas(
  bytes: Uint8Array,
  { shared }: BundleContext,
  faultOf: (certificate: Certificate) => string | undefined,
  report: FileReport,
): Sorted | undefined {
  const file = scanCertificates(bytes, report, "ca");
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
  const { usable, unusable } = sort(file, faultOf);
  const cut = unusable.filter((entry) => entry.cut);
  if (usable.length === 0 || cut.length > 0) {
    reportUnusable(usable.length === 0 ? unusable : cut, report);
    return undefined;
  }
  if (usable.length > MAX_CAS) {
    report.error(
      `it holds ${usable.length} CAs and ${MAX_CAS} are the most; keep those that sign the peers`,
    );
    return undefined;
  }
  return { usable, unusable, sound };
}

function sort(
  { listed, unreadable }: CertificateFile,
  faultOf: (certificate: Certificate) => string | undefined,
): Pick<Sorted, "usable" | "unusable"> {
  const usable = new Map<string, Listed>();
  const unusable = new Map<string, Unusable>();
  for (const entry of listed) {
    const id = entry.certificate.der.toBase64();
    if (usable.has(id) || unusable.has(id)) continue;
    const fault = faultOf(entry.certificate);
    if (fault === undefined) {
      usable.set(id, entry);
    } else {
      const { subject } = entry.certificate;
      unusable.set(id, { fault: `${entry.title} ${fault}`, subject, cut: false });
    }
  }
  return { usable: [...usable.values()], unusable: [...unreadable, ...unusable.values()] };
}

/**
 * Warns about certificates that are left out or are of limited use, one line each up to a limit.
 */
function warnOfEach(
  unusable: readonly Unusable[],
  limited: readonly string[],
  { maxWarned = MAX_WARNED }: BundleContext,
  report: FileReport,
): void {
  const warnings = [...unusable.map(({ fault }) => `left out: ${fault}`), ...limited];
  for (const warning of warnings.slice(0, maxWarned)) report.warn(warning);
  if (warnings.length <= maxWarned) return;
  report.warn(
    `${warnings.length - maxWarned} more of its certificates cannot serve, or not fully; ` +
      "mtlsd check names them all",
  );
}

/** Why no chain may contain the certificate; `undefined` if one may. */
function pathFault({ publicKey, unknownCritical }: Certificate): string | undefined {
  const weak = weakKey(publicKey);
  if (weak !== undefined) return `has ${weak}`;
  return unknownCritical.length > 0
    ? `has a critical extension ${unknownCritical[0]} that mtlsd does not know`
    : undefined;
}

/** Why a certificate of the bundle is of no use at any time; `undefined` if it is of use. */
function anchorFault(certificate: Certificate): string | undefined {
  const usages = certificate.extendedKeyUsage;
  const forTls = usages === undefined || usages.includes(EKU_CLIENT) ||
    usages.includes(EKU_SERVER);
  const fault = pathFault(certificate) ??
    (forTls ? undefined : "is not for TLS (extended key usage)");
  return fault && `${fault}: it verifies no peer`;
}

/** Why no chain can lead through the certificate to a CA; `undefined` if one can. */
function intermediateFault(certificate: Certificate): string | undefined {
  const { basicConstraints, keyUsage } = certificate;
  const fault = pathFault(certificate) ??
    (basicConstraints?.ca !== true
      ? "is no CA (basic constraints)"
      : keyUsage?.keyCertSign === false
      ? "may not sign certificates (key usage)"
      : undefined);
  if (fault !== undefined) return `${fault}: it helps no peer`;
  return signedItself(certificate)
    ? "signed itself: it leads to no CA of tls.ca, and what is to be trusted belongs there"
    : undefined;
}

function signedItself(
  { subject, issuer, signatureAlgorithm, publicKey, tbs, signature }: Certificate,
): boolean {
  return subject.key === issuer.key &&
    verifySignature(signatureAlgorithm, publicKey, tbs, signature);
}

/** Why a certificate is of no use at this time; `undefined` if it is valid. */
function validityFault({ certificate, title }: Listed, now: number): string | undefined {
  switch (validity(certificate, now)) {
    case "expired":
      return `${title} expired at ${formatTime(certificate.notAfter)}: it verifies no peer`;
    case "early":
      return `${title} verifies no peer until ${formatTime(certificate.notBefore)}`;
    case "valid":
      return undefined;
  }
}

/** How the use of a certificate of the bundle is limited; `undefined` if it is not. */
function limits(entry: Listed, now: number): string | undefined {
  const { certificate, title } = entry;
  const late = validityFault(entry, now);
  if (late !== undefined) return late;
  if (certificate.basicConstraints?.ca !== true) {
    return `${title} is no CA: it lets in its own holder and no other peer`;
  }
  return certificate.keyUsage?.keyCertSign === false
    ? `${title} may not sign certificates (key usage): it verifies no other peer`
    : undefined;
}

/**
 * The earliest expiry among the CAs that have not expired or, if all have, the latest expiry. CAs
 * that expired long ago are common in bundles and must not hide when to act. `undefined` for an
 * empty bundle.
 *
 * @param now milliseconds since the epoch, as is the result.
 */
export function nextEnd(anchors: readonly Certificate[], now: number): number | undefined {
  const ends = anchors.map(({ notAfter }) => notAfter);
  const left = ends.filter((end) => end + 1000 > now);
  if (left.length > 0) return Math.min(...left);
  return ends.length === 0 ? undefined : Math.max(...ends);
}

/**
 * If no certificate of the bundle is valid at `now`: says so in a clause about "it" that names the
 * last one to expire and the next one to become valid. `undefined` if one is valid, and for an
 * empty bundle.
 *
 * @param now milliseconds since the epoch.
 */
export function trustFault(anchors: readonly Certificate[], now: number): string | undefined {
  if (anchors.length === 0 || anchors.some((anchor) => validity(anchor, now) === "valid")) {
    return undefined;
  }
  const expired = anchors.filter((anchor) => validity(anchor, now) === "expired");
  const last = expired.toSorted((a, b) => b.notAfter - a.notAfter)[0];
  const next = anchors.filter((anchor) => validity(anchor, now) === "early")
    .toSorted((a, b) => a.notBefore - b.notBefore)[0];
  const parts = [
    last && `${quoteText(formatName(last.subject))} expired at ${formatTime(last.notAfter)}`,
    next && `${quoteText(formatName(next.subject))} is valid from ${formatTime(next.notBefore)}`,
  ];
  return `no CA of it is valid now: ${parts.filter((part) => part !== undefined).join(", ")}`;
}
