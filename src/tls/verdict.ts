/**
 * Independent verification of the chain that a peer showed, on every connection of both roles, resumed or
 * not. The engine only proves that the peer holds the key of its certificate.
 *
 * It is the common answer to much of what `node:tls` of Deno 2.9 was found to do. All that is known
 * of it, and where each is dealt with (paths from `src/`; "verdict" is this module, with
 * `x509/parse.ts` for what is read at all and `x509/path.ts` for the path). `tests/tls/` shows for
 * each of this layer's that plain `node:tls` falls for it and that this layer does not.
 *
 * What it costs:
 *
 * - *Path bomb*: the engine's search for a path takes seconds for some hundred certificates, in the
 *   event loop. As a server it is given no CA, and searches none. As a client it always does, whatever
 *   it is given: a hostile server can make it (README, threat model). Our own search is bounded
 *   (`x509/path.ts`), takes turns and pauses (`tls/fair_queue.ts`).
 *
 * Who gets in:
 *
 * - *Forged server*: a certificate that the engine cannot read (X.509 v1, odd versions, bytes left
 *   over, long-form lengths) passes by its issuer's name, and its holder need not hold its key. The
 *   verdict refuses it; with TLS 1.3 our last flight is held back until then (`tls/handshake.ts`), so
 *   that the forger's handshake fails and it never sees our certificate.
 * - *v1 anchor*: an X.509 v1 certificate in the bundle lets in everybody who has a copy. Only v3 is
 *   read, in the bundle (`certstore/`) and as a leaf (verdict).
 * - *Stale ticket*: tickets outlive the trust, and are taken where a certificate is required though
 *   none was ever shown. The chain is judged, and the caller decides, at every resumption, by the
 *   trust of that moment; no chain is no certificate (`tls/handshake.ts`).
 * - *Resumed after expiry*: a verdict is remembered no longer than its path is valid.
 * - *Anchors as they are*: expired, of the wrong use, too long below, no CA at all. The verdict holds
 *   anchors, and leaves that stand in the bundle, to the same rules as the rest of the path.
 * - *Intermediate without keyCertSign*: the verdict demands it.
 * - *Names from the CN*: the engine's check of names is off (`tls/client.ts`); names are SANs
 *   (`x509/server_name.ts`).
 * - *Bad or none*: where a certificate is optional, a bad one completes the handshake, and none looks
 *   like a bad one. They are told apart by what was shown (`tls/handshake.ts`).
 * - *Unreadable own key*: the engine goes out without a certificate, or blames the protocol.
 *   `certstore/` refuses such files; `tls/client.ts` looks at the key again.
 *
 * What takes the daemon down:
 *
 * - *Pause that does not*: a paused socket goes on reading the wire into memory. The engine gets no
 *   socket but a `Wire` (`tls/wire.ts`), which reads when the channel is read, be it by the engine itself
 *   (`tls/engine_channel.ts`) or by its public stream (`tls/channel.ts`).
 * - *Lost end*: a paused socket may never report its end. Ours is never paused, the wire is; an end
 *   without close_notify is `truncated` (`tls/channel.ts`).
 * - *Open after the timeout*: the engine's handshake timeout leaves the socket open. Deadline and
 *   close are ours (`tls/handshake.ts`), the engine's is off (`tls/server.ts`).
 * - *Never collected*: the engine's state of a connection refers to itself from outside the heap.
 *   It is told of the end however the handshake went, by `Wire.close` or `destroySsl`.
 * - *Endless chain*: `getPeerCertificate(true)` does not come back where two CAs of the bundle signed
 *   each other. It is never called, nor by the engine (`tls/handshake.ts`, `tls/client.ts`).
 * - *Deaf listener*: `node:net` stops accepting for good once descriptors ran out. Nothing of it
 *   listens here: `net/listen.ts` accepts with `Deno.listen`, `listener.ts` backs off.
 * - *Rejected `finished`*: `Deno.serve` rejects it when descriptors run out; `http.ts` serves again.
 *
 * What peers and operators see:
 *
 * - *Success, then a close*: a refused TLS 1.3 client has seen its handshake succeed. Nothing is read
 *   or sent before the decision, and a refused peer gets neither last flight nor ticket; left to
 *   itself the engine would send both (`tls/handshake.ts`, `tls/server.ts`).
 * - *Alert cut off*: destroying the stream loses the alert. A `Wire` cannot be destroyed by the
 *   engine, and `Wire.linger` lets the alert arrive.
 * - *Bundle in every handshake*: the server sends all CAs that it is given along, and reads them anew
 *   for each connection. It is given none.
 * - *Write grant for UNIX sockets*: Deno wants `--allow-write` to use one. None is used yet.
 *
 * @module
 */

import { namesOf } from "../identity.ts";
import type { HandshakeReason } from "../proxy/outcome.ts";
import { type Certificate, CertificateError } from "../x509/certificate.ts";
import { parseCertificate } from "../x509/parse.ts";
import { type Purpose, type Steps, validationSteps } from "../x509/path.ts";
import { describeRefusal, describeUnreadable, type Known } from "../x509/refusal.ts";
import { NO_REVOCATION, type Revocation } from "../x509/revocation.ts";
import { carriesName } from "../x509/server_name.ts";
import { FairQueue } from "./fair_queue.ts";
import { chainFingerprint, spkiSha256 } from "./fingerprint.ts";
import { disagreement } from "./second_look.ts";
import { verifySignature, verifySignatureFaster } from "./signature.ts";
import { SignatureMemory } from "./signature_memory.ts";

