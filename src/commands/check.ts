/**
 * `check`: validates a config and every file that it names, and prints each finding with its fix.
 * Opens no socket.
 *
 * Errors go to stderr. Warnings, which leave the config usable, go to stdout with the summary, each
 * as `server.yaml: warning: KEY: ...`.
 *
 * @module
 */

import { readBoundedFile } from "../certstore/files.ts";
import { CredentialError, loadCredentials } from "../certstore/load.ts";
import type { Credentials } from "../x509/credentials.ts";
import type { TlsConfig, TunnelConfig } from "../config/config.ts";
import { escapeText, quote } from "../util/text.ts";
import { configWarnings } from "../config/warnings.ts";
import { configName } from "../control/config_file.ts";
import { verifySignature } from "../tls/signature.ts";
import type { Certificate } from "../x509/certificate.ts";
import { formatName } from "../x509/names.ts";
import { validatePath } from "../x509/path.ts";
import { describeRefusal } from "../x509/refusal.ts";
import { revocationWarnings, summary, validUntil } from "./check_summary.ts";
import {
  type CommandIo,
  keyName,
  loadConfig,
  type LoadedConfig,
  printFindings,
  tlsSides,
} from "./load_config.ts";

const DAY = 86_400_000;
/** Certificates that expire within this number of days cause a warning. */
const SOON = 30;

const EKU = { client: "1.3.6.1.5.5.7.3.2", server: "1.3.6.1.5.5.7.3.1" } as const;

/** A TLS side of a tunnel, as needed for warnings. */
type Side = {
  readonly tls: TlsConfig;
  /** Whether this side is the TLS server or the client. */
  readonly own: keyof typeof EKU;
  /** The name of a key such as `tls.cert` in messages. */
  readonly nameOf: (key: string) => string;
};

/**
 * Checks the config at `path` (`-`: standard input). Returns the exit status: 0 if it is usable,
 * even with warnings, else 2.
 *
 * @param now milliseconds since the epoch.
 */
export async function check(
  path: string,
  io: CommandIo,
  now: () => number = Date.now,
): Promise<number> {
  const loaded = await loadConfig(path, io);
  if (loaded === undefined) return 2;
  const file = configName(path);
  // Tunnels that share a block have the same findings, which are printed once.
  const errors = new Set<string>();
  const warnings = new Set(
    configWarnings(loaded.config).map(({ key, message }) => `${key}: ${message}`),
  );
  const lines: string[] = [];
  const stderr = (line: string): void => void errors.add(line);
  for (const tunnel of loaded.config.tunnels) {
    lines.push(...await checkFiles(tunnel, loaded, warnings, { ...io, stderr }, now));
  }
  for (const line of errors) io.stderr(line);
  for (const warning of warnings) io.stdout(escapeText(`${file}: warning: ${warning}`));
  if (errors.size > 0) return 2;
  for (const line of lines) io.stdout(escapeText(line));
  const count = warnings.size === 1 ? "1 warning" : `${warnings.size} warnings`;
  io.stdout(escapeText(`${file}: ok${warnings.size === 0 ? "" : `, ${count}`}`));
  return 0;
}

/** Checks the files of one tunnel; returns its summary. */
async function checkFiles(
  tunnel: TunnelConfig,
  loaded: LoadedConfig,
  warnings: Set<string>,
  io: CommandIo,
  now: () => number,
): Promise<readonly string[]> {
  const loadedCredentials: Credentials[] = [];
  for (const { owner, tls } of tlsSides(tunnel)) {
    const side: Side = {
      tls,
      own: tunnel.mode === "client" || owner.side === "upstream_tls" ? "client" : "server",
      nameOf: (key) => keyName(loaded.origin(key, owner)),
    };
    for (const warning of await keyWarnings(side)) warnings.add(warning);
    try {
      const deps = { readFile: readBoundedFile, now, maxWarned: Infinity };
      const credentials = await loadCredentials(tls, deps);
      loadedCredentials.push(credentials);
      for (const warning of credentialWarnings(side, credentials, now())) warnings.add(warning);
    } catch (error) {
      if (!(error instanceof CredentialError)) throw error;
      printFindings(error.findings, loaded, io, owner);
    }
  }
  const [own, upstream] = loadedCredentials;
  if (own === undefined || (tunnel.upstream !== undefined && upstream === undefined)) return [];
  return summary(tunnel, { own, upstream }, now());
}

