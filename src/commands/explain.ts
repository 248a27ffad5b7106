/**
 * `explain`: says whether a peer would be let in, and by which rule. The daemon's own evaluator does
 * it, from the files that the config names to the last rule: what this says and what the daemon does
 * cannot differ. Only the reason for a server's bad chain can: the TLS engine has a verdict of its own
 * besides, in client mode it comes first, and it calls most faults `untrusted`.
 *
 * The answer is one `name: value` a line. Values are the peer's words: escaped, and in quotes.
 *
 * @module
 */

import { authorize, type Decision } from "../acl.ts";
import { type Basis, formatBasis } from "../acl/decision.ts";
import { DIMENSIONS, formatRule, ruleKey } from "../acl/rule.ts";
import { dnsName } from "../acl/dns.ts";
import { textFault } from "../acl/text.ts";
import { uriFault } from "../acl/uri.ts";
import { shownIn } from "../acl/view.ts";
import { describeReadError, readBoundedFile } from "../certstore/files.ts";
import { describeNotPem, describeWrongBlocks } from "../certstore/foreign.ts";
import { loadMaterial, MaterialError } from "../certstore/load.ts";
import type { Material } from "../certstore/material.ts";
import { parsePem } from "../certstore/pem.ts";
import type { Config } from "../config/config.ts";
import { escapeText, quote } from "../config/problem.ts";
import { identityOf, type PeerIdentity } from "../identity.ts";
import { expectedName, peerVerifier } from "../proxy/peer_verifier.ts";
import { spkiSha256 } from "../tls/fingerprint.ts";
import type { PeerVerdict } from "../tls/verdict.ts";
import { type Certificate, CertificateError } from "../x509/certificate.ts";
import { parseCertificate } from "../x509/parse.ts";
import { type CommandIo, loadConfig, printFindings } from "./config.ts";

const DAY = 86_400_000;
/** Days before its end from which on a certificate is noted. */
const SOON = 30;
/** Characters of a value that are shown: more than any honest name has. */
const MAX_SHOWN = 200;

/** What to explain. */
export type ExplainOptions = {
  /** The config, or `-` for standard input. */
  readonly config: string;
  /** The chain that the peer shows, or `-`; `undefined`: it shows none. */
  readonly cert: string | undefined;
};

/**
 * Explains. Gives the exit status: 0 when the peer would be let in, 1 when not, 2 when the config, a
 * file that it names or the certificate cannot be read.
 *
 * @param now milliseconds since the epoch.
 */
export async function explain(
  options: ExplainOptions,
  io: CommandIo,
  now: () => number = Date.now,
): Promise<number> {
  const loaded = await loadConfig(options.config, io);
  if (loaded === undefined) return 2;
  const { config } = loaded;
  try {
    const material = await loadMaterial(config.tls, { readFile: readBoundedFile, now });
    const chain = options.cert === undefined ? [] : await readChain(options.cert);
    const opinion = judgeChain(config, material, chain, now);
    for (const line of describe(config, opinion, now())) io.stdout(escapeText(line));
    return opinion.kind === "decided" && opinion.decision.admit ? 0 : 1;
  } catch (error) {
    if (error instanceof MaterialError) {
      printFindings(error.findings, loaded, io);
    } else if (error instanceof PeerFileError) {
      io.stderr(escapeText(error.message));
    } else {
      throw error;
    }
    return 2;
  }
}

/** The peer's file cannot be read. */
class PeerFileError extends Error {
  override readonly name = "PeerFileError";
}

/** The certificates of the file in DER, unread: what is wrong with them is the verdict's to say. */
async function readChain(path: string): Promise<readonly Uint8Array[]> {
  const refuse = (why: string, cause?: unknown): never => {
    throw new PeerFileError(`Cannot use --cert ${quote(path)}: ${why}`, { cause });
  };
  let bytes: Uint8Array;
  try {
    bytes = path === "-"
      ? new Uint8Array(await new Response(Deno.stdin.readable).arrayBuffer())
      : await readBoundedFile(path);
  } catch (error) {
    return refuse(describeReadError(error, path), error);
  }
  const blocks = parsePem(new TextDecoder().decode(bytes));
  const own = blocks.filter(({ label }) => label === "CERTIFICATE");
  if (own.length === 0) {
    return refuse(
      blocks.length === 0
        ? describeNotPem(bytes, path, "certificate")
        : describeWrongBlocks(blocks, path, "certificate"),
    );
  }
  return own.map((block) =>
    block.kind === "sound" ? block.der : refuse(
      `the certificate in line ${block.line} is damaged: ` +
        (block.kind === "broken" ? block.fault : "it is encrypted"),
    )
  );
}

/** What the daemon would make of the peer. */
type Opinion =
  /** The chain does not hold, or is missing: the handshake fails. */
  | {
    readonly kind: "refused";
    readonly verdict: Extract<PeerVerdict, { ok: false }>;
    readonly leaf: Certificate | undefined;
  }
  /** The rules were asked. */
  | {
    readonly kind: "decided";
    readonly decision: Decision;
    readonly certificate: Certificate | undefined;
    readonly chain: readonly Uint8Array[];
    readonly identity: PeerIdentity | undefined;
    readonly validUntil: number | undefined;
  };

