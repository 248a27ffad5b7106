/**
 * One connection's whole way, for all modes:
 *
 *     accept ─▶ handshake ─▶ identity ─▶ authorize ─▶ dial ─▶ splice ─▶ outcome
 *
 * Server mode does handshake and decision at the near end (`receive`) and dials plain; client mode
 * takes plain at the near end and does handshake and decision at the far end (`reach`); a bridge does
 * both, and dials with the near end's permit only. Whichever it is, not one byte moves without a
 * {@linkcode Permit}. From the first decision on the connection's {@linkcode Life} knows its peers, and
 * may end it at any point of the way.
 *
 * @module
 */

import type { Permit } from "../acl.ts";
import type { Channel, RemoteAddress } from "../channel.ts";
import type { ProxyConfig } from "../config/config.ts";
import type { Fields } from "../logging.ts";
import type { LogLimiter } from "../logging/limiter.ts";
import type { TunnelMetrics } from "../metrics.ts";
import type { TlsFacts } from "../proxy_protocol/tls_facts.ts";
import type { Life } from "./lives.ts";
import type { CloseReason } from "./outcome.ts";
import { networkOf } from "./peer_key.ts";
import { splice } from "./splice.ts";
import { takeLeave } from "./farewell.ts";

/** A step that ended the connection; it has logged why, or the connection's life says so. */
export type Stopped = {
  readonly stopped: CloseReason;
  /** Who it was, where that is known to be another than who connected. */
  readonly fields?: Fields;
};

/** For a step that was cut short: stopped with the reason of whoever did that. */
export function cutShort(life: Life): Stopped {
  return { stopped: life.ending?.reason ?? "error" };
}

/** The end that was accepted, ready to carry plaintext. */
export type Near = {
  readonly channel: Channel;
  /** Who it is, for the log. */
  readonly fields: Fields;
  /** The client's address, and the one that it connected to. */
  readonly source: RemoteAddress;
  readonly destination: RemoteAddress;
  /** The client's side of TLS, where it speaks TLS. */
  readonly tls?: (() => TlsFacts) | undefined;
};

/** The end that was dialled, and the leave to join the two. */
export type Far = { readonly channel: Channel; readonly permit: Permit };

/** Makes the near end of an accepted connection, which it owns from now on. */
export type NearEnd<N extends Near> = {
  receive(accepted: Channel, life: Life): Promise<N | Stopped>;
};

/** Reaches the target. */
export type FarEnd<N extends Near> = {
  reach(near: N, life: Life): Promise<Far | Stopped>;
};

/** What the modes differ in: which end is TLS. */
export type Way<N extends Near> = {
  /** Who speaks in the log: `listener` or `dialer`. */
  readonly name: string;
  readonly near: NearEnd<N>;
  readonly far: FarEnd<N>;
};

/** What connections count. */
export type SessionMetrics = Pick<
  TunnelMetrics,
  | "connectionAccepted"
  | "connectionClosed"
  | "bytesProxied"
  | "aclDecision"
  | "peerWithoutCertificate"
  | "handshakeDone"
  | "handshakeFailed"
  | "dialFailed"
>;

/** What a session needs besides its connection. */
export type SessionDeps = {
  readonly proxy: Pick<ProxyConfig, "idleTimeout" | "closeTimeout">;
  /** Bounds lines about who was not let in. */
  readonly limiter: LogLimiter;
  readonly metrics: SessionMetrics;
  /** Milliseconds on a clock that never goes back. */
  readonly monotonic: () => number;
};

type Ended = {
  readonly reason: CloseReason;
  /** It ended before the near end was ready: nobody was let in yet. */
  readonly refused: boolean;
  readonly fields: Fields;
};

/**
 * Carries one connection from accept to its outcome. Resolves when both ends are closed; never
 * rejects. `life`, which it owns, ends it from outside, whatever it is doing.
 */
