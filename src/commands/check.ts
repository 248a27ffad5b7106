/**
 * `check`: validates a config and every file that it names, and prints each finding with its fix.
 * Opens no socket.
 *
 * Errors go to stderr. Warnings, which leave the config usable, go to stdout with the summary, each as
 * `server.yaml: warning: KEY: ...`.
 *
 * @module
 */

import { readBoundedFile } from "../certstore/files.ts";
import { loadMaterial, MaterialError } from "../certstore/load.ts";
import type { Material } from "../certstore/material.ts";
import { formatAddress } from "../config/address.ts";
import type { Config } from "../config/config.ts";
import { escapeText, quote } from "../config/problem.ts";
import { configWarnings } from "../config/warnings.ts";
import { configName } from "../config_file.ts";
import { identityOf } from "../identity.ts";
import { spkiSha256 } from "../tls/fingerprint.ts";
import { verifySignature } from "../tls/signature.ts";
import type { Certificate } from "../x509/certificate.ts";
import { formatName } from "../x509/names.ts";
import { validatePath } from "../x509/path.ts";
import { revocationSummary, revocationWarnings } from "./check_revocation.ts";
import { type CommandIo, loadConfig, printFindings } from "./config.ts";

const DAY = 86_400_000;
/** Days before its end from which on a certificate is warned of. */
const SOON = 30;

const EKU = { client: "1.3.6.1.5.5.7.3.2", server: "1.3.6.1.5.5.7.3.1" } as const;

/**
 * Checks the config at `path` (`-`: standard input). Gives the exit status: 0 if it can be used,
 * warnings or not, else 2.
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
  const { config } = loaded;
  const file = configName(path);
  const warnings = [
    ...configWarnings(config).map(({ key, message }) => `${key}: ${message}`),
    ...await keyWarnings(config.tls.key),
  ];
  try {
    const material = await loadMaterial(config.tls, { readFile: readBoundedFile, now });
    warnings.push(...material.warnings, ...materialWarnings(config, material, now()));
    printWarnings(warnings, file, io);
    for (const line of summary(config, material, now())) io.stdout(escapeText(line));
    const count = warnings.length === 1 ? "1 warning" : `${warnings.length} warnings`;
    io.stdout(escapeText(`${file}: ok${warnings.length === 0 ? "" : `, ${count}`}`));
    return 0;
  } catch (error) {
    if (!(error instanceof MaterialError)) throw error;
    printFindings(error.findings, loaded, io);
    printWarnings(warnings, file, io);
    return 2;
  }
}

function printWarnings(warnings: readonly string[], file: string, io: CommandIo): void {
  for (const warning of warnings) io.stdout(escapeText(`${file}: warning: ${warning}`));
}

async function keyWarnings(path: string): Promise<readonly string[]> {
  let mode: number | null;
  try {
    mode = (await Deno.stat(path)).mode;
  } catch {
    return []; // That it cannot be read is said with all else that is wrong with it.
  }
  // Windows has no modes.
  if (Deno.build.os === "windows" || mode === null || (mode & 0o077) === 0) return [];
  const octal = (mode & 0o777).toString(8).padStart(4, "0");
  return [
    `tls.key: ${quote(path)} has mode ${octal}: not only its owner has access; chmod it to 0600`,
  ];
}

function materialWarnings(config: Config, material: Material, now: number): readonly string[] {
  const { leaf, anchors } = material;
  return [
    ...soonWarnings("tls.cert", config.tls.cert, material.chain, now),
    ...soonWarnings("tls.ca", config.tls.ca ?? "", anchors, now),
    ...roleWarnings(config, leaf),
    ...pathWarnings(config, material, now),
    ...revocationWarnings(material, now),
  ];
}

/** What has expired already is said when the files are loaded. */
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

function roleWarnings({ mode, tls }: Config, leaf: Certificate): readonly string[] {
  const usages = leaf.extendedKeyUsage;
  const warnings: string[] = [];
  const other = mode === "server" ? "client" : "server";
  // One that is for neither role is warned of when the files are loaded.
  if (usages !== undefined && !usages.includes(EKU[mode]) && usages.includes(EKU[other])) {
    warnings.push(
      `tls.cert: ${quote(tls.cert)}: it is for TLS ${other}s only (extended key usage): peers ` +
        `refuse it; issue one with ${mode}Auth`,
    );
  }
  const named = leaf.subjectAltNames.some(({ kind }) => kind === "dns" || kind === "ip");
  if (mode === "server" && !named) {
    warnings.push(
      `tls.cert: ${quote(tls.cert)}: it carries no DNS name or IP address (SAN): clients that ` +
        "check the server's name refuse it; issue one with the name that they dial",
    );
  }
  return warnings;
}

