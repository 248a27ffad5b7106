/**
 * The second verdict: our own strict judgement of the chain that a peer showed, on every connection
 * of both roles, resumed or not. The engine's alone lets in forged certificates.
 *
 * It is the common answer to much of what `node:tls` of Deno 2.9 was found to do. All that is known
 * of it, and where each is dealt with (paths from `src/`; "verdict" is this module, with
 * `x509/parse.ts` for what is read at all and `x509/path.ts` for the path). `tests/tls/` shows for
 * each of this layer's that plain `node:tls` falls for it and that this layer does not.
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
 * - *Bundle in every handshake*: the server sends all CAs of the bundle along. By the engine itself it
 *   is kept from that (`serverContext` in `tls/engine.ts`); on the public way there is none around it.
 *   Either way it reads the bundle anew for each connection: `certstore/bundle.ts` warns of large ones.
 * - *Write grant for UNIX sockets*: Deno wants `--allow-write` to use one. None is used yet.
 *
 * @module
 */

import type { HandshakeReason } from "../proxy/outcome.ts";
import { type Certificate, CertificateError } from "../x509/certificate.ts";
import { parseCertificate } from "../x509/parse.ts";
import { type Purpose, validatePath } from "../x509/path.ts";
import { NO_REVOCATION, type Revocation } from "../x509/revocation.ts";
import { carriesName } from "../x509/server_name.ts";
import { chainFingerprint, spkiSha256 } from "./fingerprint.ts";
import { verifySignature } from "./signature.ts";
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

/** Judges a chain, DER, the peer's own certificate first. */
export type VerifyPeer = (presented: readonly Uint8Array[]) => PeerVerdict;

/** What chains are judged by. */
export type VerifierOptions = {
  readonly anchors: readonly Certificate[];
  /** Certificates to build paths from besides those that the peer shows; default none. */
  readonly intermediates?: readonly Certificate[];
  /** Who is revoked; default nobody. */
  readonly revocation: Revocation;
  /** The role that the peer plays. */
  readonly purpose: Purpose;
  /** The name that a server must carry; without one none is asked for. */
  readonly serverName?: string;
  /** Signatures that were checked for the trust states before this one; default none. */
  readonly signatures?: SignatureMemory | undefined;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
};

/** Verdicts to remember for each trust state, and how long a chain may be; the oldest goes first. */
const MAX_REMEMBERED = 1024;
const MAX_REMEMBERED_BYTES = 16 * 1024;

type Remembered = { readonly peer: VerifiedPeer; readonly validFrom: number };

/**
 * Judges chains for one trust state: make a new one when the bundle or a revocation list changes. A positive verdict is
 * remembered by the chain's fingerprint, for no longer than the path is valid.
 */
export class PeerVerifier {
  readonly #options: VerifierOptions;
  readonly #signatures: SignatureMemory;
  readonly #remembered = new Map<string, Remembered>();

  /** Judges by `options` from now on. */
  constructor(options: VerifierOptions) {
    this.#options = options;
    this.#signatures = options.signatures ?? new SignatureMemory(verifySignature);
  }

  /** Judges `presented`, DER, the peer's own certificate first. Never throws. */
  verify(presented: readonly Uint8Array[]): PeerVerdict {
    const now = this.#options.now();
    const fingerprint = chainFingerprint(presented);
    const known = this.#remembered.get(fingerprint);
    if (known !== undefined && now >= known.validFrom && now <= known.peer.validUntil) {
      return { ok: true, peer: known.peer };
    }
    this.#remembered.delete(fingerprint);
    const judged = this.#judge(presented, now);
    if ("reason" in judged) return { ok: false, ...judged };
    if (presented.reduce((sum, der) => sum + der.length, 0) > MAX_REMEMBERED_BYTES) {
      return { ok: true, peer: judged.peer };
    }
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
    const { anchors, intermediates = [], revocation = NO_REVOCATION } = this.#options;
    const { purpose, serverName } = this.#options;
    const policy = { anchors, intermediates, revocation, purpose, now };
    const verdict = this.#signatures.during(
      (verifySignature) => validatePath([leaf, ...others], { ...policy, verifySignature }),
      ({ ok }) => ok,
    );
    if (!verdict.ok) return { reason: verdict.fault, detail: verdict.detail };
    if (serverName !== undefined && !carriesName(leaf, serverName)) {
      return {
        reason: "name_mismatch",
        detail: `the server's certificate does not carry the name ${serverName}`,
      };
    }
    const { validFrom, validUntil } = verdict;
    const spki = spkiSha256(leaf.publicKey);
    return { peer: { certificate: leaf, spki, chain: presented, validUntil }, validFrom };
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
