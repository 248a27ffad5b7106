/**
 * A handshake, the same for both roles and both backends: run TLS, verify the peer's chain, decide
 * about the peer, and only then send our last flight. `README.md` lists the behaviour of the
 * runtime's TLS that makes this necessary.
 *
 * @module
 */

import type { Conn } from "../net/conn.ts";
import { formatDuration } from "../util/duration.ts";
import type {
  EstablishedTls,
  HandshakeEvents,
  Negotiated,
  RunningTls,
  TlsEndpoint,
} from "./backend.ts";
import { HandshakeCut, HandshakeError, transportError } from "./handshake_error.ts";
import type { Requester, VerificationResult, VerifiedPeer, VerifyPeer } from "./peer_verifier.ts";
import { MAX_FRUITLESS, MAX_MESSAGE, MAX_SILENCE, TransportStream } from "./transport_stream.ts";

/** A decision about a verified peer; without `admit` the connection is closed. */
export type Decided<T> = { readonly admit: boolean; readonly value: T };

/**
 * Decides about a peer whose chain was verified; `undefined` is a peer without a certificate, which
 * occurs only where the role allows it. Called before any byte of our last flight is sent, in a turn
 * of the event loop in which the verification is current.
 */
export type Decide<T> = (peer: VerifiedPeer | undefined) => Decided<T>;

/** What the handshake negotiated. */
export type Session = {
  /** `TLSv1.2` or `TLSv1.3`. */
  readonly protocol: string;
  readonly resumed: boolean;
  /** The negotiated protocol (RFC 7301); `undefined` where there is none. */
  readonly alpn: string | undefined;
  /** The cipher suite as OpenSSL names it. */
  readonly cipher: string | undefined;
  /**
   * For accepted connections, the name that the client asked for (SNI, RFC 6066). Chosen by the
   * client.
   */
  readonly serverName: string | undefined;
};

/** The result of a completed handshake, whether or not the peer was admitted. */
export type Handshaken<T> = Session & {
  readonly value: T;
  readonly peer: VerifiedPeer | undefined;
  /** `undefined` when the peer was not admitted; the connection is closed then. */
  readonly conn: Conn | undefined;
};

/** Limits of a handshake. */
export type HandshakeLimits = {
  /** Milliseconds from now to the decision. */
  readonly timeout: number;
  /** Cancels the handshake. */
  readonly signal: AbortSignal;
};

/** What a role requires of its peer: nothing, or a certificate that verifies. */
export type PeerDemand =
  | { readonly kind: "nothing" }
  | {
    readonly kind: "certificate";
    /** The independent verification, with the trust of this moment. */
    readonly verify: VerifyPeer;
    /** Whether a peer may connect without a certificate. */
    readonly optional: boolean;
  };

/** What differs between the roles. */
export type Role = {
  readonly endpoint: TlsEndpoint;
  readonly demand: PeerDemand;
  /** Whether ending TCP without close_notify counts as breaking off the connection. */
  readonly requireCloseNotify: boolean;
  /** Whether to measure the CPU time that the peer's bytes cost. */
  readonly metered: boolean;
  /** Translates an error of TLS; see {@linkcode HandshakeEvents.failed}. */
  readonly translate: (error: Error, verifyCode?: string) => HandshakeError;
};

/**
 * There is no peer to verify: no certificate is required, or none was shown where that is allowed.
 */
const NO_PEER = Symbol("no peer");

/**
 * The trust may change during a verification, which is then repeated. More repetitions than this
 * are no coincidence.
 */
const MAX_VERIFICATIONS = 8;

/** One handshake. Its methods are in the order in which they are called. */
export class Handshake<T> implements HandshakeEvents, Requester {
  readonly #transport: Conn;
  readonly #role: Role;
  readonly #decide: Decide<T>;
  readonly #limits: HandshakeLimits;
  readonly #stream: TransportStream;
  readonly #result = Promise.withResolvers<Handshaken<T>>();
  #tls: RunningTls | undefined;
  /** The result is known. */
  #settled = false;
  /** The peer gets neither our last flight nor an alert. */
  #refused = false;
  /** While the peer is being verified no further bytes are read. */
  #verifying: Promise<void> | undefined;
  /** Aborts when the result is known. Most peers are in the cache and never need it. */
  #over: AbortController | undefined;

