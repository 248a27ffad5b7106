/**
 * Independent verification of the chain that a peer showed, on every connection of both roles,
 * resumed or not. The runtime's TLS only proves that the peer holds the key of its certificate.
 *
 * It answers most of the problems that were found in `node:tls` of Deno 2.9: `README.md` lists them,
 * with the file that deals with each.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { namesOf } from "../identity.ts";
import type { HandshakeReason } from "../outcome.ts";
import { type Certificate, CertificateError } from "../x509/certificate.ts";
import { parseCertificate } from "../x509/parse.ts";
import { type Purpose, type Steps, validationSteps } from "../x509/path.ts";
import { describeRefusal, describeUnreadable, type Known } from "../x509/refusal.ts";
import { NO_REVOCATION, type Revocation } from "../x509/revocation.ts";
import { carriesName } from "../x509/server_name.ts";
import { FairQueue } from "./fair_queue.ts";
import { crossCheck } from "./cross_check.ts";
import { spkiSha256, verifySignature, verifySignatureFaster } from "./signature.ts";
import { SignatureCache } from "./signature_cache.ts";

/** A peer whose chain was verified. */
export type VerifiedPeer = {
  /** The peer's own certificate. */
  readonly certificate: Certificate;
  /** SHA-256 of its public key, base64. */
  readonly spki: string;
  /**
   * The certificates that it showed, DER, its own first: to verify them again when the trust
   * changes.
   */
  readonly chain: readonly Uint8Array[];
  /** When the path stops being valid, milliseconds since the epoch. */
  readonly validUntil: number;
};

/** The result of verifying a chain. */
export type VerificationResult =
  | { readonly ok: true; readonly peer: VerifiedPeer }
  | { readonly ok: false; readonly reason: HandshakeReason; readonly detail: string };

/** The peer for which a chain is verified. */
export type Requester = {
  /** Peers of one source wait for each other, such as those of one address. */
  readonly source: string;
  /** Aborts when the result is no longer needed. */
  readonly signal: AbortSignal;
};

/**
 * Verifies a chain, DER, the peer's own certificate first. Returns at once where the result is
 * cached; it is, in the turn in which a promise of success resolves.
 */
export type VerifyPeer = (
  presented: readonly Uint8Array[],
  requester: Requester,
) => VerificationResult | Promise<VerificationResult>;

/** The trust and settings of a verification. */
export type VerifierOptions = {
  readonly anchors: readonly Certificate[];
  /** Certificates to build paths from, besides those that the peer shows; default none. */
  readonly intermediates?: readonly Certificate[];
  /** Certificates of the bundle that cannot be used, for messages; default none. */
  readonly leftOut?: Known["leftOut"];
  /** Revocation lists. */
  readonly revocation: Revocation;
  /** The role that the peer plays. */
  readonly purpose: Purpose;
  /** The name that a server's certificate must carry; absent, no name is checked. */
  readonly serverName?: string;
  /** Signature checks cached before this trust was loaded; default none. */
  readonly signatures?: SignatureCache | undefined;
  /** Queue for verifications; default a queue of its own. */
  readonly queue?: FairQueue | undefined;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
};

/**
 * Maximum number of cached results, and of the bytes of their chains; the oldest is dropped first.
 */
const MAX_REMEMBERED = 1024;
const MAX_REMEMBERED_BYTES = 8 * 1024 * 1024;

/** The longest handshake message that the runtime accepts. */
const MAX_MESSAGE_BYTES = 0xffff;

type Remembered = { readonly peer: VerifiedPeer; readonly validFrom: number };
type Refused = { readonly reason: HandshakeReason; readonly detail: string };

/**
 * Verifies chains against one state of trust: make a new one when the bundle or a revocation list
 * changes. A success is cached by the chain's fingerprint, for no longer than the path is valid.
 */
export class PeerVerifier {
  readonly #options: VerifierOptions;
  readonly #signatures: SignatureCache;
  readonly #queue: FairQueue;
  readonly #remembered = new Map<string, Remembered>();
  #rememberedBytes = 0;

  /** Starts with an empty cache. */
  constructor(options: VerifierOptions) {
    this.#options = options;
    this.#signatures = options.signatures ?? new SignatureCache();
    this.#queue = options.queue ?? new FairQueue();
  }

  /**
   * Verifies the chain of a new peer: at once where the result is cached, else in the peer's turn,
   * with pauses in which other work runs. Never throws, never rejects.
   */
  verify(
    presented: readonly Uint8Array[],
    requester: Requester,
  ): VerificationResult | Promise<VerificationResult> {
    const fingerprint = chainFingerprint(presented);
    return this.#recall(fingerprint) ?? this.#verifyInTurn(presented, fingerprint, requester);
  }

  /**
   * Verifies a chain synchronously: to reauthorize open connections, and for commands. Never
   * throws.
   */
  verifyNow(presented: readonly Uint8Array[]): VerificationResult {
    const fingerprint = chainFingerprint(presented);
    const known = this.#recall(fingerprint);
    if (known !== undefined) return known;
    const checks = this.#signatures.checks();
    const steps = this.#steps(presented, presented.map(tryParse), this.#options.now());
    let next = steps.next();
    while (next.done !== true) {
      const check = next.value;
      let good = checks.known(check);
      if (good === undefined) {
        const { subject: { signatureAlgorithm, tbs, signature }, key } = check;
        good = verifySignature(signatureAlgorithm, key, tbs, signature);
        checks.learn(check, good);
      }
      next = steps.next(good);
    }
    return this.#settle(next.value, fingerprint, checks.keep);
  }

