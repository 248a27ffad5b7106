/**
 * The part of the handshake that both roles share: running TLS, and deciding about the peer before
 * our last flight is sent. `verdict.ts` lists the behaviour of the runtime's TLS that makes this
 * necessary.
 *
 * @module
 */

import type { TLSSocket } from "node:tls";
import type { Conn } from "../net/conn.ts";
import { formatDuration } from "../util/duration.ts";
import { type Ends, NodeTlsConn } from "./node_conn.ts";
import { HandshakeCut, HandshakeError, tlsError, transportError } from "./handshake_error.ts";
import type { Requester, VerificationResult, VerifiedPeer, VerifyPeer } from "./peer_verifier.ts";
import { MAX_FRUITLESS, MAX_MESSAGE, MAX_SILENCE, TransportStream } from "./transport_stream.ts";

export { HandshakeCut, HandshakeError, tlsError };

/** The caller's decision about a verified peer; without `admit` the connection is closed. */
export type Decided<T> = { readonly admit: boolean; readonly value: T };

/**
 * Decides about a peer whose chain was verified; `undefined` is a peer without a certificate, which
 * occurs only where the role allows it. Called before any byte of our last flight is sent.
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

/** The TLS connection at the end of a handshake, before any byte of our last flight is sent. */
export type Established = {
  /** Every certificate that the peer showed, DER, its own first. Resumed sessions remember them. */
  readonly chain: () => readonly Uint8Array[];
  readonly session: () => Session;
  /** Makes a connection of it. Call in the same turn, so that no byte is missed. */
  readonly open: (ends: Ends, stream: TransportStream) => Conn;
  /** Discards the connection. */
  readonly destroy: () => void;
};

