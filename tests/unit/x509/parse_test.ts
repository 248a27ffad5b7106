/**
 * Certificates that are read: all that they say.
 *
 * @module
 */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import type { Certificate } from "../../../src/x509/certificate.ts";
import { parseCertificate } from "../../../src/x509/parse.ts";
import * as der from "../../support/der.ts";
import * as pki from "../../support/pki.ts";
import { shapes } from "../../support/x509/shapes.ts";

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
      pki.extension("certificatePolicies", policies("1.2.3"), true),
      pki.extension("crlDistributionPoints", der.seq(), true),
    ).unknownCritical,
    [pki.OID.unknown, pki.OID.crlDistributionPoints],
  );
});

/** The value of certificate policies: an OID, or one with a qualifier of this type. */
function policies(...items: (string | readonly [policy: string, qualifier: string])[]): Uint8Array {
  const qualifier = (type: string): Uint8Array => der.seq(der.seq(der.oid(type), der.ia5("x")));
  return der.seq(
    ...items.map((item) =>
      typeof item === "string"
        ? der.seq(der.oid(item))
        : der.seq(der.oid(item[0]), qualifier(item[1]))
    ),
  );
}

test("policies", () => {
  const read = (...extensions: Uint8Array[]): Certificate["policy"] =>
    parsed({ extensions }).policy;
  const none = {
    policies: undefined,
    mappings: [],
    requireExplicitPolicy: undefined,
    inhibitPolicyMapping: undefined,
    inhibitAnyPolicy: undefined,
  };
  assert.deepEqual(parsed({}).policy, none);
  assert.deepEqual(read(pki.subjectKeyId("01")), none);
  const cps = "1.3.6.1.5.5.7.2.1";
  assert.deepEqual(
    read(
      pki.extension("certificatePolicies", policies("1.2.3", ["2.5.29.32.0", cps])),
      pki.extension("policyMappings", der.seq(der.seq(der.oid("1.2.3"), der.oid("1.2.4")))),
      pki.extension(
        "policyConstraints",
        der.seq(der.implicit(0, der.int(2)), der.implicit(1, der.int(0))),
      ),
      pki.extension("inhibitAnyPolicy", der.int(300)),
    ),
    {
      policies: ["2a03", "551d2000"],
      mappings: [{ issuer: "2a03", subject: "2a04" }],
      requireExplicitPolicy: 2,
      inhibitPolicyMapping: 0,
      inhibitAnyPolicy: 300,
    },
  );
  // A qualifier that nobody knows counts where the extension is critical.
  const odd = policies(["1.2.3", "1.2.5"]);
  for (const critical of [true, false]) {
    const extensions = [pki.extension("certificatePolicies", odd, critical)];
    const unknown = critical ? [pki.OID.certificatePolicies] : [];
    assert.deepEqual(parsed({ extensions }).unknownCritical, unknown);
  }
});

test("names that are not ASCII count for nothing, and the others do", () => {
  const odd = (tag: number): Uint8Array => der.implicit(tag, der.octet(raw("c3bc2e61")));
  const extensions = [pki.subjectAltName([odd(1), odd(2), pki.dns("a.example"), odd(6)])];
  assert.deepEqual(parsed({ extensions }).subjectAltNames, [
    { kind: "other", tag: 0x81 },
    { kind: "other", tag: 0x82 },
    { kind: "dns", value: "a.example" },
    { kind: "other", tag: 0x86 },
  ]);
});

test("general names that other readers understand differently, or not at all, are refused", () => {
  const withName = (name: string) => ({
    extensions: [pki.subjectAltName([pki.dns("a.example"), raw(name)])],
  });
  const sound = {
    otherName: ["a00a0603550403a003020100", 0xa0],
    x400Address: ["a3023000", 0xa3],
    ediPartyName: ["a505a1030c0161", 0xa5],
    "ediPartyName with its assigner": ["a50aa0030c0161a1030c0161", 0xa5],
    registeredID: ["8803550403", 0x88],
  } as const;
  for (const [what, [name, tag]] of Object.entries(sound)) {
    const [, other] = parsed(withName(name)).subjectAltNames;
    assert.deepEqual(other, { kind: "other", tag }, what);
  }
  const broken = {
    "an otherName of nothing": "a000",
    "one without a value": "a0050603550403",
    "one whose value is empty": "a0070603550403a000",
    "one whose value is two": "a00b0603550403a00405000500",
    "one with more behind": "a00b0603550403a00205000500",
    "an ediPartyName without a party": "a505a0030c0161",
    "a registeredID of nothing": "8800",
    "one that is cut off": "88025580",
    "a form that there is not": "890161",
    "a constructed dNSName": "a2030c0161",
    "a primitive directoryName": "84023000",
    "a primitive otherName": "80016f",
  };
  for (const [what, name] of Object.entries(broken)) {
    assert.throws(() => parsed(withName(name)), { name: "CertificateError" }, what);
  }
});
