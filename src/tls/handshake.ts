/**
 * What the handshakes of both roles share: driving the engine, and the decision while nothing has left
 * yet. What the engine does that makes all this necessary is told in `verdict.ts`.
 *
 * @module
 */

import type { TLSSocket } from "node:tls";
import type { Channel } from "../channel.ts";
import { formatDuration } from "../config/duration.ts";
import { type Ends, TlsChannel } from "./channel.ts";
import { engineError, HandshakeCut, HandshakeError, wireError } from "./handshake_error.ts";
import type { Asker, PeerVerdict, VerifiedPeer, VerifyPeer } from "./verdict.ts";
import { MAX_FRUITLESS, MAX_MESSAGE, MAX_SILENCE, Wire } from "./wire.ts";

export { engineError, HandshakeCut, HandshakeError };

/** The caller's decision about a verified peer; without `admit` the connection is closed. */
export type Decided<T> = { readonly admit: boolean; readonly value: T };

/**
 * Decides about a peer whose chain holds; `undefined` is a peer without a certificate, which can
 * only be where the role allows it. Called before anything of our last flight leaves.
 */
export type Decide<T> = (peer: VerifiedPeer | undefined) => Decided<T>;

/** What a handshake came to, besides the peer. */
export type Session = {
  /** `TLSv1.2` or `TLSv1.3`. */
  readonly protocol: string;
  readonly resumed: boolean;
  /** The protocol that was agreed upon (RFC 7301); `undefined` where none was. */
  readonly alpn: string | undefined;
  /** The cipher suite as OpenSSL names it. */
  readonly cipher: string | undefined;
  /** Accepted connections: the name that the client asked for (SNI, RFC 6066). Its own words. */
  readonly serverName: string | undefined;
};

/** An established connection, or one whose peer the caller did not admit (closed already). */
export type Handshaken<T> = Session & {
  readonly value: T;
  readonly peer: VerifiedPeer | undefined;
  /** `undefined` when the peer was not admitted. */
  readonly channel: Channel | undefined;
};

/** How a handshake is bounded. */
export type HandshakeLimits = {
  /** Milliseconds from now to the decision. */
  readonly timeout: number;
  /** Cuts the handshake. */
  readonly signal: AbortSignal;
};

/** What the engine has at the end of a handshake, while nothing of our last flight has left. */
export type Established = {
  /** Every certificate that the peer showed, DER, its own first; resumed sessions remember them. */
  readonly chain: () => readonly Uint8Array[];
  readonly session: () => Session;
  /** Makes a channel of it. To be called in the same turn, so that no byte is missed. */
  readonly open: (ends: Ends, wire: Wire) => Channel;
  /** Gives it up. */
  readonly destroy: () => void;
};

/** The engine's two ways to report, wired up by a role. */
export type EngineEvents = {
  readonly secure: (established: Established) => void;
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

/** An engine at work. */
export type Started = {
  /** Gives it up, whatever it is doing. */
  readonly abandon: () => void;
};

/** What a role adds: how the engine is started, and what is asked of the peer. */
export type Role = {
  readonly start: (wire: Wire, events: EngineEvents) => Started;
  readonly demand: PeerDemand;
  /** Whether a peer that ends TCP without close_notify has broken the connection off. */
  readonly requireCloseNotify: boolean;
  /** Whether it is counted what the peer's bytes cost the engine. */
  readonly metered: boolean;
};

/** Text that says something; `undefined` for all else. */
export function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** What a socket of the public interface has at the end of a handshake. */
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
    open: (ends, wire) => new TlsChannel(ends, wire, socket),
    destroy: () => void socket.destroy(),
  };
}

/**
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

/** An answer about the peer: at once, or later. */
type Answer = PeerVerdict | Promise<PeerVerdict>;

/** No peer: none is asked for, or none was shown where that is allowed. */
const NOBODY = Symbol("no peer");

/** The answer about what the peer showed. What the engine thinks of the chain does not count. */
function ask(
  chain: readonly Uint8Array[],
  demand: PeerDemand,
  asker: Asker,
): Answer | typeof NOBODY {
  if (demand.kind === "nothing") return NOBODY;
  if (chain.length === 0 && demand.optional) return NOBODY;
  return demand.verify(chain, asker);
}

/** The trust may change while a peer is verified; so often that it has to be verified anew is no accident. */
const MAX_ANSWERS = 8;

/**
 * Waits for the answer and hands it to `decide` in a turn in which it holds: a yes of a trust that was
 * replaced meanwhile is none.
 */
