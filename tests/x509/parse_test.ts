/**
 * Certificates that are read: all that they say.
 *
 * @module
 */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import type { Certificate } from "../../src/x509/certificate.ts";
import { parseCertificate } from "../../src/x509/parse.ts";
import * as der from "../support/der.ts";
import * as pki from "../support/pki.ts";
import { shapes } from "./support/shapes.ts";

const { raw } = der;

function test(name: string, fn: () => void): void {
  Deno.test({ name: `parse: ${name}`, permissions: "none", fn });
}

function parsed(options: pki.IssueOptions): Certificate {
  return parseCertificate(pki.issue(options).der);
}

test("what a certificate says", () => {
  const ca = pki.makeCa({ subject: { O: "acme", CN: "ca" }, pathLength: 2 });
  const issued = pki.makeLeaf({
    subject: { O: "acme", CN: "web" },
    serial: "00ff02",
    notBefore: new Date("2024-01-02T03:04:05Z"),
    notAfter: new Date("2050-01-02T03:04:05Z"),
    san: [pki.dns("a.example")],
  }, ca);
  const certificate = parseCertificate(issued.der);
  const [tbs, , signature] = der.split(der.contentOf(issued.der));
  assert.ok(tbs && signature);
  assert.deepEqual(certificate.der, issued.der);
  assert.deepEqual(certificate.tbs, tbs);
  assert.deepEqual(certificate.signature, der.contentOf(signature).subarray(1));
  assert.equal(certificate.serial, "ff02");
  assert.deepEqual(certificate.signatureAlgorithm, { kind: "ecdsa", hash: "sha256" });
  assert.deepEqual(certificate.issuer.der, ca.subject);
  assert.equal(certificate.issuer.key, parseCertificate(ca.der).subject.key);
  assert.deepEqual(certificate.subject.attributes, [
    { oid: "2.5.4.10", value: "acme", guess: "acme" },
    { oid: "2.5.4.3", value: "web", guess: "web" },
  ]);
  assert.equal(certificate.notBefore, Date.parse("2024-01-02T03:04:05Z"));
  assert.equal(certificate.notAfter, Date.parse("2050-01-02T03:04:05Z"));
  assert.deepEqual(certificate.publicKey, {
    kind: "ec",
    curve: "P-256",
    der: pki.spkiOf(issued.key),
  });
  assert.equal(certificate.basicConstraints, undefined);
  assert.deepEqual(certificate.keyUsage, {
    digitalSignature: true,
    keyCertSign: false,
    cRLSign: false,
  });
  assert.deepEqual(certificate.extendedKeyUsage, ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
  assert.deepEqual(certificate.subjectAltNames, [{ kind: "dns", value: "a.example" }]);
  assert.equal(certificate.nameConstraints, undefined);
  assert.deepEqual(certificate.unknownCritical, []);
  const parsedCa = parseCertificate(ca.der);
  assert.deepEqual(parsedCa.basicConstraints, { ca: true, pathLength: 2 });
  assert.deepEqual(parsedCa.keyUsage, {
    digitalSignature: false,
    keyCertSign: true,
    cRLSign: true,
  });
});

test("it is a view: the input is neither copied into something else nor changed", () => {
  const { der: bytes } = pki.makeLeaf();
  const before = bytes.slice();
  const certificate = parseCertificate(bytes);
  assert.deepEqual(bytes, before);
  assert.equal(certificate.tbs.buffer, bytes.buffer);
  // In the middle of a larger buffer, as bytes from a socket are.
  const padded = der.concat(raw("ffff"), bytes, raw("ffff"));
  const inside = parseCertificate(padded.subarray(2, 2 + bytes.length));
  assert.equal(inside.serial, certificate.serial);
  assert.deepEqual(inside.publicKey.der, certificate.publicKey.der);
});

test("every sound shape is read, and node:crypto reads the same", () => {
  for (const { name, issued } of shapes()) {
    const certificate = parseCertificate(issued.der);
    const other = new X509Certificate(issued.pem);
    assert.equal(certificate.serial, other.serialNumber.toLowerCase(), name);
    assert.equal(certificate.notBefore, Date.parse(other.validFrom), name);
    if (name !== "late times") {
      assert.equal(certificate.notAfter, Date.parse(other.validTo), name);
    }
    const spki = other.publicKey.export({ type: "spki", format: "der" });
    assert.deepEqual(certificate.publicKey.der, new Uint8Array(spki), name);
  }
});

test("optional fields may be left out", () => {
  assert.deepEqual(parsed({}).subjectAltNames, []);
  assert.equal(parsed({}).keyUsage, undefined);
  assert.deepEqual(parsed({ subject: der.seq(), issuerName: "x" }).subject.attributes, []);
  assert.equal(parsed({ serial: 0 }).serial, "00");
  assert.equal(parsed({ serial: "7f".repeat(20) }).serial, "7f".repeat(20));
  // 20 octets whose first bit is set take one more in DER; several CAs write that.
  assert.equal(parsed({ serial: "00" + "ff".repeat(20) }).serial, "ff".repeat(20));
});

const basic = (...fields: Uint8Array[]): Uint8Array =>
  pki.extension("basicConstraints", der.seq(...fields), true);
const usage = (value: Uint8Array): Uint8Array => pki.extension("keyUsage", value);
test("extensions that are read", () => {
  const read = (...extensions: Uint8Array[]): Certificate => parsed({ extensions });
  assert.deepEqual(read(basic()).basicConstraints, { ca: false, pathLength: undefined });
  assert.deepEqual(read(basic(der.bool(true), der.int(0))).basicConstraints, {
    ca: true,
    pathLength: 0,
  });
  assert.deepEqual(read(basic(der.bool(true), der.int(0x7fffffff))).basicConstraints, {
    ca: true,
    pathLength: 0x7fffffff,
  });
  assert.deepEqual(read(pki.keyUsage(["decipherOnly", "keyCertSign"])).keyUsage, {
    digitalSignature: false,
    keyCertSign: true,
    cRLSign: false,
  });
  assert.deepEqual(read(usage(raw("030100"))).keyUsage, {
    digitalSignature: false,
    keyCertSign: false,
    cRLSign: false,
  });
  assert.deepEqual(
    read(pki.nameConstraints({
      permitted: [pki.dns("a.example"), pki.ip("10.0.0.0/8"), pki.email(".a.example")],
      excluded: [pki.uri("b.example"), pki.registeredId("1.2.3")],
    })).nameConstraints,
    {
      permitted: [
        { kind: "dns", value: "a.example" },
        { kind: "ip", value: raw("0a000000ff000000") },
        { kind: "email", value: ".a.example" },
      ],
      excluded: [{ kind: "uri", value: "b.example" }, { kind: "other", tag: 0x88 }],
    },
  );
  assert.deepEqual(
    read(
      pki.extension("unknown", raw(""), true),
      pki.extension("certificatePolicies", der.nil(), true),
      pki.extension("policyConstraints", der.nil(), true),
      pki.extension("inhibitAnyPolicy", der.nil()),
      pki.extension("crlDistributionPoints", der.seq(), true),
    ).unknownCritical,
    [pki.OID.unknown, pki.OID.policyConstraints, pki.OID.crlDistributionPoints],
  );
});

test("a general name whose tag is close to a known one is of another form", () => {
  const extensions = [pki.subjectAltName([der.tlv(0xa2, der.ia5("a.example"))])];
  assert.deepEqual(parsed({ extensions }).subjectAltNames, [{ kind: "other", tag: 0xa2 }]);
});
