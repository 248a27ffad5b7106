/**
 * What a refusal says: whose certificate it is, where it stands, what is wrong and what helps.
 *
 * @module
 */

import assert from "node:assert/strict";
import { peerVerifier } from "../../../src/proxy/tls_contexts.ts";
import { crl, load, refusal as refusedFiles } from "../certstore/crl_memory.ts";
import { DAY, NOW } from "../../support/credential_files.ts";
import * as der from "../../support/der.ts";
import * as pki from "../../support/pki.ts";

const ca = pki.makeCa({ subject: "root" });
const inter = pki.makeCa({ subject: "inter", issuer: ca });
const leaf = pki.makeLeaf({ subject: "web", role: "client" }, inter);

type Files = Parameters<typeof load>[0];

/** Why a client is refused that shows these certificates. */
async function why(shown: readonly pki.Issued[], files: Files = { ca: ca.pem }): Promise<string> {
  const own = pki.makeLeaf({ subject: "own" }, ca);
  const credentials = await load({ cert: own.pem, key: own.keyPem, ...files });
  const verifier = peerVerifier({ purpose: "client" }, credentials, () => NOW);
  const verdict = verifier.verifyNow(shown.map(({ der }) => der));
  assert.ok(!verdict.ok, "was let in");
  return `${verdict.reason}: ${verdict.detail}`;
}

const NO_CHAIN =
  "untrusted: no chain of valid signatures leads from CN=web to a CA of the bundle; ";

Deno.test("refusal: the intermediate was not shown", async () => {
  assert.equal(
    await why([leaf]),
    `${NO_CHAIN}its issuer is CN=inter, which is neither in the bundle nor among those shown`,
  );
});

Deno.test("refusal: the names are followed as far as they lead", async () => {
  const other = pki.makeCa({ subject: "other root" });
  assert.equal(
    await why([leaf, inter], { cert: other.pem, key: other.keyPem, ca: other.pem }),
    `${NO_CHAIN}its issuers lead to CN=inter, whose issuer is CN=root, ` +
      "which is neither in the bundle nor among those shown",
  );
});

Deno.test("refusal: an intermediate that cannot be read is named with its place and the reason", async () => {
  const v1 = pki.makeCa({ subject: "inter", issuer: ca, key: inter.key, version: 1 });
  assert.match(
    await why([leaf, v1]),
    /its issuer is CN=inter, which was shown as certificate 2 and cannot be used: it is an X\.509 v1/,
  );
  const garbage = { ...inter, der: new TextEncoder().encode("garbage") };
  assert.match(
    await why([leaf, garbage, v1, ...Array<pki.Issued>(20).fill(garbage)]),
    /shown as certificate 3 .*; not considered: certificate 2: certificate has tag .*; not considered: certificate 5: .*; nor 18 more$/,
  );
});

Deno.test("refusal: an issuer that the bundle has and leaves out is named with the reason", async () => {
  const small = pki.makeCa({ subject: "small", kind: "rsa1024" });
  assert.match(
    await why([pki.makeLeaf({ subject: "web" }, small)], { ca: ca.pem + small.pem }),
    /its issuer is CN=small, which is left out of the bundle: certificate 2 \(line \d+, "CN=small"\) has an RSA key of 1024 bits/,
  );
});

Deno.test("refusal: another key under the name of a CA", async () => {
  assert.equal(
    await why([pki.makeLeaf({ subject: "web" }, pki.makeCa({ subject: "root" }))]),
    `${NO_CHAIN}its issuer is CN=root, and a CA of that name is in the bundle, but a signature on ` +
      "the way is of another key",
  );
});

Deno.test("refusal: names that look the same are shown with their encoding", async () => {
  const named = (tag: number, text: string): der.Der =>
    der.seq(der.set(der.seq(der.oid("2.5.4.3"), der.tlv(tag, new TextEncoder().encode(text)))));
  const utf8 = pki.makeCa({ subject: named(0x0c, "acme CA") });
  const issuerName = named(0x13, "acme CA");
  assert.match(
    await why([pki.makeLeaf({ subject: "web", issuerName }, utf8)], { ca: ca.pem + utf8.pem }),
    /its issuer is CN=acme CA, and the bundle has a CA whose name looks the same but is written in other bytes: CN is a PrintableString in the one and a UTF8String in the other; issue one/,
  );
  const upper = named(0x0c, "ACME  CA");
  assert.match(
    await why([pki.makeLeaf({ subject: "web", issuerName: upper }, utf8)], {
      ca: ca.pem + utf8.pem,
    }),
    /CN differs in letter case, spaces or the form of its letters/,
  );
  const between = pki.makeCa({ subject: named(0x0c, "team CA"), issuer: ca });
  const below = pki.makeLeaf({ subject: "web", issuerName: named(0x16, "team CA") }, between);
  assert.match(
    await why([below, between]),
    /and a certificate was shown whose name .* CN is an IA5String in the one and a UTF8String in/,
  );
  assert.match(
    await why([below], { ca: ca.pem, intermediates: between.pem }),
    /and tls\.intermediates has a CA whose name looks the same/,
  );
  const { message } = await refusedFiles({
    ca: utf8.pem,
    cert: utf8.pem,
    key: utf8.keyPem,
    crl: crl({ issuerName }, utf8),
  });
  assert.match(
    message,
    /is of an issuer whose name looks like that of a CA of tls\.ca .*UTF8String/,
  );
});