async function whenAnswered(
  first: Promise<PeerVerdict>,
  again: () => Answer | typeof NOBODY,
  decide: (verdict: PeerVerdict | typeof NOBODY) => void,
): Promise<void> {
  let pending = first;
  for (let answers = 0; answers < MAX_ANSWERS; answers++) {
    const verdict = await pending;
    if (!verdict.ok) return decide(verdict);
    const now = again();
    if (!(now instanceof Promise)) return decide(now);
    pending = now;
  }
  throw new HandshakeError("other", "the trust changed again and again");
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
  const wire = new Wire(transport, role.requireCloseNotify);
  const { promise, resolve, reject } = Promise.withResolvers<Handshaken<T>>();
  let over: AbortController | undefined;
  let settled = false;
  let refused = false;
  /** While the peer is being verified nothing more is read. */
  let verifying: Promise<void> | undefined;
  const settle = () => {
    settled = true;
    over?.abort();
  };
  // Most peers are known, and need no signal.
  const asker: Asker = {
    source: transport.remote,
    get signal() {
      return (over ??= new AbortController()).signal;
    },
  };
  wire.metered = role.metered;
  const fail = (error: unknown) => {
    settle();
    reject(error instanceof HandshakeError ? error : wireError(error));
  };
  /** Refused, or a fault of ours: either way the peer gets nothing, no ticket, no last flight. */
  const refuse = (error: unknown) => {
    refused = true;
    wire.mute();
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
  wire.onBroken = fail;

  /** Decides, in the turn of the answer, while what the engine has to say is still held back. */
  const conclude = (
    established: Established,
    verdict: PeerVerdict | typeof NOBODY,
    open: () => Channel,
  ): void => {
    if (verdict !== NOBODY && !verdict.ok) {
      return refuse(new HandshakeError(verdict.reason, verdict.detail));
    }
    const peer = verdict === NOBODY ? undefined : verdict.peer;
    const session = established.session();
    const { admit, value } = decide(peer);
    settle();
    refused = !admit;
    if (refused) wire.mute();
    const channel = admit ? open() : undefined;
    wire.release();
    wire.metered = false;
    resolve({ value, peer, ...session, channel });
  };

  const secure = (established: Established): void => {
    if (settled) return established.destroy();
    try {
      const chain = role.demand.kind === "nothing" ? [] : established.chain();
      const again = () => ask(chain, role.demand, asker);
      const answer = again();
      if (!(answer instanceof Promise)) {
        return conclude(established, answer, () => established.open(transport, wire));
      }
      // Opened in this turn, so that no byte is missed; used after the decision only.
      wire.hold();
      const channel = established.open(transport, wire);
      verifying = whenAnswered(answer, again, (verdict) => {
        if (!settled) conclude(established, verdict, () => channel);
      }).catch((error) => {
        if (!settled) refuse(error);
      });
    } catch (error) {
      refuse(error);
    }
  };

  let engine: Started | undefined;
  try {
    // Cut before it began: nothing is sent.
    if (!settled) {
      engine = role.start(wire, { secure, failed: fail });
      void feed(wire, () => settled, () => verifying).catch(fail);
    }
    const result = await promise;
    if (result.channel === undefined) abandon(wire, engine);
    return result;
  } catch (error) {
    if (error instanceof HandshakeError) error.engineCpu = wire.engineCpu;
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

function abandon(wire: Wire, engine: Started | undefined): void {
  wire.close();
  engine?.abandon();
}

async function feed(
  wire: Wire,
  settled: () => boolean,
  verifying: () => Promise<void> | undefined,
): Promise<void> {
  for (let fed = 0; !settled();) {
    await verifying();
    if (settled()) return;
    const isUnderWay = () => settled() || verifying() !== undefined;
    const count = fed <= MAX_MESSAGE ? await wire.pull() : await pullSoon(wire, isUnderWay);
    fed += count ?? 0;
    if (count !== undefined && fed < MAX_FRUITLESS) {
      // The engine reports some failures a little later than it is fed.
      await Promise.resolve();
      continue;
    }
    // What the engine made of the last bytes is the better reason.
    for (let turns = 0; turns < 3 && !settled(); turns++) {
      await new Promise((done) => setTimeout(done, 0));
    }
    if (settled()) return;
    // The end of a peer that is being verified is the channel's.
    if (verifying() !== undefined) continue;
    if (count === undefined) {
      throw new HandshakeError("reset", "the peer left during the handshake");
    }
    throw new HandshakeError("protocol", `no handshake within ${MAX_FRUITLESS} bytes`);
  }
}

/** Reads once more of a peer that has sent so much that the engine may have given up on a message. */
async function pullSoon(wire: Wire, isDone: () => boolean): Promise<number | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      // The engine may have done its part in the meantime.
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
    return await Promise.race([wire.pull(), silence]);
  } finally {
    clearTimeout(timer);
  }
}
