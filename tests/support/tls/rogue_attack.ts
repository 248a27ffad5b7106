/**
 * The rogue server against our client, and what it may get out of that: nothing.
 *
 * @module
 */

import { NO_REVOCATION } from "../../../src/x509/revocation.ts";
import assert from "node:assert/strict";
import { PeerVerifier, type VerificationResult } from "../../../src/tls/peer_verifier.ts";
import { client, credentials, limits, pki, refused } from "./ends.ts";
import { CountingConn, memoryPair } from "./memory_conn.ts";
import { type HandshakeSignature, type RogueResult, rogueServer } from "./rogue_server.ts";

/** What a rogue server gets out of our client. */
export async function attack(
  chain: readonly Uint8Array[],
  sign?: (content: Uint8Array) => HandshakeSignature,
): Promise<{ error: Error; got: RogueResult }> {
  const [near, far] = memoryPair();
  const wire = new CountingConn(near);
  const serving = rogueServer(far, sign === undefined ? { chain } : { chain, sign })
    .finally(() => far.close());
  let sent = 0;
  const error = await refused(
    client({
      verify: (shown) => {
        sent = wire.bytesWritten;
        return verify(shown);
      },
    }).connect(wire, () => assert.fail("decided"), limits()),
    ["bad_certificate", "untrusted", "protocol", "no_certificate"],
  );
  if (sent !== 0) assert.equal(wire.bytesWritten, sent, "something left after the verdict");
  assert(near.isClosed);
  return { error, got: await serving };
}

/** The verdict of a client of the shared PKI. */
function verify(shown: readonly Uint8Array[]): VerificationResult {
  const { anchors } = credentials(pki().ca, [pki().ca]);
  return new PeerVerifier({
    revocation: NO_REVOCATION,
    anchors,
    purpose: "server",
    serverName: "localhost",
    now: Date.now,
  })
    .verifyNow(shown);
}

export function assertNothingRevealed(got: RogueResult, what: string): void {
  assert.equal(got.finished, false, `${what}: the server's handshake completed`);
  assert.deepEqual(got.certificates, [], `${what}: the server saw our certificate`);
  assert.deepEqual(got.messages, [], `${what}: the server got a part of the last flight`);
  assert.equal(got.plaintext.length, 0, `${what}: the server got plaintext`);
}
