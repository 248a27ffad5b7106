/**
 * The bundle of `tls.ca`: which CAs' peers are let in.
 *
 * Bundles in use hold certificates that cannot serve: of version 1, with encodings that are not DER,
 * with keys that are too short. Such a one is left out with a warning, as long as another remains:
 * leaving out a CA never lets anybody in.
 *
 * @module
 */

import { weakKey } from "../x509/algorithms.ts";
import type { Certificate } from "../x509/certificate.ts";
import { formatName } from "../x509/names.ts";
import {
  formatTime,
  type Listed,
  reportUnusable,
  scanCertificates,
  type Unusable,
  validity,
} from "./certificates.ts";
import { EKU_CLIENT, EKU_SERVER } from "./chain.ts";
import { type FileReport, quoteText } from "./findings.ts";
import { isKeyLabel } from "./foreign.ts";
import type { LeftOut } from "./material.ts";

/** At most this many CAs; the engine takes them all apart for each connection. */
export const MAX_CAS = 256;
/** Above this number the cost of a handshake is warned of. */
const MANY_CAS = 20;
/** At most this many certificates of one bundle are warned of one by one, unless asked for more. */
export const MAX_WARNED = 8;

/** What reading a bundle needs to know besides its bytes. */
export type BundleContext = {
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** What else is meant to be in the same file: the private key, revocation lists. */
  readonly shared: { readonly key: boolean; readonly lists: boolean };
  /** How many certificates to warn of one by one; default {@linkcode MAX_WARNED}. */
  readonly maxWarned?: number | undefined;
};

/** A bundle that was read. */
export type Bundle = {
  readonly anchors: readonly Certificate[];
  readonly leftOut: readonly LeftOut[];
};

/**
 * Reads the bundle, each certificate once. Those that cannot serve are left out, each with a warning;
 * if none remains, or the file is cut off, it is refused. Those that have expired, or are not valid
 * yet, stay in, since a refusal can name them then: they verify nobody all the same.
 */
export function readBundle(
  bytes: Uint8Array,
  { now, shared, maxWarned = MAX_WARNED }: BundleContext,
  report: FileReport,
): Bundle | undefined {
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
  const { able, unable } = sort(file.listed, file.unreadable);
  const cut = unable.filter((entry) => entry.cut);
  if (able.length === 0 || cut.length > 0) {
    reportUnusable(able.length === 0 ? unable : cut, report);
    return undefined;
  }
  if (able.length > MAX_CAS) {
    report.error(
      `it holds ${able.length} CAs and ${MAX_CAS} are the most; keep those that sign the peers`,
    );
    return undefined;
  }
  const warnings = [
    ...unable.map(({ fault }) => `left out: ${fault}`),
    ...able.flatMap((entry) => limits(entry, now) ?? []),
  ];
  for (const warning of warnings.slice(0, maxWarned)) report.warn(warning);
  if (warnings.length > maxWarned) {
    report.warn(
      `${warnings.length - maxWarned} more of its certificates cannot serve, or not fully; ` +
        "mtlsd check names them all",
    );
  }
  const anchors = able.map(({ certificate }) => certificate);
  const fault = trustFault(anchors, now);
  if (fault !== undefined) report.warn(`${fault}: nobody is let in`);
  if (able.length > MANY_CAS) {
    report.warn(
      `it holds ${able.length} CAs: all of them are read anew with each handshake, and a server ` +
        "sends their names; keep those that sign the peers",
    );
  }
  const leftOut = unable.map(({ subject, fault }) => ({ name: subject?.key, fault }));
  return sound ? { anchors, leftOut } : undefined;
}

/** Those that can serve, each once, and those that never can. */
function sort(
  listed: readonly Listed[],
  unreadable: readonly Unusable[],
): { readonly able: readonly Listed[]; readonly unable: readonly Unusable[] } {
  const able = new Map<string, Listed>();
  const unable = new Map<string, Unusable>();
  for (const entry of listed) {
    const id = entry.certificate.der.toBase64();
    const why = uselessness(entry.certificate);
    if (why === undefined) {
      if (!able.has(id)) able.set(id, entry);
    } else if (!unable.has(id)) {
      const { subject } = entry.certificate;
      unable.set(id, { fault: `${entry.who} ${why}: it verifies nobody`, subject, cut: false });
    }
  }
  return { able: [...able.values()], unable: [...unreadable, ...unable.values()] };
}

/** Why a certificate can never serve, whatever the time. */
function uselessness(certificate: Certificate): string | undefined {
  const { publicKey, unknownCritical, extendedKeyUsage: usages } = certificate;
  const weak = weakKey(publicKey);
  if (weak !== undefined) return `has ${weak}`;
  if (unknownCritical.length > 0) {
    return `has a critical extension ${unknownCritical[0]} that mtlsd does not know`;
  }
  return usages !== undefined && !usages.includes(EKU_CLIENT) && !usages.includes(EKU_SERVER)
    ? "is not for TLS (extended key usage)"
    : undefined;
}

/** What a certificate that can serve does not do, or not now. */
function limits({ certificate, who }: Listed, now: number): string | undefined {
  switch (validity(certificate, now)) {
    case "expired":
      return `${who} expired at ${formatTime(certificate.notAfter)}: it verifies nobody`;
    case "early":
      return `${who} verifies nobody until ${formatTime(certificate.notBefore)}`;
  }
  if (certificate.basicConstraints?.ca !== true) {
    return `${who} is no CA: it lets in its own holder and nobody else`;
  }
  return certificate.keyUsage?.keyCertSign === false
    ? `${who} may not sign certificates (key usage): it verifies nobody else`
    : undefined;
}

/**
 * Why a bundle verifies nobody at `now`, of "it", where none of its certificates is valid: the one
 * that was valid last, or else the one that will be first. `undefined` where one is valid, and for an
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
