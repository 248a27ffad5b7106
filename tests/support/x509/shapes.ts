/**
 * Sound certificates of many shapes: every kind of key, every extension that is in use.
 *
 * @module
 */

import * as der from "../der.ts";
import * as pki from "../pki.ts";

const SANS = [
  pki.dns("a.example"),
  pki.dns("*.b.example"),
  pki.email("me@a.example"),
  pki.uri("spiffe://a.example/ns/x"),
  pki.ip("10.0.0.1"),
  pki.ip("2001:db8::1"),
  pki.directory({ O: "acme", CN: "x" }),
  pki.otherName("1.3.6.1.4.1.311.20.2.3", der.utf8("upn@a.example")),
  pki.registeredId("1.2.3.4"),
];

const DISTRIBUTION_POINTS = der.seq(
  der.seq(der.explicit(0, der.explicit(0, pki.uri("http://a.example/crl")))),
);

const ACCESS = der.seq(
  der.seq(der.oid("1.3.6.1.5.5.7.48.1"), pki.uri("http://a.example/ocsp")),
);

/** Extensions that are in use and that nobody here needs. */
const OTHERS = [
  pki.extension("issuerAltName", der.seq(pki.email("ca@a.example"))),
  pki.extension("crlDistributionPoints", DISTRIBUTION_POINTS),
  pki.extension("1.3.6.1.5.5.7.1.1", ACCESS),
  pki.extension("certificatePolicies", der.seq(der.seq(der.oid("2.23.140.1.2.1")))),
  pki.extension("2.5.29.16", der.seq(der.implicit(0, der.generalizedTime("20200101000000Z")))),
  pki.extension("unknown", der.utf8("hello")),
];

/** A certificate and the key that belongs to it. */
export type Shape = { readonly name: string; readonly issued: pki.Issued };

/** Makes them all; names say what is in. */
export function shapes(): Shape[] {
  const ca = pki.makeCa();
  const rsa = pki.makeCa({ kind: "rsa2048" });
  return [
    { name: "plain leaf", issued: pki.makeLeaf({ san: [pki.dns("a.example")] }, ca) },
    {
      name: "every kind of name",
      issued: pki.makeLeaf({
        subject: { C: "GB", O: ["acme", "acme two"], OU: der.bmp("unit"), CN: der.printable("x") },
        san: SANS,
      }, ca),
    },
    { name: "extensions nobody needs", issued: pki.makeLeaf({ extra: OTHERS }, ca) },
    {
      name: "CA with everything",
      issued: pki.makeCa({
        issuer: ca,
        pathLength: 3,
        subject: { DC: ["example", "a"], CN: der.teletex("x") },
        extra: [
          pki.nameConstraints({ permitted: SANS.slice(0, 4), excluded: [pki.ip("10.0.0.0/8")] }),
          pki.extension("policyConstraints", der.seq(der.implicit(0, der.int(0)))),
          pki.extension("inhibitAnyPolicy", der.int(0)),
          pki.extendedKeyUsage(["serverAuth", "clientAuth", "1.3.6.1.4.1.311.10.3.3"]),
        ],
      }),
    },
    { name: "self-signed", issued: pki.makeLeaf({}) },
    { name: "no extensions", issued: pki.issue({ issuer: ca }) },
    { name: "RSA", issued: pki.makeLeaf({ kind: "rsa2048" }, rsa) },
    { name: "RSA-PSS signature", issued: pki.makeLeaf({ signature: "pss-sha384" }, rsa) },
    { name: "P-384", issued: pki.makeLeaf({ kind: "p384" }, pki.makeCa({ kind: "p384" })) },
    { name: "Ed25519", issued: pki.makeLeaf({ kind: "ed25519" }, pki.makeCa({ kind: "ed25519" })) },
    {
      name: "late times",
      issued: pki.makeLeaf({ notBefore: der.utcTime("500101000000Z"), notAfter: LATEST }, ca),
    },
  ];
}

const LATEST = der.generalizedTime("99991231235959Z");
