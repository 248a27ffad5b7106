/**
 * The second verdict: our own strict judgement of the chain that a peer showed, on every connection
 * of both roles, resumed or not. The engine's alone lets in forged certificates.
 *
 * @module
 */

import { createHash } from "node:crypto";
import type { HandshakeReason } from "../proxy/outcome.ts";
import { type Certificate, CertificateError } from "../x509/certificate.ts";
import { parseCertificate } from "../x509/parse.ts";
import { type Purpose, validatePath } from "../x509/path.ts";
import { carriesName } from "../x509/server_name.ts";
import { verifySignature } from "./signature.ts";

/** A peer whose chain holds. */
export type VerifiedPeer = {
  /** The peer's own certificate. */
  readonly certificate: Certificate;
  /** When the path stops being valid, milliseconds since the epoch. */
  readonly validUntil: number;
};

/** What we think of a chain. */
export type PeerVerdict =
  | { readonly ok: true; readonly peer: VerifiedPeer }
  | { readonly ok: false; readonly reason: HandshakeReason; readonly detail: string };

/** Judges a chain, DER, the peer's own certificate first. */
export type VerifyPeer = (presented: readonly Uint8Array[]) => PeerVerdict;

/** What chains are judged by. */
export type VerifierOptions = {
  readonly anchors: readonly Certificate[];
  /** The role that the peer plays. */
  readonly purpose: Purpose;
  /** The name that a server must carry; without one none is asked for. */
  readonly serverName?: string;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
};

/** Verdicts to remember for each trust state; the oldest goes first. */
const MAX_REMEMBERED = 4096;

type Remembered = { readonly peer: VerifiedPeer; readonly validFrom: number };

/**
 * Judges chains for one trust state: make a new one when the bundle changes. A positive verdict is
 * remembered by the chain's fingerprint, for no longer than the path is valid.
 */
export class PeerVerifier {
  readonly #options: VerifierOptions;
  readonly #remembered = new Map<string, Remembered>();

  /** Judges by `options` from now on. */
  constructor(options: VerifierOptions) {
    this.#options = options;
  }

  /** Judges `presented`, DER, the peer's own certificate first. Never throws. */
  verify(presented: readonly Uint8Array[]): PeerVerdict {
    const now = this.#options.now();
    const fingerprint = fingerprintOf(presented);
    const known = this.#remembered.get(fingerprint);
    if (known !== undefined && now >= known.validFrom && now <= known.peer.validUntil) {
      return { ok: true, peer: known.peer };
    }
    this.#remembered.delete(fingerprint);
    const judged = this.#judge(presented, now);
    if ("reason" in judged) return { ok: false, ...judged };
    if (this.#remembered.size >= MAX_REMEMBERED) {
      const [oldest] = this.#remembered.keys();
      if (oldest !== undefined) this.#remembered.delete(oldest);
    }
    this.#remembered.set(fingerprint, judged);
    return { ok: true, peer: judged.peer };
  }

  #judge(
    presented: readonly Uint8Array[],
    now: number,
  ): Remembered | { reason: HandshakeReason; detail: string } {
    const [leafDer, ...rest] = presented;
    if (leafDer === undefined) {
      return { reason: "no_certificate", detail: "the peer showed no certificate" };
    }
    const leaf = tryParse(leafDer);
    if (leaf instanceof CertificateError) {
      return { reason: "bad_certificate", detail: `the peer's certificate: ${leaf.message}` };
    }
    // What cannot be read cannot be part of a path, and does no harm beside one.
    const others = rest.map(tryParse).filter((parsed): parsed is Certificate =>
      !(parsed instanceof CertificateError)
    );
    const { anchors, purpose, serverName } = this.#options;
    const verdict = validatePath([leaf, ...others], { anchors, purpose, now, verifySignature });
    if (!verdict.ok) return { reason: verdict.fault, detail: verdict.detail };
    if (serverName !== undefined && !carriesName(leaf, serverName)) {
      return {
        reason: "name_mismatch",
        detail: `the server's certificate does not carry the name ${serverName}`,
      };
    }
    const { validFrom, validUntil } = verdict;
    return { peer: { certificate: leaf, validUntil }, validFrom };
  }
}

function tryParse(der: Uint8Array): Certificate | CertificateError {
  try {
    return parseCertificate(der);
  } catch (error) {
    if (error instanceof CertificateError) return error;
    throw error;
  }
}

function fingerprintOf(chain: readonly Uint8Array[]): string {
  const hash = createHash("sha256");
  for (const der of chain) {
    // The length keeps the boundaries between certificates part of what is hashed.
    hash.update(`${der.length}:`);
    hash.update(der);
  }
  return hash.digest("base64");
}
