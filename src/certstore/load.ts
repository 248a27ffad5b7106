/**
 * Files to {@linkcode Material}: everything that `tls` names is read, parsed, cross-checked and
 * frozen, or refused with all that is wrong.
 *
 * @module
 */

import type { TlsConfig } from "../config/config.ts";
import type { Certificate } from "../x509/certificate.ts";
import { formatName } from "../x509/names.ts";
import { readBundle } from "./bundle.ts";
import { checkOrder, checkPair, readOwnChain } from "./chain.ts";
import { describeReadError, type ReadFile } from "./files.ts";
import { type FileReport, MaterialError, Report } from "./findings.ts";
import { readOwnKey } from "./key.ts";
import type { Material } from "./material.ts";
import { formatPem } from "./pem.ts";

export { type Finding, formatFinding, MaterialError, type MaterialKey } from "./findings.ts";

/** The files of a `tls` block. */
export type MaterialPaths = Pick<TlsConfig, "cert" | "key" | "ca">;

/** What loading needs from outside. */
export type LoadDeps = {
  /** `readBoundedFile` of `files.ts`, or what stands in for it. */
  readonly readFile: ReadFile;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
};

/** The paths that a `tls` block names, each once. */
export function materialPaths(tls: MaterialPaths): readonly string[] {
  return [...new Set([tls.cert, tls.key, ...(tls.ca === undefined ? [] : [tls.ca])])];
}

/**
 * Loads what `tls` names; a file named twice is read once. The PEM in the result is written anew
 * from what was parsed, so that the TLS engine gets nothing that was not checked.
 *
 * @throws {MaterialError} with everything that is wrong.
 */
export async function loadMaterial(tls: MaterialPaths, deps: LoadDeps): Promise<Material> {
  const now = deps.now();
  const report = new Report();
  const files = new Map(materialPaths(tls).map((path) => [path, deps.readFile(path)] as const));
  // All are under way; one that fails is told of where it is asked for.
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
  let validFrom: number | undefined;
  const chain = certBytes && readOwnChain(certBytes, now, certReport, (notYet) => {
    validFrom = notYet.validFrom;
  });
  const keyBytes = await bytesFor(tls.key, keyReport);
  const key = keyBytes && readOwnKey(keyBytes, keyReport);
  if (chain !== undefined && key !== undefined) {
    checkPair(chain, key, certReport, keyReport);
  }
  if (chain !== undefined) checkOrder(chain, certReport);

  let anchors: readonly Certificate[] | undefined = [];
  if (tls.ca !== undefined) {
    const caReport = report.of("tls.ca", tls.ca);
    const bytes = await bytesFor(tls.ca, caReport);
    anchors = bytes && readBundle(bytes, now, tls.ca === tls.key, caReport);
  }

  const { findings, warnings } = report;
  const [leaf] = chain ?? [];
  if (findings.length > 0 || !chain || !leaf || !key || !anchors) {
    throw new MaterialError(inOrder(findings), findings.length === 1 ? validFrom : undefined);
  }
  const certificates = chain.map(({ certificate }) => certificate);
  return seal({
    certPem: toPem(certificates),
    keyPem: key.pem,
    caPem: tls.ca === undefined ? undefined : toPem(anchors),
    leaf: leaf.certificate,
    chain: Object.freeze(certificates),
    anchors: Object.freeze([...anchors]),
    warnings: Object.freeze([...warnings]),
  });
}

const ORDER = ["tls.cert", "tls.key", "tls.ca"] as const;

function inOrder(findings: Report["findings"]): Report["findings"] {
  return findings.toSorted((a, b) => ORDER.indexOf(a.key) - ORDER.indexOf(b.key));
}

function toPem(certificates: readonly Certificate[]): string {
  return certificates.map(({ der }) => formatPem("CERTIFICATE", der)).join("");
}

/**
 * Freezes the material and keeps its key out of JSON and of what a console or a log would show. The
 * key stays an ordinary property: the material can still be posted to a Worker.
 */
function seal(material: Material): Material {
  const text = `Material(${formatName(material.leaf.subject)}, serial ${material.leaf.serial})`;
  const toJSON = { value: () => ({ ...material, keyPem: "(hidden)" }) };
  const inspect = { value: () => text };
  return Object.freeze(Object.defineProperties({ ...material }, {
    toJSON,
    [Symbol.for("Deno.customInspect")]: inspect,
    [Symbol.for("nodejs.util.inspect.custom")]: inspect,
  }));
}
