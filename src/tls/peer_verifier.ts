/**
 * Independent verification of the chain that a peer showed, on every connection of both roles,
 * resumed or not. The runtime's TLS only proves that the peer holds the key of its certificate.
 *
 * It answers most of the problems that were found in `node:tls` of Deno 2.9. They are all listed
 * here, with the file that deals with each (paths from `src/`). "Verification" is this module, with
 * `x509/parse.ts` for what is parsed at all and `x509/path.ts` for the path. For each problem that
 * this layer solves, `tests/unit/tls/` shows that plain `node:tls` has it and that this layer does not.
 *
 * Cost:
 *
 * - *Path bomb*: the runtime's path search takes seconds for some hundred certificates and blocks
 *   the event loop. As a server it is given no CA, and does not search. As a client it always does,
 *   whatever it is given, so a hostile server can cause it (`examples/security/README.md`, the second
 *   verdict). Our own search is bounded (`x509/path.ts`), takes turns and pauses
 *   (`tls/fair_queue.ts`).
 *
 * Peers that would be admitted:
 *
 * - *Forged server*: a certificate that the runtime cannot parse (X.509 v1, unusual versions,
 *   trailing bytes, long-form lengths) is accepted by its issuer's name alone, and the peer need
 *   not hold its key. Verification refuses it. With TLS 1.3 our last flight is held back until then
 *   (`tls/handshake.ts`), so the forger's handshake fails and it never sees our certificate.
 * - *v1 anchor*: an X.509 v1 certificate in the bundle admits every peer that has a copy of it.
 *   Only v3 is parsed, in the bundle (`certstore/`) and as a leaf (verification).
 * - *Stale ticket*: tickets outlive a change of trust, and are accepted where a certificate is
 *   required although none was ever shown. At every resumption the chain is verified and the caller
 *   decides, with the trust of that moment; an empty chain is no certificate (`tls/handshake.ts`).
 * - *Resumed after expiry*: a result is cached no longer than its path is valid.
 * - *Anchors as they are*: anchors that are expired, have the wrong key usage, exceed their path
 *   length or are no CA at all are accepted. Verification applies the rules of the path to anchors
 *   too, and to leaves that are in the bundle.
 * - *Intermediate without keyCertSign*: verification requires it.
 * - *Names from the CN*: the runtime's name check is off (`tls/client.ts`); names are SANs
 *   (`x509/server_name.ts`).
 * - *Bad or none*: where a certificate is optional, a bad one completes the handshake, and none
 *   looks like a bad one. They are distinguished by what was shown (`tls/handshake.ts`).
 * - *Unreadable own key*: the runtime connects without a certificate, or reports a protocol error.
 *   `certstore/` refuses such files; `tls/client.ts` checks the key again.
 *
 * Availability:
 *
 * - *Pause that does not*: a paused socket goes on reading into memory. TLS gets no socket but a
 *   `TransportStream` (`tls/wire.ts`), which reads only when the connection is read, either by the native engine
 *   (`tls/engine_channel.ts`) or by the public stream (`tls/connection.ts`).
 * - *Lost end*: a paused socket may never report its end. Our socket is never paused, only the stream
 *   is; an end without close_notify is `truncated` (`tls/connection.ts`).
 * - *Open after the timeout*: the runtime's handshake timeout leaves the socket open. We have our
 *   own deadline and close (`tls/handshake.ts`); the runtime's is off (`tls/server.ts`).
 * - *Never collected*: the native state of a connection is a reference cycle that the garbage
 *   collector does not see. `TransportStream.close` or `destroySsl` frees it after every handshake.
 * - *Endless chain*: `getPeerCertificate(true)` does not return where two CAs of the bundle signed
 *   each other. It is never called, not by the runtime either (`tls/handshake.ts`,
 *   `tls/client.ts`).
 * - *Deaf listener*: `node:net` stops accepting for good after descriptors ran out. We do not
 *   listen with it: `net/listen.ts` accepts with `Deno.listen`, and `listener.ts` backs off.
 * - *Rejected `finished`*: `Deno.serve` rejects it when descriptors run out; `http.ts` serves
 *   again.
 *
 * What peers and operators see:
 *
 * - *Success, then a close*: a refused TLS 1.3 client sees its handshake succeed. Nothing is read
 *   or sent before the decision, and a refused peer gets neither last flight nor ticket; the
 *   runtime by itself would send both (`tls/handshake.ts`, `tls/server.ts`).
 * - *Alert cut off*: destroying the stream loses the alert. The runtime cannot destroy a `TransportStream`,
 *   and `TransportStream.linger` lets the alert arrive.
 * - *Bundle in every handshake*: the server sends all CAs that it is given in each handshake, and
 *   parses them for each connection. It is given none.
 * - *Write grant for UNIX sockets*: Deno needs `--allow-write` to use one. None is used yet.
 *
 * @module
 */

import { namesOf } from "../identity.ts";
import type { HandshakeReason } from "../outcome.ts";
import { type Certificate, CertificateError } from "../x509/certificate.ts";
import { parseCertificate } from "../x509/parse.ts";
import { type Purpose, type Steps, validationSteps } from "../x509/path.ts";
import { describeRefusal, describeUnreadable, type Known } from "../x509/refusal.ts";
import { NO_REVOCATION, type Revocation } from "../x509/revocation.ts";
import { carriesName } from "../x509/server_name.ts";
import { FairQueue } from "./fair_queue.ts";
import { chainFingerprint, spkiSha256 } from "./fingerprint.ts";
import { crossCheck } from "./cross_check.ts";
import { verifySignature, verifySignatureFaster } from "./signature.ts";
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
  asker: Requester,
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
    asker: Requester,
  ): VerificationResult | Promise<VerificationResult> {
    const fingerprint = chainFingerprint(presented);
    return this.#recall(fingerprint) ?? this.#verifyInTurn(presented, fingerprint, asker);
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
    const verdict = await this.#queue.run(
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
    return verdict ?? { ok: false, reason: "other", detail: "the connection ended meanwhile" };
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
    const verdict = yield* validationSteps([leaf, ...others], policy);
    if (!verdict.ok) {
      const shown = { presented, readable: [leaf, ...others] };
      const known = { anchors, intermediates, leftOut: this.#options.leftOut ?? [] };
      return { reason: verdict.fault, detail: describeRefusal(verdict, shown, known) };
    }
    if (serverName !== undefined && !carriesName(leaf, serverName)) {
      return {
        reason: "name_mismatch",
        detail: `the server's certificate does not carry the name ${serverName}; ${namesOf(leaf)}`,
      };
    }
    const against = crossCheck(verdict.path, now);
    if (against !== undefined) return { reason: "bad_certificate", detail: against };
    const { validFrom, validUntil } = verdict;
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