/** A peer whose chain holds. */
export type VerifiedPeer = {
  /** The peer's own certificate. */
  readonly certificate: Certificate;
  /** SHA-256 of its public key, base64. */
  readonly spki: string;
  /** What it showed, DER, its own certificate first: to judge it again when the state changes. */
  readonly chain: readonly Uint8Array[];
  /** When the path stops being valid, milliseconds since the epoch. */
  readonly validUntil: number;
};

/** What we think of a chain. */
export type PeerVerdict =
  | { readonly ok: true; readonly peer: VerifiedPeer }
  | { readonly ok: false; readonly reason: HandshakeReason; readonly detail: string };

/** On whose behalf a chain is verified. */
export type Asker = {
  /** Peers of one source wait for each other; an address, say. */
  readonly source: string;
  /** Aborted when the answer is not wanted any more. */
  readonly signal: AbortSignal;
};

/**
 * Verifies a chain, DER, the peer's own certificate first. At once where it is known already; asked
 * again in the same turn in which a promise of success resolves, it is.
 */
export type VerifyPeer = (
  presented: readonly Uint8Array[],
  asker: Asker,
) => PeerVerdict | Promise<PeerVerdict>;

/** What chains are judged by. */
export type VerifierOptions = {
  readonly anchors: readonly Certificate[];
  /** Certificates to build paths from besides those that the peer shows; default none. */
  readonly intermediates?: readonly Certificate[];
  /** What of the bundle cannot serve, for messages; default nothing. */
  readonly leftOut?: Known["leftOut"];
  /** Who is revoked; default nobody. */
  readonly revocation: Revocation;
  /** The role that the peer plays. */
  readonly purpose: Purpose;
  /** The name that a server must carry; without one none is asked for. */
  readonly serverName?: string;
  /** Signatures that were checked for the trust states before this one; default none. */
  readonly signatures?: SignatureMemory | undefined;
  /** Where verifications wait for their turn; default a queue of its own. */
  readonly queue?: FairQueue | undefined;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
};

/** Verdicts to remember for each trust state, and the bytes of their chains; the oldest goes first. */
const MAX_REMEMBERED = 1024;
const MAX_REMEMBERED_BYTES = 8 * 1024 * 1024;

/** The longest handshake message that the engine takes. */
const MAX_MESSAGE_BYTES = 0xffff;

type Remembered = { readonly peer: VerifiedPeer; readonly validFrom: number };
type Refused = { readonly reason: HandshakeReason; readonly detail: string };

/**
 * Judges chains for one trust state: make a new one when the bundle or a revocation list changes. A positive verdict is
 * remembered by the chain's fingerprint, for no longer than the path is valid.
 */
export class PeerVerifier {
  readonly #options: VerifierOptions;
  readonly #signatures: SignatureMemory;
  readonly #queue: FairQueue;
  readonly #remembered = new Map<string, Remembered>();
  #rememberedBytes = 0;

  /** Judges by `options` from now on. */
  constructor(options: VerifierOptions) {
    this.#options = options;
    this.#signatures = options.signatures ?? new SignatureMemory();
    this.#queue = options.queue ?? new FairQueue();
  }

  /**
   * Verifies `presented` for a peer that is not known yet: at once where the chain is remembered, else
   * when it is the peer's turn, and with pauses in which others run. Never throws, never rejects.
   */
  verify(presented: readonly Uint8Array[], asker: Asker): PeerVerdict | Promise<PeerVerdict> {
    const fingerprint = chainFingerprint(presented);
    return this.#recall(fingerprint) ?? this.#verifyInTurn(presented, fingerprint, asker);
  }

  /** Verifies `presented` at once: for a peer that was let in before, and for who can wait. Never throws. */
  verifyNow(presented: readonly Uint8Array[]): PeerVerdict {
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
    { source, signal }: Asker,
  ): Promise<PeerVerdict> {
    const verdict = await this.#queue.run(source, signal, async (pause): Promise<PeerVerdict> => {
      await pause();
      // Another connection may have come with the same chain meanwhile.
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
    });
    return verdict ?? { ok: false, reason: "other", detail: "the connection ended meanwhile" };
  }

  #recall(fingerprint: string): PeerVerdict | undefined {
    const known = this.#remembered.get(fingerprint);
    if (known === undefined) return undefined;
    const now = this.#options.now();
    if (now >= known.validFrom && now <= known.peer.validUntil) {
      return { ok: true, peer: known.peer };
    }
    this.#forget(fingerprint, known);
    return undefined;
  }

  #settle(found: Remembered | Refused, fingerprint: string, keep: () => void): PeerVerdict {
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

  /** The whole verification of what was shown and read; asks for the signature checks that it needs. */
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
    // A Certificate message of TLS 1.3 (RFC 8446 section 4.4.2), without request context and extensions.
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
    // What cannot be read cannot be part of a path, and does no harm beside one.
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
    const against = disagreement(verdict.path, now);
    if (against !== undefined) return { reason: "bad_certificate", detail: against };
    const { validFrom, validUntil } = verdict;
    const spki = spkiSha256(leaf.publicKey);
    return { peer: { certificate: leaf, spki, chain: presented, validUntil }, validFrom };
  }
}

function sizeOf({ peer: { chain } }: Remembered): number {
  return chain.reduce((sum, der) => sum + der.length, 0);
}

/** A certificate, or why it cannot be read. */
type Read = Certificate | CertificateError;

function tryParse(der: Uint8Array): Read {
  try {
    return parseCertificate(der);
  } catch (error) {
    if (error instanceof CertificateError) return error;
    throw error;
  }
}
