/**
 * What a tunnel asks of its peers' chains, in one place: the daemon judges by it, and `explain` does.
 *
 * @module
 */

import type { Material } from "../certstore/material.ts";
import type { Config } from "../config/config.ts";
import type { SignatureMemory } from "../tls/signature_memory.ts";
import { PeerVerifier } from "../tls/verdict.ts";

/** The name that a server must carry; `undefined` in server mode, where clients carry none. */
export function expectedName({ mode, tls, target }: Config): string | undefined {
  return mode === "client" ? tls.serverName ?? target.host : undefined;
}

/**
 * The judge of peers' chains by this material.
 *
 * @param now milliseconds since the epoch.
 * @param signatures what was checked before this material came.
 */
export function peerVerifier(
  config: Config,
  { anchors, revocation }: Material,
  now: () => number,
  signatures?: SignatureMemory,
): PeerVerifier {
  const serverName = expectedName(config);
  return new PeerVerifier({
    anchors,
    revocation,
    purpose: config.mode === "server" ? "client" : "server",
    ...(serverName === undefined ? {} : { serverName }),
    signatures,
    now,
  });
}
