/**
 * Certificate to identity: nothing is trimmed, joined or made up.
 *
 * @module
 */

import assert from "node:assert/strict";
import { formatIp, identityOf } from "../src/identity.ts";
import { parseCertificate } from "../src/x509/parse.ts";
import * as der from "./support/der.ts";
import * as pki from "./support/pki.ts";

function identity(options: pki.LeafOptions): ReturnType<typeof identityOf> {
  return identityOf(parseCertificate(pki.makeLeaf(options).der));
}

function test(name: string, fn: () => void): void {
  Deno.test({ name: `identity: ${name}`, permissions: "none", fn });
}

test("subject, issuer and serial", () => {
  const peer = identity({
    subject: { C: "GB", O: ["acme", "acme two"], OU: "x", CN: "web" },
    issuerName: { O: "a, b", CN: "c+d\\e" },
    serial: "00ff01",
  });
  assert.deepEqual(peer, {
    commonNames: ["web"],
    organizations: ["acme", "acme two"],
    subjectAltNames: [],
    serial: "ff01",
    issuer: "O=a\\, b, CN=c\\+d\\\\e",
    subject: "C=GB, O=acme, O=acme two, OU=x, CN=web",
  });
});

test("an empty subject has no names", () => {
  const peer = identity({ subject: der.seq(), issuerName: "ca", san: [pki.dns("a.example")] });
  assert.deepEqual([peer.commonNames, peer.organizations, peer.subject], [[], [], ""]);
});

test("several attributes in one part of the name all count", () => {
  const subject = pki.rdns([pki.attribute("CN", "a"), pki.attribute("CN", "b")], [
    pki.attribute("O", "x"),
  ]);
  const peer = identity({ subject });
  assert.deepEqual(peer.commonNames, ["a", "b"]);
  assert.deepEqual(peer.organizations, ["x"]);
});

test("what cannot be read still stands there", () => {
  const peer = identity({ subject: { CN: ["web", der.teletex("x")] } });
  assert.deepEqual(peer.commonNames, ["web", "\ufffd"]);
});

test("every kind of alternative name", () => {
  const san = [
    pki.dns("a.example"),
    pki.dns("a.example, DNS:b.example"),
    pki.dns("nul\0.example"),
    pki.email("me@a.example"),
    pki.uri("spiffe://a/b"),
    pki.ip("10.0.0.1"),
    pki.ip("2001:db8::1"),
    pki.directory({ O: "acme", CN: "x" }),
    pki.otherName("1.2.3", der.utf8("x")),
    pki.registeredId("1.2.3"),
  ];
  assert.deepEqual(identity({ san }).subjectAltNames, [
    "DNS:a.example",
    "DNS:a.example, DNS:b.example",
    "DNS:nul\0.example",
    "email:me@a.example",
    "URI:spiffe://a/b",
    "IP:10.0.0.1",
    "IP:2001:db8:0:0:0:0:0:1",
    "DirName:O=acme, CN=x",
    "other:a0",
    "other:88",
  ]);
});

test("addresses as text", () => {
  assert.equal(formatIp(Uint8Array.of(192, 0, 2, 255)), "192.0.2.255");
  assert.equal(formatIp(new Uint8Array(16)), "0:0:0:0:0:0:0:0");
  const mapped = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1);
  assert.equal(formatIp(mapped), "0:0:0:0:0:ffff:a00:1");
});
