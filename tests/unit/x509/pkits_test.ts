/**
 * PKITS sections 4.8 to 4.13 (see `support/pkits.ts`): the verdict that NIST gives, ours, and that of
 * `openssl verify -policy_check`, so that a slip in the table is found.
 *
 * @module
 */

import assert from "node:assert/strict";
import { filesIn } from "../../support/openssl.ts";
import * as pki from "../../support/pki.ts";
import { verdictOn } from "../../support/x509/validate.ts";
import { type Link, makeChain, PKITS } from "./pkits_cases.ts";

type Chain = ReturnType<typeof makeChain>;

async function openssl({ leaf, middles, anchor }: Chain): Promise<string> {
  await using files = await filesIn({
    leaf: leaf.pem,
    middles: pki.chainPem(...middles),
    anchor: anchor.pem,
  });
  const { success, stderr } = await new Deno.Command("openssl", {
    args: [
      ...[
        "verify",
        "-policy_check",
        "-policy",
        "2.5.29.32.0",
        "-purpose",
        "sslclient",
        "-CAfile",
        files.path("anchor"),
      ],
      ...(middles.length > 0 ? ["-untrusted", files.path("middles")] : []),
      files.path("leaf"),
    ],
  }).output();
  return success ? "ok" : new TextDecoder().decode(stderr);
}

for (const [number, title, ...links] of PKITS) {
  const fine = !number.endsWith("!");
  Deno.test(`pkits: ${number.replace(" !", "")} ${title}`, async () => {
    // CAs may say that their policies and mappings are critical.
    for (const critical of [false, true]) {
      const chain = makeChain(links, critical);
      const verdict = verdictOn([chain.leaf, ...chain.middles], [chain.anchor]);
      const words = number.startsWith("4.13.")
        ? /^bad_certificate: .* \(name constraints\)$/
        : /^bad_certificate: .* \(policy (constraints|mappings)\)$/;
      if (fine) assert.equal(verdict, "ok");
      else assert.match(verdict, words);
      if (!critical) assert.equal((await openssl(chain)) === "ok", fine);
    }
  });
}

Deno.test("pkits: every test of the six sections is here, once", () => {
  const sections = { "4.8": 20, "4.9": 8, "4.10": 14, "4.11": 11, "4.12": 10, "4.13": 38 };
  const expected = Object.entries(sections).flatMap(([section, count]) =>
    Array.from({ length: count }, (_, i) => `${section}.${i + 1}`)
  );
  assert.deepEqual(PKITS.map(([number]) => number.replace(" !", "")), expected);
});

Deno.test("pkits: what an anchor asks for holds below it (RFC 5937), its own policies do not", () => {
  const verdict = (anchor: Link, ...links: Link[]): string => {
    const made = makeChain([anchor, ...links]);
    const [top] = made.middles.slice(-1);
    assert.ok(top);
    return verdictOn([made.leaf, ...made.middles.slice(0, -1)], [top]).replace(/ .*/, "");
  };
  const bad = "bad_certificate:";
  assert.equal(verdict({ explicit: 0 }, {}), bad);
  assert.equal(verdict({ explicit: 0 }, { policies: [1] }), "ok");
  assert.equal(verdict({ explicit: 2 }, {}), "ok");
  assert.equal(verdict({ explicit: 2 }, {}, {}), bad);
  assert.equal(verdict({ explicit: 0, inhibitAny: 0 }, { policies: ["any"] }), bad);
  assert.equal(verdict({ policies: [2], explicit: 0 }, { policies: [1] }), "ok");
  const mapping: Link = { policies: [1], map: [[1, 2]] };
  assert.equal(verdict({ explicit: 0 }, mapping, { policies: [2] }), "ok");
  assert.equal(verdict({ explicit: 0, inhibitMapping: 0 }, mapping, { policies: [2] }), bad);
});

Deno.test("pkits: a leaf of the bundle is a path without policies", () => {
  const { leaf } = makeChain([{ explicit: 0 }]);
  assert.match(
    verdictOn([leaf], [leaf]),
    /critical policy constraints .* the TLS engine cannot read/,
  );
  const plain = makeChain([{ policies: [1] }]).leaf;
  assert.equal(verdictOn([plain], [plain]), "ok");
});
