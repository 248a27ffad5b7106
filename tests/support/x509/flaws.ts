/**
 * Flaws that a certificate of a chain can have, and harmless oddities beside them.
 *
 * @module
 */

import * as der from "../der.ts";
import * as pki from "../pki.ts";

/** Where in the chain. */
export type Level = "leaf" | "middle" | "ca";

const past = { notBefore: new Date("2020-01-01Z"), notAfter: new Date("2021-01-01Z") };
const future = { notBefore: new Date("2039-01-01Z"), notAfter: new Date("2040-01-01Z") };
const withUsage = (usages: readonly pki.Usage[], critical = true): pki.IssueOptions => ({
  omit: ["keyUsage"],
  extra: [pki.keyUsage(usages, critical)],
});
const withPurposes = (purposes: readonly string[], critical = false): pki.IssueOptions => ({
  omit: ["extendedKeyUsage"],
  extra: [pki.extendedKeyUsage(purposes, critical)],
});
const withBasic = (...fields: Uint8Array[]): pki.IssueOptions => ({
  omit: ["basicConstraints"],
  extra: [pki.extension("basicConstraints", der.seq(...fields), true)],
});
const policies = der.seq(der.seq(der.oid("2.23.140.1.2.1")));
const limits = (permitted: readonly Uint8Array[], excluded?: readonly Uint8Array[]) => ({
  extra: [
    pki.nameConstraints({
      ...(permitted.length > 0 ? { permitted } : {}),
      ...(excluded ? { excluded } : {}),
    }),
  ],
});

/** What a leaf names here. */
export const SANS: readonly Uint8Array[] = [
  pki.dns("a.example"),
  pki.dns("*.w.a.example"),
  pki.ip("10.0.0.1"),
  pki.email("me@a.example"),
  pki.uri("https://a.example/x"),
];

