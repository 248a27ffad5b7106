/**
 * Loads {@linkcode Credentials} from files: everything that `tls` names is read, parsed,
 * cross-checked and frozen, or rejected with all errors at once.
 *
 * @module
 */

import type { TlsConfig } from "../config/config.ts";
import type { Certificate } from "../x509/certificate.ts";
import { type Bundle, readBundle, readIntermediates } from "./bundle.ts";
import { checkOrder, checkPair, readOwnChain, readOwnKey } from "./own.ts";
import { describeReadError, MAX_FILE_BYTES, MAX_LIST_BYTES, type ReadFile } from "./files.ts";
import { CredentialError, type FileReport, Report } from "./findings.ts";
import { type Credentials, sealCredentials } from "../x509/credentials.ts";
import { formatPem } from "./pem.ts";
import { type ListFile, readRevocation, warnOfNamesakes, warnOfRevoked } from "./revocation.ts";

export { CredentialError, type CredentialKey, type Finding, formatFinding } from "./findings.ts";

/** The files of a `tls` block. */
export type CredentialPaths = Pick<TlsConfig, "cert" | "key" | "ca"> & {
  /** Default none. */
  readonly crl?: readonly string[];
  /** Default none. */
  readonly intermediates?: string | undefined;
};

/** The dependencies of loading. */
export type LoadDeps = {
  /** `readBoundedFile` of `files.ts`, or a replacement. */
  readonly readFile: ReadFile;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /**
   * How many certificates of a bundle to warn about one by one; default `MAX_WARNED` of
   * `bundle.ts`.
   */
  readonly maxWarned?: number;
};

/** The paths that a `tls` block names, without duplicates. */
export function credentialPaths(tls: CredentialPaths): readonly string[] {
  const { cert, key, ca, intermediates, crl = [] } = tls;
  const named = [cert, key, ca, intermediates, ...crl];
  return [...new Set(named.filter((path) => path !== undefined))];
}

/** The maximum size of the file at a path, in bytes. */
export function maxBytesOf({ crl = [] }: CredentialPaths, path: string): number {
  return crl.includes(path) ? MAX_LIST_BYTES : MAX_FILE_BYTES;
}

/**
 * Loads the files that `tls` names; a file named twice is read once. The PEM in the result is
 * encoded again from the parsed certificates, so that the TLS stack gets only what has been
 * checked.
 *
 * @throws {CredentialError} with all errors.
 */
export async function loadCredentials(tls: CredentialPaths, deps: LoadDeps): Promise<Credentials> {
  const now = deps.now();
  const report = new Report();
  const files = new Map(
    credentialPaths(tls).map((path) => [path, deps.readFile(path, maxBytesOf(tls, path))] as const),
  );
  // Waits for all reads; an error is reported below, for each key that names the file.
  await Promise.allSettled(files.values());

  const bytesFor = async (path: string, of: FileReport): Promise<Uint8Array | undefined> => {
    try {
      return await files.get(path);
    } catch (error) {
      of.error(describeReadError(error, path));
      return undefined;
    }
  };

  const certReport = report.of("tls.cert", tls.cert);
  const keyReport = report.of("tls.key", tls.key);
  const certBytes = await bytesFor(tls.cert, certReport);
  /** The times at which certificates or lists become valid that are not valid yet. */
  const early: number[] = [];
  const chain = certBytes && readOwnChain(certBytes, now, certReport, ({ validFrom }) => {
    early.push(validFrom);
  });
  const keyBytes = await bytesFor(tls.key, keyReport);
  const key = keyBytes && readOwnKey(keyBytes, keyReport);
  if (chain !== undefined && key !== undefined) {
    checkPair(chain, key, certReport, keyReport);
  }
  if (chain !== undefined) checkOrder(chain, certReport);

  const { ca, intermediates: helping, crl = [] } = tls;
  const certificates = chain?.map(({ certificate }) => certificate);
  const caReport = ca === undefined ? undefined : report.of("tls.ca", ca);
  let bundle: Bundle | undefined = { anchors: [], leftOut: [] };
  if (ca !== undefined && caReport !== undefined) {
    const bytes = await bytesFor(ca, caReport);
    const shared = { key: ca === tls.key, lists: crl.includes(ca) };
    const context = { now, shared, maxWarned: deps.maxWarned };
    bundle = bytes && readBundle(bytes, context, caReport);
  }

  let intermediates: readonly Certificate[] | undefined = [];
  if (helping !== undefined) {
    const of = report.of("tls.intermediates", helping);
    const bytes = await bytesFor(helping, of);
    const shared = { key: helping === tls.key, lists: crl.includes(helping) };
    const context = { now, shared, maxWarned: deps.maxWarned };
    intermediates = bytes && readIntermediates(bytes, context, of);
  }

  const lists: ListFile[] = [];
  for (const path of new Set(crl)) {
    const of = report.of("tls.crl", path);
    const bytes = await bytesFor(path, of);
    const shared = { certificates: [ca, tls.cert, helping].includes(path), key: path === tls.key };
    if (bytes !== undefined) lists.push({ bytes, report: of, shared });
  }
  const issuers = bundle && certificates && intermediates &&
    { ...bundle, helpers: [...certificates.slice(1), ...intermediates] };
  const revocation = readRevocation(lists, { issuers, now, early: (time) => early.push(time) });

  const [leaf] = certificates ?? [];
  if (report.findings.length > 0 || !certificates || !leaf || !key || !bundle || !intermediates) {
    const onlyEarly = report.findings.length === early.length;
    throw new CredentialError(inOrder(report.findings), onlyEarly ? Math.max(...early) : undefined);
  }
  const { anchors, leftOut } = bundle;
  warnOfRevoked(certificates, revocation, certReport, "peers that look it up refuse it");
  if (caReport !== undefined) {
    warnOfRevoked(anchors, revocation, caReport, "it verifies no peer");
    warnOfNamesakes(anchors, revocation, caReport);
  }
  return sealCredentials({
    certPem: toPem(certificates),
    keyPem: key.pem,
    leaf,
    chain: Object.freeze(certificates),
    anchors: Object.freeze([...anchors]),
    leftOut: Object.freeze([...leftOut]),
    intermediates: Object.freeze([...intermediates]),
    revocation,
    warnings: Object.freeze([...report.warnings]),
  });
}

const ORDER = ["tls.cert", "tls.key", "tls.ca", "tls.intermediates", "tls.crl"] as const;

function inOrder(findings: Report["findings"]): Report["findings"] {
  return findings.toSorted((a, b) => ORDER.indexOf(a.key) - ORDER.indexOf(b.key));
}

function toPem(certificates: readonly Certificate[]): string {
  return certificates.map(({ der }) => formatPem("CERTIFICATE", der)).join("");
}