  /** Owns `transport` from now on. */
  constructor(transport: Conn, role: Role, decide: Decide<T>, limits: HandshakeLimits) {
    this.#transport = transport;
    this.#role = role;
    this.#decide = decide;
    this.#limits = limits;
    this.#stream = new TransportStream(transport, role.requireCloseNotify);
    this.#stream.metered = role.metered;
  }

  /** For the verification: peers of one address take turns with each other. */
  get source(): string {
    return this.#transport.remote;
  }

  /** For the verification: aborts when its result is no longer needed. */
  get signal(): AbortSignal {
    return (this.#over ??= new AbortController()).signal;
  }

  /**
   * Performs the handshake. The transport is closed unless an admitted connection is returned.
   *
   * @throws {HandshakeError} when the handshake fails or the peer's chain does not verify.
   */
  async run(): Promise<Handshaken<T>> {
    const { timeout, signal } = this.#limits;
    const timer = setTimeout(() => this.#expire(), timeout);
    const cut = () => this.#fail(new HandshakeCut());
    signal.addEventListener("abort", cut, { once: true });
    if (signal.aborted) cut();
    try {
      this.#start();
      const result = await this.#result.promise;
      if (result.conn === undefined) this.#discard();
      return result;
    } catch (error) {
      await this.#letAlertOut(error);
      this.#discard();
      throw error;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", cut);
    }
  }

  #start(): void {
    // Already cancelled: nothing is sent.
    if (this.#settled) return;
    this.#stream.onBroken = (error) => this.#fail(error);
    try {
      this.#tls = this.#role.endpoint.start(this.#stream, this);
    } catch (error) {
      this.#settle();
      return this.#result.reject(error);
    }
    this.#feed().catch((error) => this.#fail(error));
  }

  /** Passes what the peer sends to TLS, within bounds, until the result is known. */
  async #feed(): Promise<void> {
    for (let fed = 0; !this.#settled;) {
      await this.#verifying;
      if (this.#settled) return;
      const count = fed <= MAX_MESSAGE ? await this.#stream.pull() : await this.#pullSoon();
      fed += count ?? 0;
      if (count !== undefined && fed < MAX_FRUITLESS) {
        // Some failures are reported slightly after the input that caused them.
        await Promise.resolve();
        continue;
      }
      // Prefer the failure that the last bytes caused, which may be reported a little later.
      for (let turns = 0; turns < 3 && !this.#settled; turns++) {
        await new Promise((done) => setTimeout(done, 0));
      }
      if (this.#settled) return;
      // The end of a peer that is being verified is handled by the connection.
      if (this.#verifying !== undefined) continue;
      if (count === undefined) {
        throw new HandshakeError("reset", "the peer left during the handshake");
      }
      throw new HandshakeError("protocol", `no handshake within ${MAX_FRUITLESS} bytes`);
    }
  }

  /** Reads once more from a peer that has sent so much that TLS may have given up on a message. */
  async #pullSoon(): Promise<number | undefined> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const silence = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        // The handshake may have completed meanwhile.
        if (this.#settled || this.#verifying !== undefined) return;
        const message =
          `a handshake message of more than ${MAX_MESSAGE} bytes, counted with its records`;
        reject(new HandshakeError("protocol", message));
      }, MAX_SILENCE);
    });
    try {
      return await Promise.race([this.#stream.pull(), silence]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Called by the backend at the end of the handshake, while our last flight is not sent yet. */
  secure(established: EstablishedTls): void {
    if (this.#settled) return established.destroy();
    try {
      const chain = this.#role.demand.kind === "nothing" ? [] : established.chain();
      const result = this.#verify(chain);
      if (!(result instanceof Promise)) return this.#conclude(established, result, undefined);
      // Opened in this turn so that no byte is missed; used only after the decision.
      this.#stream.hold();
      const conn = established.open(this.#transport);
      this.#verifying = this.#concludeLater(established, chain, result, conn).catch((error) => {
        if (!this.#settled) this.#refuse(error);
      });
    } catch (error) {
      this.#refuse(error);
    }
  }

  /** Verifies what the peer showed. The runtime's own verification result is ignored. */
  #verify(
    chain: readonly Uint8Array[],
  ): VerificationResult | typeof NO_PEER | Promise<VerificationResult> {
    const { demand } = this.#role;
    if (demand.kind === "nothing") return NO_PEER;
    if (chain.length === 0 && demand.optional) return NO_PEER;
    return demand.verify(chain, this);
  }

  /**
   * Waits for the verification and concludes in a turn in which it is current: a success that
   * relied on trust which was replaced meanwhile is verified again.
   */
  async #concludeLater(
    established: EstablishedTls,
    chain: readonly Uint8Array[],
    verification: Promise<VerificationResult>,
    conn: Conn,
  ): Promise<void> {
    let pending = verification;
    for (let count = 0; count < MAX_VERIFICATIONS; count++) {
      const result = await pending;
      if (this.#settled) return;
      const current = result.ok ? this.#verify(chain) : result;
      if (!(current instanceof Promise)) return this.#conclude(established, current, conn);
      pending = current;
    }
    throw new HandshakeError("other", "the trust kept changing during the verification");
  }

  /**
   * In the turn of the verification's result: refuses the peer, or decides and opens the connection
   * of a peer that is admitted.
   */
  #conclude(
    established: EstablishedTls,
    result: VerificationResult | typeof NO_PEER,
    opened: Conn | undefined,
  ): void {
    if (result !== NO_PEER && !result.ok) {
      return this.#refuse(new HandshakeError(result.reason, result.detail));
    }
    const peer = result === NO_PEER ? undefined : result.peer;
    const session = sessionOf(established.negotiated());
    const { admit, value } = this.#decide(peer);
    this.#settle();
    this.#refused = !admit;
    if (!admit) this.#stream.mute();
    const conn = admit ? opened ?? established.open(this.#transport) : undefined;
    this.#stream.release();
    this.#stream.metered = false;
    this.#result.resolve({ value, peer, ...session, conn });
  }

  /**
   * The peer was refused, or our code failed: either way the peer gets neither tickets nor the last
   * flight.
   */
  #refuse(error: unknown): void {
    this.#refused = true;
    this.#stream.mute();
    this.#fail(
      error instanceof HandshakeError
        ? error
        : new HandshakeError("other", `the decision failed: ${error}`, { cause: error }),
    );
  }

  /** Called by the backend when TLS fails. */
  failed(error: Error, verifyCode?: string): void {
    this.#fail(
      error instanceof HandshakeError ? error : this.#role.translate(error, verifyCode),
    );
  }

  #expire(): void {
    const { timeout } = this.#limits;
    this.#fail(new HandshakeError("timeout", `no handshake within ${formatDuration(timeout)}`));
  }

  #fail(error: unknown): void {
    this.#settle();
    this.#result.reject(error instanceof HandshakeError ? error : transportError(error));
  }

  #settle(): void {
    this.#settled = true;
    this.#over?.abort();
  }

  /** Lets the alert arrive that TLS has sent about its failure, if any. */
  async #letAlertOut(error: unknown): Promise<void> {
    if (!(error instanceof HandshakeError)) return;
    error.cpuSpent = this.#stream.cpuSpent;
    const sent = error.reason !== "timeout" && error.reason !== "reset" &&
      error.cause !== undefined;
    if (sent && !this.#refused) await this.#stream.linger(this.#limits.signal);
  }

  #discard(): void {
    this.#stream.close();
    this.#tls?.destroy();
  }
}

function sessionOf({ protocol, resumed, alpn, cipher, serverName }: Negotiated): Session {
  return {
    protocol: textOf(protocol) ?? "unknown",
    resumed,
    alpn: textOf(alpn),
    cipher: textOf(cipher),
    serverName: textOf(serverName),
  };
}

/** A non-empty string, or `undefined` for anything else. */
function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