Deno.test("refusal: the place of the certificate that is at fault", async () => {
  const past = { notBefore: new Date(NOW - 3 * DAY), notAfter: new Date(NOW - DAY) };
  const late = pki.makeCa({ subject: "late", issuer: ca, ...past });
  const under = pki.makeLeaf({ subject: "web" }, late);
  assert.match(
    await why([under, late]),
    /^expired: certificate CN=late expired at \S+; it is certificate 2 of 2 shown$/,
  );
  assert.match(
    await why([under], { ca: ca.pem, intermediates: late.pem }),
    /CN=late expired at \S+; it stands in tls\.intermediates$/,
  );
  const gone = pki.makeCa({ subject: "gone", ...past });
  assert.match(
    await why([pki.makeLeaf({ subject: "web" }, gone)], { ca: ca.pem + gone.pem }),
    /CN=gone expired at \S+; it stands in the bundle$/,
  );
  assert.match(
    await why([pki.makeLeaf({ subject: "web", ...past }, inter), inter]),
    /CN=web expired at \S+; it is the peer's own$/,
  );
  assert.match(
    await why([pki.makeLeaf({ subject: "web", ...past }, ca)]),
    /CN=web expired at \S+$/,
  );
});

Deno.test("refusal: a salt of RSASSA-PSS that is not as long as the hash", async () => {
  const rsa = pki.makeCa({ subject: "rsa", kind: "rsa2048" });
  const algorithm = pki.pssAlgorithm("sha256", "sha256", 222);
  const salted = pki.makeLeaf({
    subject: "web",
    innerAlgorithm: algorithm,
    outerAlgorithm: algorithm,
  }, rsa);
  assert.match(
    await why([salted], { ca: ca.pem + rsa.pem }),
    /CN=web is signed with RSASSA-PSS with a salt of 222 bytes where SHA-256 has 32; sign it again with the option -sigopt rsa_pss_saltlen:digest/,
  );
});

Deno.test("refusal: the peer's words are bounded", async () => {
  const huge = pki.makeCa({ subject: "x".repeat(20_000) });
  const detail = await why([
    pki.makeLeaf({ subject: "y".repeat(20_000) }, huge),
    ...Array<pki.Issued>(9).fill({ ...huge, der: new Uint8Array([...huge.der, 0]) }),
  ]);
  assert.ok(detail.length < 1500, String(detail.length));
});

Deno.test("refusal: a server of another name is told by the names that it has", async () => {
  const verdict = async (san: readonly der.Der[], subject = "db") => {
    const server = pki.makeLeaf({ role: "server", subject, san }, ca);
    const own = pki.makeLeaf({ subject: "own" }, ca);
    const credentials = await load({ cert: own.pem, key: own.keyPem, ca: ca.pem });
    const verifier = peerVerifier(
      { purpose: "server", serverName: "db.example" },
      credentials,
      () => NOW,
    );
    const judged = verifier.verifyNow([server.der]);
    assert.ok(!judged.ok);
    return `${judged.reason}: ${judged.detail}`;
  };
  const mismatch =
    "name_mismatch: the server's certificate does not carry the name db.example; it carries ";
  assert.equal(
    await verdict([pki.dns("other.example"), pki.ip("192.0.2.7"), pki.uri("spiffe://a/b")]),
    `${mismatch}DNS:other.example, IP:192.0.2.7`,
  );
  const many = Array.from({ length: 200 }, (_, i) => pki.dns(`${i}.${"x".repeat(200)}.example`));
  const long = await verdict(many);
  assert.match(long, /^name_mismatch: .*DNS:0\.x+\.\.\., .* and 192 more$/);
  assert.ok(long.length < 1000);
  assert.equal(
    await verdict([]),
    `${mismatch}no DNS name or IP address (SAN), and the CN of its subject does not count`,
  );
});