export async function runSession<N extends Near>(
  accepted: Channel,
  way: Way<N>,
  deps: SessionDeps,
  life: Life,
): Promise<void> {
  const { limiter, metrics, monotonic } = deps;
  const start = monotonic();
  const { remote } = accepted;
  // A fault of ours takes down this connection and nothing else.
  const failed = (error: unknown) => {
    if (!limiter.allows("error", "connection failed", { source: networkOf(remote) })) return;
    life.logger.error(`${way.name}: connection failed`, {
      remote,
      error: error instanceof Error ? error.message : String(error),
    });
  };
  let ended: Ended = { reason: "error", refused: false, fields: { remote } };
  try {
    metrics.connectionAccepted();
    ended = await pass(accepted, way, deps, life);
  } catch (error) {
    attempt(() => failed(error), () => {});
  }
  // Each of these happens, whatever becomes of the others.
  attempt(() => accepted.close(), failed);
  attempt(() => life[Symbol.dispose](), failed);
  const seconds = (monotonic() - start) / 1000;
  attempt(() => metrics.connectionClosed(ended.reason, seconds), failed);
  attempt(() => logClosed(way.name, ended, seconds, deps, life), failed);
}

/**
 * The last line of a connection. Each one that was let in has it, as it has its first one; of others
 * there may be as many as strangers like.
 */
function logClosed(
  name: string,
  { reason, refused, fields }: Ended,
  seconds: number,
  { limiter }: SessionDeps,
  life: Life,
): void {
  // Health checks of balancers and port scans: neither news nor a fault.
  const level = reason === "no_data" ? "debug" : "info";
  if (refused && life.admitted.length === 0) {
    const source = networkOf(String(fields.remote));
    if (!limiter.allows(level, "connection closed", { source })) return;
  }
  life.logger[level](`${name}: connection closed`, {
    ...fields,
    ...(life.ending?.reason === reason ? life.ending.fields : {}),
    reason,
    duration: { seconds },
  });
}

/** Takes a step; tells of its fault where that can be told. Never throws. */
function attempt(step: () => void, failed: (error: unknown) => void): void {
  try {
    step();
  } catch (error) {
    try {
      failed(error);
    } catch {
      // A log that fails too has no place to say so.
    }
  }
}

async function pass<N extends Near>(
  accepted: Channel,
  way: Way<N>,
  deps: SessionDeps,
  life: Life,
): Promise<Ended> {
  const near = await way.near.receive(accepted, life);
  if ("stopped" in near) {
    const { remote } = accepted;
    return { reason: near.stopped, refused: true, fields: near.fields ?? { remote } };
  }
  try {
    const far = await way.far.reach(near, life);
    if ("stopped" in far) {
      // Nothing was forwarded. Where we ended it that is told in good order, else it is no good end.
      if (life.ending === undefined) near.channel.reset();
      else await takeLeave(near.channel);
      return { reason: far.stopped, refused: false, fields: near.fields };
    }
    try {
      return await join(far.permit, near, far, deps, life.signal);
    } finally {
      far.channel.close();
    }
  } finally {
    near.channel.close();
  }
}

/** Joins the two ends. Takes the permit to show that there is one. */
async function join(
  _permit: Permit,
  near: Near,
  far: Far,
  deps: SessionDeps,
  signal: AbortSignal,
): Promise<Ended> {
  const { metrics, proxy } = deps;
  const result = await splice(near.channel, far.channel, {
    idleTimeout: proxy.idleTimeout,
    closeTimeout: proxy.closeTimeout,
    signal,
    onBytes: (direction, count) => metrics.bytesProxied(direction, count),
  });
  return {
    reason: result.reason,
    refused: false,
    fields: {
      ...near.fields,
      bytes_in: result.bytes.client_to_target,
      bytes_out: result.bytes.target_to_client,
      ended_without_close_notify: endedWithoutNotify(near.channel, far.channel),
      error: result.detail,
    },
  };
}

/** Which sides have ended TLS by FIN alone, where that counted as an end; `undefined`: none. */
function endedWithoutNotify(client: Channel, target: Channel): string | undefined {
  const sides = [
    ...(client.endedWithoutNotify === true ? ["client"] : []),
    ...(target.endedWithoutNotify === true ? ["target"] : []),
  ];
  return sides.length === 0 ? undefined : sides.join(",");
}