/** Each changes one certificate. */
export const FLAWS: Readonly<Record<string, pki.IssueOptions>> = {
  none: {},
  forged: { forged: true },
  "empty signature": { signatureBytes: "" },
  expired: past,
  "not yet valid": future,
  "GeneralizedTime before 2050": { notAfter: der.generalizedTime("20480101000000Z") },
  "no key usage": { omit: ["keyUsage"] },
  "empty key usage": withUsage([]),
  "digitalSignature only": withUsage(["digitalSignature"]),
  "keyEncipherment only": withUsage(["keyEncipherment"]),
  "keyAgreement only": withUsage(["keyAgreement"]),
  "cRLSign only": withUsage(["cRLSign"]),
  "keyCertSign only": withUsage(["keyCertSign"]),
  "all usages": withUsage(["digitalSignature", "keyCertSign", "cRLSign"]),
  "usage not critical": withUsage(["digitalSignature", "keyCertSign"], false),
  "no purpose": { omit: ["extendedKeyUsage"] },
  "client only": withPurposes(["clientAuth"]),
  "server only": withPurposes(["serverAuth"]),
  "both purposes, critical": withPurposes(["serverAuth", "clientAuth"], true),
  "any purpose": withPurposes(["anyExtendedKeyUsage"]),
  "another purpose": withPurposes(["codeSigning"]),
  "no basic constraints": { omit: ["basicConstraints"] },
  "not a CA": withBasic(),
  "CA": withBasic(der.bool(true)),
  "CA, path length 0": withBasic(der.bool(true), der.int(0)),
  "CA, path length 1": withBasic(der.bool(true), der.int(1)),
  "path length without CA": withBasic(der.int(0)),
  "CA flag not critical": {
    omit: ["basicConstraints"],
    extra: [pki.basicConstraints({ ca: true, critical: false })],
  },
  "unknown critical extension": { extra: [pki.extension("unknown", der.nil(), true)] },
  "unknown extension": { extra: [pki.extension("unknown", der.nil())] },
  "critical policies": { extra: [pki.extension("certificatePolicies", policies, true)] },
  "critical policy constraints": {
    extra: [pki.extension("policyConstraints", der.seq(der.implicit(0, der.int(0))), true)],
  },
  "critical inhibitAnyPolicy": { extra: [pki.extension("inhibitAnyPolicy", der.int(0), true)] },
  "critical issuerAltName": {
    extra: [pki.extension("issuerAltName", der.seq(pki.dns("a.example")), true)],
  },
  "no key identifiers": { omit: ["subjectKeyId", "authorityKeyId"] },
  "another authority key identifier": {
    omit: ["authorityKeyId"],
    extra: [pki.authorityKeyId("0011")],
  },
  "no extensions": { extensions: [] },
  "empty subject": { subject: der.seq() },
  "serial 0": { serial: 0 },
  "key usage with zeros": {
    omit: ["keyUsage"],
    extra: [pki.extension("keyUsage", der.raw("0303008600"), true)],
  },
  "criticality spelled out": {
    extra: [der.seq(der.oid(pki.OID.unknown), der.bool(false), der.octet(der.nil()))],
  },
  "a name that is not ASCII": {
    omit: ["subjectAltName"],
    extra: [
      pki.subjectAltName([der.implicit(2, der.octet(der.raw("fc2e6578616d706c65"))), ...SANS]),
    ],
  },
  "policies": { extra: [pki.extension("certificatePolicies", policies)] },
  "asks for a policy": {
    extra: [pki.extension("policyConstraints", der.seq(der.implicit(0, der.int(0))))],
  },
  "serial of 21 bytes": { serial: "00" + "ff".repeat(20) },
  "negative serial": { serial: "ff01" },
  "long serial": { serial: "7f".repeat(30) },
  v1: { version: 1, extensions: [] },
  v2: { version: 2, extensions: [] },
  "v1 with extensions": { version: 1 },
  "trailing byte": { trailing: "00" },
  "inner algorithm differs": { innerAlgorithm: pki.signatureAlgorithm("ecdsa-sha512") },
  "duplicate extension": {
    extra: [pki.extension("unknown", der.nil()), pki.extension("unknown", der.nil())],
  },
  "unique identifiers": { subjectUniqueId: der.raw("ff"), issuerUniqueId: der.raw("ff") },
  "RSA-1024": { kind: "rsa1024" },
  "RSA-2048": { kind: "rsa2048" },
  "P-384": { kind: "p384" },
  Ed25519: { kind: "ed25519" },
  secp256k1: { kind: "secp256k1" },
  "ECDSA with SHA-1": { signature: "ecdsa-sha1" },
  "ECDSA with SHA-512": { signature: "ecdsa-sha512" },
  "permits its names": limits([pki.dns("a.example"), pki.directory({ O: "acme" })]),
  "permits other DNS names": limits([pki.dns("b.example")]),
  "permits other directory names": limits([pki.directory({ O: "other" })]),
  "permits DNS names in capitals": limits([pki.dns("A.EXAMPLE")]),
  "permits directory names in capitals": limits([pki.directory({ O: "ACME" })]),
  "permits below the domain": limits([pki.dns(".a.example")]),
  "permits addresses": limits([pki.ip("10.0.0.0/8")]),
  "permits other addresses": limits([pki.ip("11.0.0.0/8")]),
  "permits IPv6 addresses": limits([pki.ip("::/0")]),
  "permits its e-mail": limits([pki.email("a.example")]),
  "permits other e-mail": limits([pki.email("b.example")]),
  "permits its URIs": limits([pki.uri("a.example")]),
  "permits other URIs": limits([pki.uri(".b.example")]),
  "permits other names of a form nobody has": limits([pki.registeredId("1.2.3")]),
  "excludes its names": limits([], [pki.dns("a.example")]),
  "excludes other names": limits([], [pki.dns("b.example"), pki.ip("11.0.0.0/8")]),
  "excludes its addresses": limits([], [pki.ip("10.0.0.0/8")]),
  "excludes its directory": limits([], [pki.directory({ O: "acme" })]),
  "excludes directories in capitals": limits([], [pki.directory({ O: "ACME" })]),
  "excludes a name below a wildcard": limits([], [pki.dns("x.w.a.example")]),
  "excludes what is far below a wildcard": limits([], [pki.dns("x.y.w.a.example")]),
  "excludes its e-mail": limits([], [pki.email("me@a.example")]),
  "excludes its e-mail in capitals": limits([], [pki.email("ME@a.example")]),
  "excludes its URIs": limits([], [pki.uri("a.example")]),
};
