/**
 * `explain`: says whether a peer would be admitted, and by which rule. It uses the daemon's own
 * code, from loading the files to evaluating the rules, so the answer cannot differ from what the
 * daemon does. The one thing it cannot check is whether a peer holds the private key.
 *
 * The answer consists of `name: value` lines. Values come from the peer, so they are escaped and
 * quoted.
 *
 * @module
 */

import { authorize } from "../acl/mod.ts";
import { describeReadError, readBoundedFile, readToEnd } from "../certstore/files.ts";
import { describeNotPem, describeWrongBlocks, parsePem } from "../certstore/pem.ts";
import { CredentialError, loadCredentials } from "../certstore/load.ts";
import type { Credentials } from "../x509/credentials.ts";
import type { Config, TlsConfig, TunnelConfig } from "../config/config.ts";
import type { AclConfig } from "../acl/rule.ts";
import { either, escapeText, quote } from "../util/text.ts";
import { identityOf } from "../identity.ts";
import { type PeerRole, peerVerifier } from "../proxy/tls_contexts.ts";
import { type Certificate, CertificateError } from "../x509/certificate.ts";
import { parseCertificate } from "../x509/parse.ts";
import { describe, type Outcome } from "./explain_answer.ts";
import {
  type CommandIo,
  loadConfig,
  type LoadedConfig,
  printFindings,
  type TlsOwner,
} from "./load_config.ts";

/** The arguments of the command. */
export type ExplainOptions = {
  /** The config, or `-` for standard input. */
  readonly config: string;
  /**
   * The chain that the peer presents, or `-` for standard input; `undefined` for a peer without
   * one.
   */
  readonly cert: string | undefined;
  /** The name of the tunnel to check; `undefined` for all of them. */
  readonly tunnel?: string | undefined;
};

/**
 * Runs the command. Returns the exit status: 0 if each checked tunnel would admit the peer on one
 * of its sides, 1 if not, 2 if the config, a file that it names or the certificate cannot be read.
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
  const tunnels = chosen(loaded.config, options.tunnel);
  if (tunnels.length === 0) {
    const known = loaded.config.tunnels.flatMap(({ name }) => name === undefined ? [] : [name]);
    const advice = known.length === 0 ? "the config has no names" : `must be ${either(known)}`;
    io.stderr(`Cannot use --tunnel ${quote(options.tunnel ?? "")}: ${advice}`);
    return 2;
  }
  try {
    const chain = options.cert === undefined ? [] : await readChain(options.cert);
    let admitted = 0;
    for (const tunnel of tunnels) {
      let admits = false;
      const questions = questionsOf(tunnel);
      if (tunnel.name !== undefined) io.stdout(`tunnel: ${tunnel.name}`);
      for (const question of questions) {
        const credentials = await load(question, loaded, io, now);
        if (credentials === undefined) return 2;
        if (questions.length > 1) io.stdout(`peer: ${question.peer}`);
        const outcome = evaluateChain(question, credentials, chain, now);
        for (const line of describe(question, outcome, now())) io.stdout(escapeText(line));
        admits ||= outcome.kind === "decided" && outcome.decision.admit;
      }
      if (admits) admitted++;
    }
    return admitted === tunnels.length ? 0 : 1;
  } catch (error) {
    if (!(error instanceof PeerFileError)) throw error;
    io.stderr(escapeText(error.message));
    return 2;
  }
}

function chosen({ tunnels }: Config, name: string | undefined): readonly TunnelConfig[] {
  return name === undefined ? tunnels : tunnels.filter((tunnel) => tunnel.name === name);
}

async function load(
  { owner, tls }: Question,
  loaded: LoadedConfig,
  io: CommandIo,
  now: () => number,
): Promise<Credentials | undefined> {
  try {
    return await loadCredentials(tls, { readFile: readBoundedFile, now });
  } catch (error) {
    if (!(error instanceof CredentialError)) throw error;
    printFindings(error.findings, loaded, io, owner);
    return undefined;
  }
}

/** A side of a tunnel that authenticates peers. */
type Question = {
  readonly owner: TlsOwner;
  readonly tls: TlsConfig;
  readonly acl: AclConfig;
  readonly role: PeerRole;
  /** The peer, for example `the client that connects`. */
  readonly peer: string;
};

/** One question for the downstream, and one for each name that an upstream server must have. */
function questionsOf(
  { name, mode, tls, acl, upstream, targets }: TunnelConfig,
): readonly Question[] {
  const owner = { tunnel: name, side: "tls" } as const;
  const asClient: Question = {
    owner,
    tls,
    acl,
    role: { purpose: "client" },
    peer: "the client that connects",
  };
  if (mode === "server") return [asClient];
  const side = upstream === undefined
    ? { owner, tls, acl }
    : { owner: { tunnel: name, side: "upstream_tls" } as const, ...upstream };
  const names = new Set(targets.flatMap(({ serverName }) => serverName ?? []));
  const asServer = [...names].map((serverName): Question => ({
    ...side,
    role: { purpose: "server", serverName },
    peer: `the server ${quote(serverName)}`,
  }));
  return mode === "bridge" ? [asClient, ...asServer] : asServer;
}

/** The file with the peer's chain cannot be read. */
class PeerFileError extends Error {
  override readonly name = "PeerFileError";
}

/** The certificates of the file in DER, not parsed: faults in them are part of the answer. */
async function readChain(path: string): Promise<readonly Uint8Array[]> {
  const refuse = (why: string, cause?: unknown): never => {
    throw new PeerFileError(`Cannot use --cert ${quote(path)}: ${why}`, { cause });
  };
  let bytes: Uint8Array;
  try {
    bytes = await (path === "-" ? readToEnd(Deno.stdin) : readBoundedFile(path));
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

/** Takes the same steps as a handshake: client authentication, verification of the chain, rules. */
function evaluateChain(
  { tls: { clientAuth }, acl, role }: Question,
  credentials: Credentials,
  chain: readonly Uint8Array[],
  now: () => number,
): Outcome {
  const mayBeAbsent = clientAuth === "none" || (clientAuth === "optional" && chain.length === 0);
  if (role.purpose === "client" && mayBeAbsent) {
    return {
      kind: "decided",
      decision: authorize(undefined, acl),
      certificate: undefined,
      chain: [],
      identity: undefined,
      validUntil: undefined,
    };
  }
  const result = peerVerifier(role, credentials, now).verifyNow(chain);
  if (!result.ok) return { kind: "refused", result, leaf: readLeaf(chain) };
  const { certificate, spki, validUntil } = result.peer;
  const identity = identityOf(certificate, spki);
  const decision = authorize(identity, acl);
  return { kind: "decided", decision, certificate, chain, identity, validUntil };
}

function readLeaf([leaf]: readonly Uint8Array[]): Certificate | undefined {
  try {
    return leaf && parseCertificate(leaf);
  } catch (error) {
    if (error instanceof CertificateError) return undefined; // Reported as the reason for the refusal.
    throw error;
  }
}