  async #verifyInTurn(
    presented: readonly Uint8Array[],
    fingerprint: string,
    { source, signal }: Requester,
  ): Promise<VerificationResult> {
    const result = await this.#queue.run(
      source,
      signal,
      async (pause): Promise<VerificationResult> => {
        await pause();
        // Another connection may have verified the same chain meanwhile.
        const known = this.#recall(fingerprint);
        if (known !== undefined) return known;
        const read: Read[] = [];
        for (const der of presented) {
          await pause();
          read.push(tryParse(der));
        }
        const checks = this.#signatures.checks();
        const steps = this.#steps(presented, read, this.#options.now());
        let next = steps.next();
        while (next.done !== true) {
          const check = next.value;
          let good = checks.known(check);
          if (good === undefined) {
            await pause();
            const { subject: { signatureAlgorithm, tbs, signature }, key } = check;
            good = await verifySignatureFaster(signatureAlgorithm, key, tbs, signature);
            checks.learn(check, good);
          }
          next = steps.next(good);
        }
        return this.#settle(next.value, fingerprint, checks.keep);
      },
    );
    return result ?? { ok: false, reason: "other", detail: "the connection ended meanwhile" };
  }

  #recall(fingerprint: string): VerificationResult | undefined {
    const known = this.#remembered.get(fingerprint);
    if (known === undefined) return undefined;
    const now = this.#options.now();
    if (now >= known.validFrom && now <= known.peer.validUntil) {
      return { ok: true, peer: known.peer };
    }
    this.#forget(fingerprint, known);
    return undefined;
  }

  #settle(found: Remembered | Refused, fingerprint: string, keep: () => void): VerificationResult {
    if ("reason" in found) return { ok: false, ...found };
    keep();
    this.#remember(fingerprint, found);
    return { ok: true, peer: found.peer };
  }

  #remember(fingerprint: string, found: Remembered): void {
    this.#forget(fingerprint, found);
    for (const [oldest, known] of this.#remembered) {
      const full = this.#remembered.size >= MAX_REMEMBERED ||
        this.#rememberedBytes > MAX_REMEMBERED_BYTES;
      if (!full) break;
      this.#forget(oldest, known);
    }
    this.#remembered.set(fingerprint, found);
    this.#rememberedBytes += sizeOf(found);
  }

  #forget(fingerprint: string, known: Remembered): void {
    if (this.#remembered.delete(fingerprint)) this.#rememberedBytes -= sizeOf(known);
  }

  /**
   * The whole verification of what was shown and parsed; yields the signature checks that it needs.
   */
  *#steps(
    presented: readonly Uint8Array[],
    read: readonly Read[],
    now: number,
  ): Steps<Remembered | Refused> {
    const [leafDer] = presented;
    const [leaf, ...rest] = read;
    if (leafDer === undefined || leaf === undefined) {
      return { reason: "no_certificate", detail: "the peer showed no certificate" };
    }
    // The size of a TLS 1.3 Certificate message (RFC 8446 section 4.4.2), without request context
    // and extensions.
    const size = presented.reduce((sum, der) => sum + der.length + 5, 4);
    if (size > MAX_MESSAGE_BYTES) {
      return {
        reason: "bad_certificate",
        detail:
          `the ${presented.length} certificates shown take ${size} bytes in a handshake, and ` +
          `${MAX_MESSAGE_BYTES} are the most; leave out what leads to no CA of the peer's trust`,
      };
    }
    if (leaf instanceof CertificateError) {
      return { reason: "bad_certificate", detail: describeUnreadable(leafDer, leaf) };
    }
    // An unreadable certificate cannot be part of a path, and does no harm next to one.
    const others = rest.filter((one): one is Certificate => !(one instanceof CertificateError));
    const { anchors, intermediates = [], revocation = NO_REVOCATION } = this.#options;
    const { purpose, serverName } = this.#options;
    const policy = { anchors, intermediates, revocation, purpose, now };
    const found = yield* validationSteps([leaf, ...others], policy);
    if (!found.ok) {
      const shown = { presented, readable: [leaf, ...others] };
      const known = { anchors, intermediates, leftOut: this.#options.leftOut ?? [] };
      return { reason: found.fault, detail: describeRefusal(found, shown, known) };
    }
    if (serverName !== undefined && !carriesName(leaf, serverName)) {
      return {
        reason: "name_mismatch",
        detail: `the server's certificate does not carry the name ${serverName}; ${namesOf(leaf)}`,
      };
    }
    const objection = crossCheck(found.path, now);
    if (objection !== undefined) return { reason: "bad_certificate", detail: objection };
    const { validFrom, validUntil } = found;
    const spki = spkiSha256(leaf.publicKey);
    return { peer: { certificate: leaf, spki, chain: presented, validUntil }, validFrom };
  }
}

function sizeOf({ peer: { chain } }: Remembered): number {
  return chain.reduce((sum, der) => sum + der.length, 0);
}

/** A certificate, or why it cannot be parsed. */
type Read = Certificate | CertificateError;

function tryParse(der: Uint8Array): Read {
  try {
    return parseCertificate(der);
  } catch (error) {
    if (error instanceof CertificateError) return error;
    throw error;
  }
}

/** A key for a chain in DER; chains with equal keys are equal. */
function chainFingerprint(chain: readonly Uint8Array[]): string {
  const hash = createHash("sha256");
  for (const der of chain) {
    // Hashing the length keeps certificate boundaries part of the key.
    hash.update(`${der.length}:`).update(der);
  }
  return hash.digest("base64");
}
