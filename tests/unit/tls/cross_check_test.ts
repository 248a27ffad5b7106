/**
 * The second look agrees with path validation on what is sound, and sees by itself what is not.
 *
 * @module
 */

import assert from "node:assert/strict";
import { crossCheck } from "../../../src/tls/cross_check.ts";
import { parseCertificate } from "../../../src/x509/parse.ts";
import * as der from "../../support/der.ts";
import * as pki from "../../support/pki.ts";

function look(path: readonly pki.Issued[], now = Date.now()): string | undefined {
  return crossCheck(path.map(({ der }) => parseCertificate(der)), now);
}

Deno.test("second look: every key and signature of the profile", () => {
  for (const kind of ["p256", "p384", "ed25519", "rsa2048"] as const) {
    const { ca, intermediate, client } = pki.testPki({ kind, intermediate: true });
    assert.ok(intermediate);
    assert.equal(look([client, intermediate, ca]), undefined, kind);
    assert.equal(look([client]), undefined, kind);
  }
  const rsa = pki.makeCa({ kind: "rsa2048" });
  const ec = pki.makeCa({ kind: "p384" });
  const signed: [pki.Issued, readonly pki.SignatureKind[]][] = [
    [rsa, ["rsa-sha256", "rsa-sha384", "rsa-sha512", "pss-sha256", "pss-sha384", "pss-sha512"]],
    [ec, ["ecdsa-sha256", "ecdsa-sha384", "ecdsa-sha512"]],
  ];
  for (const [ca, kinds] of signed) {
    for (const signature of kinds) {
      assert.equal(look([pki.makeLeaf({ signature }, ca), ca]), undefined, signature);
      const forged = pki.makeLeaf({ signature, forged: true, subject: "x" }, ca);
      assert.match(look([forged, ca]) ?? "", /did not sign/, signature);
    }
  }
});

Deno.test("second look: issuers with unique identifiers, which it reads without them", () => {
  const ids = { issuerUniqueId: der.raw("0102"), subjectUniqueId: der.raw("80") };
  const ca = pki.makeCa({ subject: "ca", ...ids });
  for (const more of [{}, { kind: "rsa2048" }, { subject: { CN: "x".repeat(300) } }] as const) {
    const middle = pki.makeCa({ subject: "middle", issuer: ca, ...ids, ...more });
    const leaf = pki.makeLeaf({ subject: "leaf" }, middle);
    assert.equal(look([leaf, middle, ca]), undefined);
    const forged = pki.makeCa({ subject: "m", issuer: ca, forged: true, ...ids, ...more });
    assert.match(look([pki.makeLeaf({}, forged), forged, ca]) ?? "", /CN=ca did not sign/);
  }
});

Deno.test("second look: what CAs in use write besides DER", () => {
  const ca = pki.makeCa({ subject: "ca" });
  const odd: readonly pki.IssueOptions[] = [
    { serial: "ff01" },
    { serial: "7f".repeat(256) },
    { omit: ["keyUsage"], extra: [pki.extension("keyUsage", der.raw("0303000600"), true)] },
    { extra: [der.seq(der.oid(pki.OID.unknown), der.bool(false), der.octet(der.nil()))] },
    { extra: [pki.subjectAltName([der.implicit(2, der.octet(der.raw("c3bc")))])] },
    { extra: [pki.extension("inhibitAnyPolicy", der.int(0), true)] },
    { extra: [pki.nameConstraints({ permitted: [pki.uri(".a.example"), pki.directory("x")] })] },
  ];
  for (const [i, options] of odd.entries()) {
    const middle = pki.makeCa({ subject: "middle", issuer: ca, ...options });
    assert.equal(look([pki.makeLeaf({}, middle), middle, ca]), undefined, `${i}`);
  }
});

Deno.test("second look: what path validation might miss", () => {
  const ca = pki.makeCa({ subject: "ca" });
  const middle = pki.makeCa({ subject: "middle", issuer: ca });
  const leaf = pki.makeLeaf({ subject: "leaf" }, middle);
  const namesake = pki.makeCa({ subject: "ca" });
  assert.equal(look([leaf, middle, ca]), undefined);
  assert.match(look([leaf, ca]) ?? "", /CN=ca did not sign/);
  assert.match(look([leaf, middle, namesake]) ?? "", /CN=ca did not sign/);
  const noCa = pki.makeLeaf({ subject: "middle", key: middle.key }, ca);
  assert.match(look([leaf, noCa, ca]) ?? "", /CN=middle is no CA/);
});

Deno.test("second look: to the second, in every form of time", () => {
  for (
    const [notBefore, notAfter] of [
      ["1999-12-31T23:59:59Z", "2049-12-31T23:59:59Z"],
      ["2026-02-28T01:02:03Z", "2050-01-01T00:00:00Z"],
      ["2026-02-28T01:02:03Z", "9999-12-31T23:59:59Z"],
    ] as const
  ) {
    const ca = pki.makeCa({ notBefore: new Date(notBefore), notAfter: new Date(notAfter) });
    const [from, to] = [Date.parse(notBefore), Date.parse(notAfter)];
    assert.match(look([ca], from - 1) ?? "", /not valid now/);
    assert.equal(look([ca], from), undefined);
    assert.equal(look([ca], to + 999), undefined);
    assert.match(look([ca], to + 1000) ?? "", /not valid now/);
  }
});
