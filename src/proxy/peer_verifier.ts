/**
 * What a tunnel asks of its peers' chains, in one place: the daemon judges by it, and `explain` does.
 *
 * @module
 */

import type { Material } from "../certstore/material.ts";
import { PeerVerifier, type VerifierOptions } from "../tls/verdict.ts";

/** Who the peers are. */
export type PeerRole =
  | { readonly purpose: "client" }
  /** `serverName` is the name that its certificate must carry. */
  | { readonly purpose: "server"; readonly serverName: string };

/**
 * The judge of peers' chains by this material.
 *
 * @param now milliseconds since the epoch.
 * @param shared what it has in common with others: signatures checked before this material came, and
 * the queue of those who are verified.
 */
export function peerVerifier(
  role: PeerRole,
  { anchors, leftOut, intermediates, revocation }: Material,
  now: () => number,
  shared: Pick<VerifierOptions, "signatures" | "queue"> = {},
): PeerVerifier {
  return new PeerVerifier({
    anchors,
    leftOut,
    intermediates,
    revocation,
    ...role,
    ...shared,
    now,
  });
}
