import assert from "node:assert/strict";
import * as pki from "../../support/pki.ts";
import {
  ca,
  DAY,
  deep,
  deepKey,
  type Files,
  intermediate,
  leaf,
  leafFiles,
  load,
  NOW,
  sound,
} from "../../support/credential_files.ts";

const crossed = pki.makeCa({
  subject: "intermediate",
  key: intermediate.key,
  issuer: pki.makeCa(),
});
const ordinary = pki.makeCa({ subject: "other" });
const bundle = (...entries: readonly pki.Issued[]): Files => ({
  ...sound,
  ca: pki.chainPem(ca, ...entries),
});

const WARNED: Readonly<Record<string, readonly [Files, ...RegExp[]]>> = {
  "chain with its root": [{ ...deepKey, cert: pki.chainPem(deep, intermediate, ca) }],
  "cross-signed intermediate": [{ ...deepKey, cert: pki.chainPem(deep, intermediate, crossed) }],
  "unrelated certificate": [
    { ...sound, cert: pki.chainPem(leaf, ordinary) },
    /^tls\.cert: "cert": certificate 2 \(line \d+, "CN=other"\) signed no other.*take it out$/,
  ],
  "the name is right, the signature is not": [
    { ...sound, cert: pki.chainPem(leaf, pki.makeCa()) },
    /certificate 2 .* signed no other/,
  ],
  "leaf twice": [{ ...sound, cert: pki.chainPem(leaf, leaf) }, /stands there twice/],
  "expired intermediate": [
    {
      ...deepKey,
      cert: pki.chainPem(
        deep,
        pki.makeCa({
          ...{ subject: "intermediate", key: intermediate.key, issuer: ca },
          ...{ notBefore: new Date(NOW - 2 * DAY), notAfter: new Date(NOW - DAY) },
        }),
      ),
    },
    /certificate 2 .* expired at .*: most peers refuse the chain; renew it/,
  ],
  "early intermediate": [
    {
      ...deepKey,
      cert: pki.chainPem(
        deep,
        pki.makeCa({
          ...{ subject: "intermediate", key: intermediate.key, issuer: ca },
          notBefore: new Date(NOW + DAY),
        }),
      ),
    },
    /certificate 2 .* is valid from .*: peers refuse the chain until then/,
  ],
  "leaf with SHA-1": [
    leafFiles({ issuer: pki.makeCa({ kind: "rsa2048" }), signature: "rsa-sha1" }),
    /signed with an algorithm \(1\.2\.840\.113549\.1\.1\.5\) that is not SHA-2/,
  ],
  "leaf of no use": [
    leafFiles({
      extensions: [
        pki.keyUsage(["keyEncipherment"]),
        pki.extendedKeyUsage(["codeSigning"]),
        pki.extension("crlDistributionPoints", Uint8Array.of(0x30, 0), true),
      ],
    }),
    /is not for signatures \(key usage\)/,
    /is not for TLS \(extended key usage\)/,
    /has a critical extension 2\.5\.29\.31 that mtlsd does not process/,
  ],
  "expired CA": [
    bundle(
      pki.makeCa({ notBefore: new Date(NOW - 2 * DAY), notAfter: new Date(NOW - DAY) }),
    ),
    /^tls\.ca: "ca": certificate 2 .* expired at .*: it verifies no peer$/,
  ],
  "early CA": [
    bundle(pki.makeCa({ notBefore: new Date(NOW + DAY) })),
    /certificate 2 .* verifies no peer until/,
  ],
  "leaf in the bundle": [bundle(leaf), /certificate 2 .* is no CA: it lets in its own holder/],
  "CA that may not sign": [
    bundle(pki.makeCa({
      extensions: [
        pki.basicConstraints({ ca: true }),
        pki.keyUsage(["cRLSign"]),
      ],
    })),
    /may not sign certificates/,
  ],
  "weak CA": [
    bundle(pki.makeCa({ kind: "rsa1024" })),
    /^tls\.ca: "ca": left out: certificate 2 .* RSA key of 1024 bits.*verifies no peer/,
  ],
  "CA on another curve": [bundle(pki.makeCa({ kind: "secp256k1" })), /not P-256 or P-384: it veri/],
  "CA with an odd extension": [
    bundle(pki.makeCa({ extra: [pki.extension("unknown", Uint8Array.of(5, 0), true)] })),
    /has a critical extension/,
  ],
  "key in the bundle": [{ ...sound, ca: ca.pem + ca.keyPem }, /a private key stands in it \(line/],
  "same CA twice": [bundle(ca)],
  "twenty CAs": [bundle(...many(19))],
  "twenty-one CAs": [
    bundle(...many(20)),
    /it holds 21 CAs, and each of them can make a peer of any name; keep those that sign/,
  ],
};

function many(count: number): pki.Issued[] {
  return Array.from({ length: count }, (_, i) => pki.makeCa({ subject: `ca ${i}` }));
}

for (const [name, [files, ...patterns]] of Object.entries(WARNED)) {
  Deno.test(`accepted with its warnings: ${name}`, async () => {
    const { warnings } = await load(files);
    assert.equal(warnings.length, patterns.length, warnings.join("\n"));
    for (const [i, pattern] of patterns.entries()) assert.match(warnings[i] ?? "", pattern);
  });
}

Deno.test("a bundle is bounded and holds each CA once", async () => {
  const key = ca.key;
  const entries = Array.from({ length: 257 }, (_, i) => pki.makeCa({ subject: `ca ${i}`, key }));
  await assert.rejects(load(bundle(...entries)), /it holds 258 CAs and 256 are the most/);
  const credentials = await load(bundle(ca, ca));
  assert.equal(pki.anchorsPem(credentials), ca.pem);
});
