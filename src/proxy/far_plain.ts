/**
 * The far end in plain: server mode.
 *
 * @module
 */

import type { Permit } from "../acl.ts";
import { type Channel, ChannelError } from "../channel.ts";
import type { ProxyProtocol } from "../config/config.ts";
import { dial, DialError, type NativeTcp } from "../net.ts";
import { encodeHeader } from "../proxy_protocol/encode.ts";
import { parseEndpoint } from "../proxy_protocol/endpoint.ts";
import type { Life } from "./lives.ts";
import type { AdmittedNear } from "./near_tls.ts";
import { type ReachDeps, reachOne } from "./reach.ts";
import type { Far, FarEnd, Stopped } from "./session.ts";
import type { Attempt } from "./targets.ts";

/** What the far end needs. */
export type PlainFarDeps = ReachDeps & {
  /** Carries what is dialled by native handles. */
  readonly native: NativeTcp | undefined;
  /** What the target is told first. */
  readonly proxyProtocol: ProxyProtocol;
};

/** Dials in plain: with a permit, never without. */
export class PlainFar implements FarEnd<AdmittedNear> {
  readonly #deps: PlainFarDeps;

  /** For all connections of one tunnel. */
  constructor(deps: PlainFarDeps) {
    this.#deps = deps;
  }

  /** Dials the target, and tells it who called. */
  async reach(near: AdmittedNear, life: Life): Promise<Far | Stopped> {
    const { permit, fields } = near;
    const header = this.#header(near, life);
    const reacher = { name: "listener", field: "target", fields } as const;
    const reached = await reachOne(this.#deps, reacher, life, async (attempt) => {
      return { channel: await this.#dial(permit, attempt, header) };
    });
    return "stopped" in reached ? reached : { ...reached, permit };
  }

  /** Takes the permit to show that there is one. */
  async #dial(
    _permit: Permit,
    { address, timeout, signal }: Attempt,
    header: Uint8Array | undefined,
  ): Promise<Channel> {
    const channel = await dial(address, { timeout, signal, native: this.#deps.native });
    if (header !== undefined) await sendHeader(channel, header, { timeout, signal });
    return channel;
  }

  #header(near: AdmittedNear, life: Life): Uint8Array | undefined {
    const { proxyProtocol } = this.#deps;
    if (proxyProtocol === "off") return undefined;
    const { bytes, omitted } = encodeHeader(proxyProtocol, {
      source: parseEndpoint(near.source),
      destination: parseEndpoint(near.destination),
      tls: near.tls?.(),
    });
    if (omitted.length > 0) {
      life.logger.debug("listener: PROXY header without all that is known", {
        ...near.fields,
        omitted,
      });
    }
    return bytes;
  }
}

/**
 * Sends the PROXY header in front of everything else: no target gets a connection without it. One that
 * does not take it in `timeout` milliseconds, or before the signal, has not been reached.
 *
 * @throws {DialError} then, or when it breaks off; the channel is closed.
 */
export async function sendHeader(
  channel: Channel,
  header: Uint8Array,
  { timeout, signal }: Pick<Attempt, "timeout" | "signal">,
): Promise<void> {
  const limit = new AbortController();
  const cut = () => {
    limit.abort();
    channel.close();
  };
  try {
    const sending = channel.write(header);
    // What fits into the kernel's buffer, as it nearly always does, is no matter of time.
    if (sending === undefined) return;
    const timer = setTimeout(cut, timeout);
    signal.addEventListener("abort", cut, { once: true });
    if (signal.aborted) cut();
    try {
      await sending;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", cut);
    }
  } catch (error) {
    channel.close();
    if (!(error instanceof ChannelError)) throw error;
    const reason = limit.signal.aborted ? "timeout" : "other";
    const message = `Cannot send the PROXY header: ${error.message}`;
    throw new DialError(reason, message, { cause: error });
  }
}
