/**
 * A chain, with a signature check that nearly always says yes: the search for paths and the rules for
 * them, with certificates that no CA would have signed.
 *
 * Claims: no more signature checks than the bound, and a path that was accepted keeps the rules of RFC
 * 5280 section 6 as `X509Certificate` of `node:crypto` reads its certificates.
 *
 * @module
 */

import { concat } from "../../support/der.ts";
import { shapes } from "../../support/x509/shapes.ts";
import { chains } from "../chain_seeds.ts";
import { anchorsOf, readChain, split } from "../chain.ts";
import { NOW } from "../keys.ts";
import { changeDer } from "../mutate.ts";
import { assertChecks, assertPath } from "../path_claims.ts";
import type { Target } from "../target.ts";

/** Reading is linear; the search has a bound of its own. */
export const paths: Target = {
  name: "paths",
  about: "a chain, through the search for paths; signatures hold unless they end in 0",
  boundedRuns: 20_000,
  maxLength: 32_768,
  maxSteps: (length) => 50_000 + 60 * length,
  seeds() {
    const anchored = chains();
    return [
      ...anchored.map((chain) => concat(...chain)),
      ...shapes().map(({ issued }) => issued.der),
    ];
  },
  mutate: changeDer,
  run(code, input) {
    const chain = readChain(code, split(input));
    if (chain === undefined) return { accepted: false };
    let checks = 0;
    const anchors = anchorsOf(code);
    const verdict = code.validatePath(chain, {
      anchors,
      purpose: "client",
      now: NOW,
      verifySignature: (_algorithm, _key, _tbs, signature) => {
        checks++;
        return signature.at(-1) !== 0;
      },
    });
    return {
      accepted: verdict.ok,
      claims: () => {
        assertChecks(code, checks);
        if (verdict.ok) assertPath(verdict.path, chain, anchors, () => true);
      },
    };
  },
};
