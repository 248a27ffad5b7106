/**
 * What a tunnel asks of its peers' chains, in one place: the daemon judges by it, and `explain` does.
 *
 * @module
 */

import type { Material } from "../certstore/material.ts";
import type { SignatureMemory } from "../tls/signature_memory.ts";
import { PeerVerifier } from "../tls/verdict.ts";

/** Who the peers are. */
export type PeerRole =
  | { readonly purpose: "client" }
  /** `serverName` is the name that its certificate must carry. */
  | { readonly purpose: "server"; readonly serverName: string };

/**
 * The judge of peers' chains by this material.
 *
 * @param now milliseconds since the epoch.
 * @param signatures what was checked before this material came.
 */
export function peerVerifier(
  role: PeerRole,
  { anchors, intermediates, revocation }: Material,
  now: () => number,
  signatures?: SignatureMemory,
): PeerVerifier {
  return new PeerVerifier({
    anchors,
    intermediates,
    revocation,
    ...role,
    signatures,
    now,
  });
}
