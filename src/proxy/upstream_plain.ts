/**
 * Dials upstream in plain: server mode.
 *
 * @module
 */

import type { Permit } from "../acl/mod.ts";
import { type Conn, ConnError } from "../net/conn.ts";
import type { ProxyProtocol } from "../config/config.ts";
import { dial, DialError, type NativeTcp } from "../net/mod.ts";
import { encodeHeader } from "../proxy_protocol/encode.ts";
import { parseEndpoint } from "../proxy_protocol/endpoint.ts";
import type { Connection } from "./connection_table.ts";
import type { AdmittedNear } from "./downstream.ts";
import { type ReachDeps, reachOne } from "./reach.ts";
import type { Far, FarEnd, Stopped } from "./pipeline.ts";
import type { Attempt } from "./load_balancer.ts";

/** Dependencies of {@linkcode PlainFar}. */
export type PlainFarDeps = ReachDeps & {
  /** Carries dialled connections on native handles, where they are available. */
  readonly native: NativeTcp | undefined;
  /** The PROXY header to send to the target first. */
  readonly proxyProtocol: ProxyProtocol;
};

/** Dials upstream in plain; every dial requires a permit. */
export class PlainFar implements FarEnd<AdmittedNear> {
  readonly #deps: PlainFarDeps;

  /** Shared by all connections of one tunnel. */
  constructor(deps: PlainFarDeps) {
    this.#deps = deps;
  }

  /** Dials a target, and sends it the PROXY header if configured. */
  async reach(near: AdmittedNear, connection: Connection): Promise<Far | Stopped> {
    const { permit, fields } = near;
    const header = this.#header(near, connection);
    const reacher = { name: "listener", field: "target", fields } as const;
    const reached = await reachOne(this.#deps, reacher, connection, async (attempt) => {
      return { conn: await this.#dial(permit, attempt, header) };
    });
    return "stopped" in reached ? reached : { ...reached, permit };
  }

  /** Takes the permit only to prove that the downstream peer was authorized. */
  async #dial(
    _permit: Permit,
    { address, timeout, signal }: Attempt,
    header: Uint8Array | undefined,
  ): Promise<Conn> {
    const conn = await dial(address, { timeout, signal, native: this.#deps.native });
    if (header !== undefined) await sendHeader(conn, header, { timeout, signal });
    return conn;
  }

  #header(near: AdmittedNear, connection: Connection): Uint8Array | undefined {
    const { proxyProtocol } = this.#deps;
    if (proxyProtocol === "off") return undefined;
    const { bytes, omitted } = encodeHeader(proxyProtocol, {
      source: parseEndpoint(near.source),
      destination: parseEndpoint(near.destination),
      tls: near.tls?.(),
    });
    if (omitted.length > 0) {
      connection.logger.debug("listener: PROXY header without all that is known", {
        ...near.fields,
        omitted,
      });
    }
    return bytes;
  }
}

/**
 * Sends the PROXY header before anything else: no target gets a connection without it. A target
 * that does not accept it within `timeout` milliseconds, or before the signal, counts as not
 * reached.
 *
 * @throws {DialError} then, or when sending fails; the connection is closed.
 */
export async function sendHeader(
  conn: Conn,
  header: Uint8Array,
  { timeout, signal }: Pick<Attempt, "timeout" | "signal">,
): Promise<void> {
  const limit = new AbortController();
  const cut = () => {
    limit.abort();
    conn.close();
  };
  try {
    const sending = conn.write(header);
    // The header nearly always fits into the kernel's buffer, and then no timer is needed.
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
    conn.close();
    if (!(error instanceof ConnError)) throw error;
    const reason = limit.signal.aborted ? "timeout" : "other";
    const message = `Cannot send the PROXY header: ${error.message}`;
    throw new DialError(reason, message, { cause: error });
  }
}
