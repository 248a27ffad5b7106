/**
 * How a tunnel verifies its peers' chains; shared by the daemon and the `explain` command.
 *
 * @module
 */

import type { Credentials } from "../tls/credentials.ts";
import { PeerVerifier, type VerifierOptions } from "../tls/peer_verifier.ts";

/** The role that the peers have. */
export type PeerRole =
  | { readonly purpose: "client" }
  /** `serverName` is the name that the server's certificate must carry. */
  | { readonly purpose: "server"; readonly serverName: string };

/**
 * Makes the verifier of peers' chains for these credentials.
 *
 * @param now milliseconds since the epoch.
 * @param shared what outlives the credentials: cached signature checks, and the queue of
 * verifications.
 */
export function peerVerifier(
  role: PeerRole,
  { anchors, leftOut, intermediates, revocation }: Credentials,
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
