/**
 * What the handshakes of both roles share: driving the engine, the decision while nothing has left
 * yet, and the names of what can go wrong. What the engine does that makes all this necessary is told
 * in `verdict.ts`.
 *
 * @module
 */

import type { TLSSocket } from "node:tls";
import { type Channel, ChannelError } from "../channel.ts";
import { formatDuration } from "../config/duration.ts";
import type { HandshakeReason } from "../proxy/outcome.ts";
import { TlsChannel } from "./channel.ts";
import type { VerifiedPeer, VerifyPeer } from "./verdict.ts";
import { Wire } from "./wire.ts";

/** A handshake failed; nothing of the peer was let through. */
export class HandshakeError extends Error {
  /** The name of the class. */
  override readonly name = "HandshakeError";
  /** The metric's reason. */
  readonly reason: HandshakeReason;

  /** `message` is for the log and may hold the peer's words. */
  constructor(reason: HandshakeReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** The handshake was ended by {@linkcode HandshakeLimits.signal}. */
export class HandshakeCut extends HandshakeError {
  /** Nobody's fault: whoever aborted the signal knows why. */
  constructor() {
    super("other", "the handshake was cut");
  }
}

/** The caller's decision about a verified peer; without `admit` the connection is closed. */
export type Decided<T> = { readonly admit: boolean; readonly value: T };

/**
 * Decides about a peer whose chain holds; `undefined` is a peer without a certificate, which can
 * only be where the role allows it. Called before anything of our last flight leaves.
 */
export type Decide<T> = (peer: VerifiedPeer | undefined) => Decided<T>;

/** An established connection, or one whose peer the caller did not admit (closed already). */
export type Handshaken<T> = {
  readonly value: T;
  readonly peer: VerifiedPeer | undefined;
  /** `TLSv1.2` or `TLSv1.3`. */
  readonly protocol: string;
  readonly resumed: boolean;
  /** `undefined` when the peer was not admitted. */
  readonly channel: TlsChannel | undefined;
};

/** How a handshake is bounded. */
export type HandshakeLimits = {
  /** Milliseconds from now to the decision. */
  readonly timeout: number;
  /** Cuts the handshake. */
  readonly signal: AbortSignal;
};

/** The engine's two ways to report, wired up by a role. */
export type EngineEvents = {
  readonly secure: (socket: TLSSocket) => void;
  readonly failed: (error: HandshakeError) => void;
};

/** What a role asks of its peer: nothing, or a certificate that holds. */
export type PeerDemand =
  | { readonly kind: "nothing" }
  | {
    readonly kind: "certificate";
    /** The second verdict, by the trust of this moment. */
    readonly verify: VerifyPeer;
    /** Whether a peer may come without any. */
    readonly optional: boolean;
  };

/** What a role adds: how the engine is started, and what is asked of the peer. */
export type Role = {
  readonly start: (wire: Wire, events: EngineEvents) => { readonly abandon: () => void };
  readonly demand: PeerDemand;
};

/**
 * Every certificate that the peer showed, DER, its own first; the engine remembers them in a resumed
 * session too.
 *
 * `getPeerCertificate(true)` would complete the chain from the bundle by names, without an end where
 * two CAs of the bundle signed each other, and `getPeerX509Certificate` stops at the first issuer. So
 * this asks the handle below, and falls back to the public call, which then means fewer chains are
 * complete: nobody gets in by it.
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

const ENGINE_REASONS: Readonly<Record<string, HandshakeReason>> = {
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: "no_certificate",
  CERT_HAS_EXPIRED: "expired",
  CERT_NOT_YET_VALID: "not_yet_valid",
  CERT_REVOKED: "revoked",
  INVALID_PURPOSE: "bad_certificate",
  DEPTH_ZERO_SELF_SIGNED_CERT: "untrusted",
  SELF_SIGNED_CERT_IN_CHAIN: "untrusted",
  UNABLE_TO_GET_ISSUER_CERT: "untrusted",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "untrusted",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "untrusted",
};

/** The engine's complaint in our terms; `verifyCode` is what it says of the peer's certificate. */
export function engineError(error: Error, verifyCode?: string): HandshakeError {
  const own: unknown = Reflect.get(error, "code");
  const code = verifyCode ?? (typeof own === "string" ? own : "");
  const known = ENGINE_REASONS[code];
  if (known === "no_certificate") {
    return new HandshakeError(known, "peer sent no certificate", { cause: error });
  }
  if (known !== undefined) {
    return new HandshakeError(known, `the peer's certificate was refused: ${code}`, {
      cause: error,
    });
  }
  if (code === "ERR_SSL_UNSUPPORTED_PROTOCOL") {
    // The engine says so of its own side only, whatever was wrong with certificate, key or versions.
    return new HandshakeError("other", "the TLS engine cannot use the own certificate and key", {
      cause: error,
    });
  }
  if (/received fatal alert|alert/i.test(error.message)) {
    return new HandshakeError("other", `the peer refused us: ${error.message}`, { cause: error });
  }
  if (code.startsWith("ERR_SSL") || code === "ERR_TLS_HANDSHAKE") {
    return new HandshakeError("protocol", error.message, { cause: error });
  }
  return new HandshakeError("other", error.message, { cause: error });
}

function wireError(error: unknown): HandshakeError {
  const message = error instanceof Error ? error.message : String(error);
  const reset = error instanceof ChannelError && error.fault !== "other";
  return new HandshakeError(reset ? "reset" : "other", message, { cause: error });
}

/**
 * It takes both verdicts to let a peer in. Where the engine has refused already, ours is asked for its
 * words only, which say more; not for a long chain, whose length the peer chose and we would pay for.
 */
const EXPLAINED_CHAIN = 3;

function engineRefusal(socket: TLSSocket): HandshakeError {
  return engineError(new Error("not authorized"), String(socket.authorizationError));
}

/** The peer whose chain holds; `undefined` where none is asked for, or none shown and optional. */
function verified(socket: TLSSocket, demand: PeerDemand): VerifiedPeer | undefined {
  if (demand.kind === "nothing") return undefined;
  const chain = presentedChain(socket);
  if (chain.length === 0 && demand.optional) return undefined;
  const refusedByEngine = chain.length > 0 && !socket.authorized;
  if (refusedByEngine && chain.length > EXPLAINED_CHAIN) throw engineRefusal(socket);
  const verdict = demand.verify(chain);
  if (!verdict.ok) throw new HandshakeError(verdict.reason, verdict.detail);
  if (refusedByEngine) throw engineRefusal(socket);
  return verdict.peer;
}

/** Judges and decides, synchronously, while what the engine has to say is still held back. */
function judge<T>(
  socket: TLSSocket,
  role: Role,
  decide: Decide<T>,
): Omit<Handshaken<T>, "channel"> & {
  admit: boolean;
} {
  const peer = verified(socket, role.demand);
  const { admit, value } = decide(peer);
  const protocol = socket.getProtocol() ?? "unknown";
  return { admit, value, peer, protocol, resumed: socket.isSessionReused() };
}

/**
 * Runs one handshake over `transport`, which it owns from now on: it is closed unless an admitted
 * channel comes back.
 *
 * @throws {HandshakeError} when there is no handshake, or the peer's chain does not hold.
 */
export async function handshake<T>(
  transport: Channel,
  role: Role,
  decide: Decide<T>,
  limits: HandshakeLimits,
): Promise<Handshaken<T>> {
  const wire = new Wire(transport);
  const { promise, resolve, reject } = Promise.withResolvers<Handshaken<T>>();
  let settled = false;
  let refused = false;
  const fail = (error: unknown) => {
    settled = true;
    reject(error instanceof HandshakeError ? error : wireError(error));
  };
  const timer = setTimeout(
    () =>
      fail(new HandshakeError("timeout", `no handshake within ${formatDuration(limits.timeout)}`)),
    limits.timeout,
  );
  const cut = () => fail(new HandshakeCut());
  limits.signal.addEventListener("abort", cut, { once: true });
  if (limits.signal.aborted) cut();
  wire.onBroken = fail;

  const secure = (socket: TLSSocket): void => {
    if (settled) return void socket.destroy();
    try {
      const { admit, ...rest } = judge(socket, role, decide);
      settled = true;
      refused = !admit;
      if (refused) wire.mute();
      const channel = admit ? new TlsChannel(transport.remote, wire, socket) : undefined;
      resolve({ ...rest, channel });
    } catch (error) {
      // Refused, or a fault of ours: either way the peer gets nothing, no ticket, no last flight.
      refused = true;
      wire.mute();
      fail(
        error instanceof HandshakeError
          ? error
          : new HandshakeError("other", `the decision failed: ${error}`, { cause: error }),
      );
    }
  };

  let engine: { readonly abandon: () => void } | undefined;
  try {
    engine = role.start(wire, { secure, failed: fail });
    void feed(wire, () => settled).catch(fail);
    const result = await promise;
    if (result.channel === undefined) abandon(wire, engine);
    return result;
  } catch (error) {
    const alert = error instanceof HandshakeError && !refused && sendsAlert(error);
    if (alert) await wire.linger(limits.signal);
    abandon(wire, engine);
    throw error;
  } finally {
    clearTimeout(timer);
    limits.signal.removeEventListener("abort", cut);
  }
}

/** Whether the engine has an alert for the peer on its way. */
function sendsAlert(error: HandshakeError): boolean {
  return error.reason !== "timeout" && error.reason !== "reset" && error.cause !== undefined;
}

function abandon(wire: Wire, engine: { readonly abandon: () => void } | undefined): void {
  wire.close();
  engine?.abandon();
}

async function feed(wire: Wire, settled: () => boolean): Promise<void> {
  while (!settled()) {
    if (await wire.pull()) {
      // The engine reports some failures a little later than it is fed.
      await Promise.resolve();
      continue;
    }
    // What the engine made of the last bytes is the better reason.
    for (let turns = 0; turns < 3 && !settled(); turns++) {
      await new Promise((done) => setTimeout(done, 0));
    }
    if (settled()) return;
    throw new HandshakeError("reset", "the peer left during the handshake");
  }
}