/** Both ends mostly share their CAs, so an own chain that ours do not verify is a likely mistake. */
function pathWarnings({ mode, tls }: Config, material: Material, now: number): readonly string[] {
  const { chain, anchors, revocation, leaf } = material;
  const usages = leaf.extendedKeyUsage;
  // Wrong usages have a warning of their own, which this one would only repeat.
  if (tls.ca === undefined || (usages !== undefined && !usages.includes(EKU[mode]))) return [];
  const policy = { anchors, revocation, purpose: mode, now, verifySignature };
  const verdict = validatePath(chain, policy);
  // That it is revoked is said when the files are loaded.
  if (verdict.ok || verdict.fault === "revoked") return [];
  return [
    `tls.cert: ${quote(tls.cert)}: a peer with the CAs of tls.ca would refuse it: ` +
    `${verdict.detail}; this is in order only where peers trust other CAs`,
  ];
}

function summary(config: Config, material: Material, now: number): readonly string[] {
  const { leaf } = material;
  const { subject, subjectAltNames } = identityOf(leaf, spkiSha256(leaf.publicKey));
  const [listen, target] = [formatAddress(config.listen), formatAddress(config.target)];
  return [
    config.mode === "server"
      ? `tunnel: server, TLS on ${listen} to plain TCP at ${target}`
      : `tunnel: client, plain TCP on ${listen} to TLS at ${target}`,
    `own certificate: ${subject === "" ? "no subject" : subject}`,
    `  names: ${subjectAltNames.length === 0 ? "none" : subjectAltNames.join(", ")}`,
    `  key: ${keyName(leaf)}`,
    `  valid until: ${validUntil(leaf.notAfter, now)}`,
    `peers: ${peers(config, material, now)}`,
    ...revocationSummary(material, now),
  ];
}

function keyName({ publicKey }: Certificate): string {
  switch (publicKey.kind) {
    case "ec":
      return `ECDSA ${publicKey.curve}`;
    case "rsa":
      return `RSA ${publicKey.bits}`;
    case "ed25519":
      return "Ed25519";
    case "unsupported":
      return publicKey.what;
    default:
      return publicKey satisfies never;
  }
}

function peers({ tls, acl, mode }: Config, { anchors }: Material, now: number): string {
  if (mode === "server" && tls.clientAuth === "none") return "anybody, no certificate is asked for";
  const first = Math.min(...anchors.map(({ notAfter }) => notAfter));
  const cas = anchors.length === 1
    ? `1 CA, valid until ${validUntil(first, now)}`
    : `${anchors.length} CAs, the first to expire at ${validUntil(first, now)}`;
  const optional = tls.clientAuth === "optional" ? "; a certificate is optional" : "";
  return `${cas}; ${rules(acl)}${optional}`;
}

function rules({ allow, deny, mode, allowAnonymous }: Config["acl"]): string {
  const count = (side: string, n: number) => n === 0 ? [] : [`${n} ${side} ${plural(n, "rule")}`];
  const counts = [...count("allow", allow.length), ...count("deny", deny.length)];
  if (counts.length === 0) return "no rules, every valid certificate is let in";
  return counts.join(", ") +
    (mode === "audit" ? ", on trial (audit): nobody with a valid certificate is denied" : "") +
    (allowAnonymous ? ", not asked of peers without a certificate" : "");
}

function plural(n: number, word: string): string {
  return n === 1 ? word : `${word}s`;
}

/** `2026-03-28T23:07:44Z (12 days left)`. */
function validUntil(notAfter: number, now: number): string {
  const time = new Date(notAfter).toISOString().replace(/\.\d+Z$/, "Z");
  const days = Math.floor((notAfter - now) / DAY);
  if (days < 0) return `${time} (expired)`;
  return `${time} (${days === 1 ? "1 day" : `${days} days`} left)`;
}