/** The same steps as in a handshake: what is asked of the peer, its chain, the rules. */
function judgeChain(
  config: Config,
  material: Material,
  chain: readonly Uint8Array[],
  now: () => number,
): Opinion {
  const { clientAuth } = config.tls;
  const asked = config.mode === "client" || clientAuth !== "none";
  if (!asked || (config.mode === "server" && chain.length === 0 && clientAuth === "optional")) {
    return {
      kind: "decided",
      decision: authorize(undefined, config.acl),
      certificate: undefined,
      chain: [],
      identity: undefined,
      validUntil: undefined,
    };
  }
  const verdict = peerVerifier(config, material, now).verify(chain);
  if (!verdict.ok) return { kind: "refused", verdict, leaf: readLeaf(chain) };
  const { certificate, spki, validUntil } = verdict.peer;
  const identity = identityOf(certificate, spki);
  const decision = authorize(identity, config.acl);
  return { kind: "decided", decision, certificate, chain, identity, validUntil };
}

function readLeaf([leaf]: readonly Uint8Array[]): Certificate | undefined {
  try {
    return leaf && parseCertificate(leaf);
  } catch (error) {
    if (error instanceof CertificateError) return undefined; // The verdict says so.
    throw error;
  }
}

function describe(config: Config, opinion: Opinion, now: number): readonly string[] {
  if (opinion.kind === "refused") {
    const { verdict: { reason, detail }, leaf } = opinion;
    return [
      "verdict: denied",
      `chain: ${reason}: ${detail}`,
      ...(leaf === undefined
        ? []
        : describeLeaf(leaf, identityOf(leaf, spkiSha256(leaf.publicKey)))),
      "decided by: the chain; the rules are not asked",
      ...(leaf === undefined ? [] : notes(config, leaf, now)),
    ];
  }
  const { decision, certificate, identity, validUntil, chain } = opinion;
  const { basis } = decision.verdict;
  const lines = [verdictLine(decision)];
  if (certificate === undefined || identity === undefined || validUntil === undefined) {
    lines.push(
      config.tls.clientAuth === "none"
        ? "chain: none is asked for"
        : "chain: none is shown, and none is required",
    );
  } else {
    const shown = chain.length === 1 ? "1 certificate" : `${chain.length} certificates`;
    lines.push(`chain: holds until ${time(validUntil)} (${days(validUntil, now)}), ${shown} shown`);
    lines.push(...describeLeaf(certificate, identity));
  }
  lines.push(`decided by: ${decidedBy(basis)}`);
  if (basis.kind === "rule") lines.push(`shown: ${quote(basis.shown, MAX_SHOWN)}`);
  if (basis.kind === "no_match" && basis.nearest !== undefined) {
    const { rule, shown, why } = basis.nearest;
    lines.push(
      `nearest: ${ruleKey(rule)}: ${quote(rule.text, MAX_SHOWN)} is not ` +
        `${quote(shown, MAX_SHOWN)}: ${why}`,
    );
  }
  if (certificate !== undefined) lines.push(...notes(config, certificate, now));
  return lines;
}

function verdictLine(decision: Decision): string {
  if (!decision.admit) return "verdict: denied";
  return decision.wouldDeny ? "verdict: would be denied (audit)" : "verdict: allowed";
}

function decidedBy(basis: Basis): string {
  // A rule is quoted whole, as it can be searched for in the config.
  return basis.kind === "rule" ? formatRule(basis.rule) : formatBasis(basis);
}

/** All that rules look at; a dimension without values is left out. */
function describeLeaf(leaf: Certificate, identity: PeerIdentity): readonly string[] {
  return [
    `subject: ${quote(identity.subject, MAX_SHOWN)}`,
    `issuer: ${quote(identity.issuer, MAX_SHOWN)}`,
    `serial: ${identity.serial}`,
    `valid: ${time(leaf.notBefore)} to ${time(leaf.notAfter)}`,
    ...DIMENSIONS.flatMap((dimension) =>
      shownIn(dimension, identity).map((value) => `${dimension}: ${quote(value, MAX_SHOWN)}`)
    ),
  ];
}

/** What stands in the way of rules, or soon will. */
function notes(config: Config, leaf: Certificate, now: number): readonly string[] {
  const identity = identityOf(leaf, spkiSha256(leaf.publicKey));
  const found: string[] = [];
  if (leaf.notAfter >= now && leaf.notAfter < now + SOON * DAY) {
    found.push(`the certificate expires at ${time(leaf.notAfter)} (${days(leaf.notAfter, now)})`);
  }
  if (identity.commonNames.length > 1) {
    found.push("a subject with several CNs matches no allow_cn, and every deny_cn looks at each");
  }
  const subject = [
    ...identity.commonNames,
    ...identity.organizations,
    ...identity.organizationalUnits,
  ];
  for (const value of subject) {
    const fault = textFault(value);
    if (fault !== undefined) found.push(noMatch(value.guess, fault));
  }
  for (const name of identity.dnsNames) {
    if (dnsName(name) !== undefined) continue;
    found.push(
      noMatch(name, name.includes("*") ? "a wildcard is not a name" : "it is no DNS name"),
    );
  }
  for (const uri of identity.uris) {
    const fault = uriFault(uri);
    if (fault !== undefined) found.push(noMatch(uri, fault.why));
  }
  const name = expectedName(config);
  if (name !== undefined) found.push(`the server must carry the name ${quote(name)}`);
  return found.map((note) => `note: ${note}`);
}

function noMatch(value: string, why: string): string {
  return `${quote(value, MAX_SHOWN)} matches no allow rule: ${why}`;
}

function time(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}

function days(until: number, now: number): string {
  const left = Math.floor((until - now) / DAY);
  return left === 1 ? "1 day left" : `${left} days left`;
}
