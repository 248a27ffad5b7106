/**
 * A chain through the whole verification. Its certificates are signed anew by the keys of those that
 * they name as issuers, so that changed ones get as far as sound ones; what is accepted then must be
 * right.
 *
 * Claims: as those of `paths`, with real signatures; verifying at once and in turns gives the same; and
 * the TLS engine can read the peer's
 * certificate, because of one that it cannot read it checks no possession of the key.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { VerificationResult } from "../../../src/tls/peer_verifier.ts";
import { concat } from "../../support/der.ts";
import { rustlsRefuses } from "../../support/x509/rustls.ts";
import { chains as seeds } from "../chain_seeds.ts";
import { anchorsOf, readChain, signAnew, split } from "../chain.ts";
import { KEYS, NOW } from "../keys.ts";
import { changeDer } from "../mutate.ts";
import { assertChecks, assertPath } from "../path_claims.ts";
import type { Target } from "../target.ts";

/** One refusal in `ONE_IN` is verified in turns too, which takes longer. */
const ONE_IN = 8;

/** What two verdicts have to have in common. */
function brief(verdict: VerificationResult): string {
  return verdict.ok ? `until ${verdict.peer.validUntil}` : `${verdict.reason}: ${verdict.detail}`;
}

/** As `paths`, and what the verifier adds. */
export const chains: Target = {
  name: "chains",
  about: "a chain, signed anew, through the whole verification",
  boundedRuns: 15_000,
  maxLength: 16_384,
  maxSteps: (length) => 60_000 + 80 * length,
  seeds: () => seeds().map((chain) => concat(...chain)),
  mutate: changeDer,
  run(code, input) {
    const shown = signAnew(split(input));
    const anchors = anchorsOf(code);
    const verifier = () =>
      new code.PeerVerifier({
        anchors,
        revocation: code.NO_REVOCATION,
        purpose: "client",
        now: () => NOW,
      });
    const verdict = verifier().verifyNow(shown);
    return {
      accepted: verdict.ok,
      claims: async () => {
        // In turns, as for an unknown peer, where the faster implementation checks the signatures.
        if (verdict.ok || input.length % ONE_IN === 0) {
          const asker = { source: "192.0.2.1", signal: new AbortController().signal };
          assert.deepEqual(brief(await verifier().verify(shown, asker)), brief(verdict));
        }
        if (!verdict.ok) {
          assert.doesNotMatch(verdict.detail, /second reader/, "the second look agrees");
          return;
        }
        let checks = 0;
        const chain = readChain(code, shown) ?? [];
        const again = code.validatePath(chain, {
          anchors,
          purpose: "client",
          now: NOW,
          verifySignature: (...check) => {
            checks++;
            return code.verifySignature(...check);
          },
        });
        assert.ok(again.ok, "the path was found twice");
        assertChecks(code, checks);
        assertPath(again.path, chain, anchors, (one, issuer) => one.verify(issuer.publicKey));
        const [leaf] = shown;
        const key = KEYS.get(verdict.peer.certificate.publicKey.der.toHex());
        // No key belongs to a certificate whose public key was changed.
        if (leaf === undefined || key === undefined) return;
        const keyPem = key.export({ type: "pkcs8", format: "pem" }).toString();
        assert.equal(rustlsRefuses(leaf, keyPem), undefined, "the engine reads the certificate");
      },
    };
  },
};