async function keyWarnings({ tls: { key: path }, nameOf }: Side): Promise<readonly string[]> {
  let mode: number | null;
  let uid: number | null;
  try {
    ({ mode, uid } = await Deno.stat(path));
  } catch {
    return []; // Unreadable files are reported when they are loaded.
  }
  // Windows has no file modes.
  if (Deno.build.os === "windows" || mode === null || (mode & 0o077) === 0) return [];
  // The mode of a Secret in Kubernetes: owned by root, and readable by the group of the Pod.
  if (uid === 0 && (mode & 0o777) === 0o440) return [];
  const octal = (mode & 0o777).toString(8).padStart(4, "0");
  return [
    `${nameOf("tls.key")}: ${quote(path)} has mode ${octal}: not only its owner has access; ` +
    "chmod it to 0600",
  ];
}

function credentialWarnings(side: Side, credentials: Credentials, now: number): readonly string[] {
  const { tls, nameOf } = side;
  const found = [
    ...credentials.warnings,
    ...soonWarnings("tls.cert", tls.cert, credentials.chain, now),
    ...soonWarnings("tls.ca", tls.ca ?? "", credentials.anchors, now),
    ...soonWarnings("tls.intermediates", tls.intermediates ?? "", credentials.intermediates, now),
    ...roleWarnings(side, credentials.leaf),
    ...pathWarnings(side, credentials, now),
    ...revocationWarnings(credentials, now),
  ];
  return found.map((line) => line.replace(/^tls\.\w+(?=: )/, nameOf));
}

/** Warns about certificates that expire soon. Expired ones are reported when they are loaded. */
function soonWarnings(
  key: string,
  path: string,
  certificates: readonly Certificate[],
  now: number,
): readonly string[] {
  return certificates
    .filter(({ notAfter }) => notAfter >= now && notAfter < now + SOON * DAY)
    .map(({ subject, notAfter }) =>
      `${key}: ${quote(path)}: ${quote(formatName(subject))} expires at ` +
      `${validUntil(notAfter, now)}; renew it`
    );
}

function roleWarnings({ own, tls }: Side, leaf: Certificate): readonly string[] {
  const usages = leaf.extendedKeyUsage;
  const warnings: string[] = [];
  const other = own === "server" ? "client" : "server";
  // Certificates for neither role cause a warning when the files are loaded.
  if (usages !== undefined && !usages.includes(EKU[own]) && usages.includes(EKU[other])) {
    warnings.push(
      `tls.cert: ${quote(tls.cert)}: it is for TLS ${other}s only (extended key usage): peers ` +
        `refuse it; issue one with ${own}Auth`,
    );
  }
  const named = leaf.subjectAltNames.some(({ kind }) => kind === "dns" || kind === "ip");
  if (own === "server" && !named) {
    warnings.push(
      `tls.cert: ${quote(tls.cert)}: it carries no DNS name or IP address (SAN): clients that ` +
        "check the server's name refuse it; issue one with the name that they dial",
    );
  }
  return warnings;
}

/**
 * Both sides usually share their CAs, so an own chain that the own bundle does not verify is
 * probably a mistake.
 */
function pathWarnings(
  { own, tls, nameOf }: Side,
  { chain, anchors, leftOut, intermediates, revocation, leaf }: Credentials,
  now: number,
): readonly string[] {
  const usages = leaf.extendedKeyUsage;
  // Wrong key usages have their own warning, which this one would repeat.
  if (tls.ca === undefined || (usages !== undefined && !usages.includes(EKU[own]))) return [];
  // A server's chain is completed with the intermediates.
  const sent = own === "server" ? intermediates : [];
  const policy = { anchors, intermediates: sent, revocation, purpose: own, now, verifySignature };
  const result = validatePath(chain, policy);
  // Revoked certificates are reported when the files are loaded.
  if (result.ok || result.fault === "revoked") return [];
  const shown = { presented: chain.map(({ der }) => der), readable: chain };
  const known = { anchors, intermediates: sent, leftOut };
  return [
    `tls.cert: ${quote(tls.cert)}: a peer with the CAs of ${nameOf("tls.ca")} would refuse it: ` +
    `${describeRefusal(result, shown, known)}; this is in order only where peers trust other CAs`,
  ];
}