/** The two events of a handshake, connected by a role. */
export type HandshakeEvents = {
  readonly secure: (established: Established) => void;
  readonly failed: (error: HandshakeError) => void;
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

/** A handshake in progress. */
export type Started = {
  /** Abandons it in any phase. */
  readonly abandon: () => void;
};

/** What differs between the roles: how TLS is started, and what is required of the peer. */
export type Role = {
  readonly start: (stream: TransportStream, events: HandshakeEvents) => Started;
  readonly demand: PeerDemand;
  /** Whether ending TCP without close_notify counts as breaking off the connection. */
  readonly requireCloseNotify: boolean;
  /** Whether to measure the CPU time that the peer's bytes cost. */
  readonly metered: boolean;
};

/** A non-empty string, or `undefined` for anything else. */
export function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** The end of a handshake on a socket of the public interface. */
export function establishedSocket(socket: TLSSocket): Established {
  return {
    chain: () => presentedChain(socket),
    session: () => ({
      protocol: socket.getProtocol() ?? "unknown",
      resumed: socket.isSessionReused(),
      alpn: textOf(socket.alpnProtocol),
      cipher: textOf(Reflect.get(socket.getCipher() ?? {}, "standardName")),
      serverName: textOf(Reflect.get(socket, "servername")),
    }),
    open: (ends, stream) => new NodeTlsConn(ends, stream, socket),
    destroy: () => void socket.destroy(),
  };
}

/**
 * The certificates that the peer showed. `getPeerCertificate(true)` would complete the chain from
 * the bundle by name, and does not terminate where two CAs of the bundle signed each other;
 * `getPeerX509Certificate` stops at the first issuer. So this reads the internal handle and falls
 * back to the public call, with which some chains are incomplete: that can only refuse a peer,
 * never admit one.
 */
function presentedChain(socket: TLSSocket): readonly Uint8Array[] {
  const handle: unknown = Reflect.get(socket, "_handle");
  if (typeof handle === "object" && handle !== null) {
    const read: unknown = Reflect.get(handle, "getPeerCertificateChain");
    if (typeof read === "function") {
      const chain: unknown = read.call(handle);
      if (typeof chain !== "object" || chain === null) return [];
      const certificates: unknown = Reflect.get(chain, "certificates");
      if (Array.isArray(certificates) && certificates.every((der) => der instanceof Uint8Array)) {
        return certificates;
      }
    }
  }
  const chain: Uint8Array[] = [];
  const leaf = socket.getPeerX509Certificate();
  for (let next = leaf; next !== undefined && chain.length < 2; next = next.issuerCertificate) {
    chain.push(next.raw);
  }
  return chain;
}

/** The verification result of a peer, now or later. */
type Answer = VerificationResult | Promise<VerificationResult>;

/**
 * There is no peer to verify: no certificate is required, or none was shown where that is allowed.
 */
const NO_PEER = Symbol("no peer");

/** Verifies what the peer showed. The runtime's own verification result is ignored. */
function ask(
  chain: readonly Uint8Array[],
  demand: PeerDemand,
  asker: Requester,
): Answer | typeof NO_PEER {
  if (demand.kind === "nothing") return NO_PEER;
  if (chain.length === 0 && demand.optional) return NO_PEER;
  return demand.verify(chain, asker);
}

/**
 * The trust may change during a verification, which is then repeated. More repetitions than this
 * are no coincidence.
 */
const MAX_ANSWERS = 8;

/**
 * Waits for the result and calls `decide` in a turn in which it is current: a success that relied
 * on trust which was replaced meanwhile is verified again.
 */
async function whenAnswered(
  first: Promise<VerificationResult>,
  again: () => Answer | typeof NO_PEER,
  decide: (verdict: VerificationResult | typeof NO_PEER) => void,
): Promise<void> {
  let pending = first;
  for (let answers = 0; answers < MAX_ANSWERS; answers++) {
    const verdict = await pending;
    if (!verdict.ok) return decide(verdict);
    const now = again();
    if (!(now instanceof Promise)) return decide(now);
    pending = now;
  }
  throw new HandshakeError("other", "the trust kept changing during the verification");
}

/**
 * Performs one handshake over `transport`, which it owns from now on: the transport is closed
 * unless an admitted connection is returned.
 *
 * @throws {HandshakeError} when the handshake fails or the peer's chain does not verify.
 */
export async function handshake<T>(
  transport: Conn,
  role: Role,
  decide: Decide<T>,
  limits: HandshakeLimits,
): Promise<Handshaken<T>> {
  const stream = new TransportStream(transport, role.requireCloseNotify);
  const { promise, resolve, reject } = Promise.withResolvers<Handshaken<T>>();
  let over: AbortController | undefined;
  let settled = false;
  let refused = false;
  /** While the peer is being verified no further bytes are read. */
  let verifying: Promise<void> | undefined;
  const settle = () => {
    settled = true;
    over?.abort();
  };
  // Most peers are in the cache and never need the signal.
  const asker: Requester = {
    source: transport.remote,
    get signal() {
      return (over ??= new AbortController()).signal;
    },
  };
  stream.metered = role.metered;
  const fail = (error: unknown) => {
    settle();
    reject(error instanceof HandshakeError ? error : transportError(error));
  };
  /**
   * The peer was refused, or our code failed: either way the peer gets neither tickets nor the last
   * flight.
   */
  const refuse = (error: unknown) => {
    refused = true;
    stream.mute();
    fail(
      error instanceof HandshakeError
        ? error
        : new HandshakeError("other", `the decision failed: ${error}`, { cause: error }),
    );
  };
  const timer = setTimeout(
    () =>
      fail(new HandshakeError("timeout", `no handshake within ${formatDuration(limits.timeout)}`)),
    limits.timeout,
  );
  const cut = () => fail(new HandshakeCut());
  limits.signal.addEventListener("abort", cut, { once: true });
  if (limits.signal.aborted) cut();
  stream.onBroken = fail;

  /** Decides in the turn of the verification result, while TLS output is still held back. */
  const conclude = (
    established: Established,
    verdict: VerificationResult | typeof NO_PEER,
    open: () => Conn,
  ): void => {
    if (verdict !== NO_PEER && !verdict.ok) {
      return refuse(new HandshakeError(verdict.reason, verdict.detail));
    }
    const peer = verdict === NO_PEER ? undefined : verdict.peer;
    const session = established.session();
    const { admit, value } = decide(peer);
    settle();
    refused = !admit;
    if (refused) stream.mute();
    const conn = admit ? open() : undefined;
    stream.release();
    stream.metered = false;
    resolve({ value, peer, ...session, conn });
  };

  const secure = (established: Established): void => {
    if (settled) return established.destroy();
    try {
      const chain = role.demand.kind === "nothing" ? [] : established.chain();
      const again = () => ask(chain, role.demand, asker);
      const answer = again();
      if (!(answer instanceof Promise)) {
        return conclude(established, answer, () => established.open(transport, stream));
      }
      // Opened in this turn so that no byte is missed; used only after the decision.
      stream.hold();
      const conn = established.open(transport, stream);
      verifying = whenAnswered(answer, again, (verdict) => {
        if (!settled) conclude(established, verdict, () => conn);
      }).catch((error) => {
        if (!settled) refuse(error);
      });
    } catch (error) {
      refuse(error);
    }
  };

  let engine: Started | undefined;
  try {
    // Already cancelled: nothing is sent.
    if (!settled) {
      engine = role.start(stream, { secure, failed: fail });
      void feed(stream, () => settled, () => verifying).catch(fail);
    }
    const result = await promise;
    if (result.conn === undefined) abandon(stream, engine);
    return result;
  } catch (error) {
    if (error instanceof HandshakeError) error.engineCpu = stream.engineCpu;
    const alert = error instanceof HandshakeError && !refused && sendsAlert(error);
    if (alert) await stream.linger(limits.signal);
    abandon(stream, engine);
    throw error;
  } finally {
    clearTimeout(timer);
    limits.signal.removeEventListener("abort", cut);
  }
}

/** Whether an alert for the peer is on its way. */
function sendsAlert(error: HandshakeError): boolean {
  return error.reason !== "timeout" && error.reason !== "reset" && error.cause !== undefined;
}

function abandon(stream: TransportStream, engine: Started | undefined): void {
  stream.close();
  engine?.abandon();
}

async function feed(
  stream: TransportStream,
  settled: () => boolean,
  verifying: () => Promise<void> | undefined,
): Promise<void> {
  for (let fed = 0; !settled();) {
    await verifying();
    if (settled()) return;
    const isUnderWay = () => settled() || verifying() !== undefined;
    const count = fed <= MAX_MESSAGE ? await stream.pull() : await pullSoon(stream, isUnderWay);
    fed += count ?? 0;
    if (count !== undefined && fed < MAX_FRUITLESS) {
      // Some failures are reported slightly after the input that caused them.
      await Promise.resolve();
      continue;
    }
    // Prefer the failure that the last bytes caused, which may be reported a little later.
    for (let turns = 0; turns < 3 && !settled(); turns++) {
      await new Promise((done) => setTimeout(done, 0));
    }
    if (settled()) return;
    // The end of a peer that is being verified is handled by the connection.
    if (verifying() !== undefined) continue;
    if (count === undefined) {
      throw new HandshakeError("reset", "the peer left during the handshake");
    }
    throw new HandshakeError("protocol", `no handshake within ${MAX_FRUITLESS} bytes`);
  }
}

/** Reads once more from a peer that has sent so much that TLS may have given up on a message. */
async function pullSoon(
  stream: TransportStream,
  isDone: () => boolean,
): Promise<number | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      // The handshake may have completed meanwhile.
      if (isDone()) return;
      reject(
        new HandshakeError(
          "protocol",
          `a handshake message of more than ${MAX_MESSAGE} bytes, counted with its records`,
        ),
      );
    }, MAX_SILENCE);
  });
  try {
    return await Promise.race([stream.pull(), silence]);
  } finally {
    clearTimeout(timer);
  }
}
