/**
 * Certificate to identity: nothing is trimmed, joined or made up.
 *
 * @module
 */

import assert from "node:assert/strict";
import { formatIp, identityOf } from "../../src/identity.ts";
import { parseCertificate } from "../../src/x509/parse.ts";
import * as der from "../support/der.ts";
import * as pki from "../support/pki.ts";

const SPKI = "the digest that was handed in";

/** Values that were decoded without doubt. */
function texts(...values: readonly string[]): { text: string; guess: string }[] {
  return values.map((text) => ({ text, guess: text }));
}

function identity(options: pki.LeafOptions): ReturnType<typeof identityOf> {
  return identityOf(parseCertificate(pki.makeLeaf(options).der), SPKI);
}

function test(name: string, fn: () => void): void {
  Deno.test({ name: `identity: ${name}`, permissions: "none", fn });
}

test("subject, issuer and serial", () => {
  const peer = identity({
    subject: { C: "GB", O: ["acme", "acme two"], OU: "x", CN: "web" },
    issuerName: { O: "a, b", CN: "c+d\\e" },
    serial: "00ff01",
    san: [pki.dns("Web.example."), pki.ip("10.0.0.1"), pki.uri("spiffe://a/b"), pki.email("a@b")],
  });
  assert.deepEqual(peer, {
    commonNames: texts("web"),
    organizations: texts("acme", "acme two"),
    organizationalUnits: texts("x"),
    dnsNames: ["Web.example."],
    ipAddresses: [Uint8Array.of(10, 0, 0, 1)],
    uris: ["spiffe://a/b"],
    spki: SPKI,
    subjectAltNames: ["DNS:Web.example.", "IP:10.0.0.1", "URI:spiffe://a/b", "email:a@b"],
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
  assert.deepEqual(peer.commonNames, texts("a", "b"));
  assert.deepEqual(peer.organizations, texts("x"));
});

test("what cannot be read still stands there, with what it may be taken for", () => {
  const value = (CN: der.Der) => identity({ subject: { CN } }).commonNames;
  const unread = (guess: string) => [{ text: undefined, guess }];
  assert.deepEqual(identity({ subject: { CN: ["web", der.teletex("x")] } }).commonNames, [
    { text: "web", guess: "web" },
    { text: undefined, guess: "x" },
  ]);
  assert.deepEqual(value(der.teletex("J\u00f6rg")), unread("J\u00f6rg"));
  assert.deepEqual(value(der.universal("\u4e2d\u{1f600}")), unread("\u4e2d\u{1f600}"));
  assert.deepEqual(value(der.tlv(0x1c, der.raw("616263"))), unread("abc"));
  assert.deepEqual(value(der.tlv(0x1c, der.raw("61626364"))), unread("abcd"));
  assert.deepEqual(
    value(der.tlv(0x1e, der.raw("00610" + "0"))),
    unread("\0a\0".slice(0, 2) + "\0"),
  );
  assert.deepEqual(value(der.octet(der.raw("006100"))), unread("\0a\0"));
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
    "IP:2001:db8::1",
    "DirName:O=acme, CN=x",
    "other:a0",
    "other:88",
  ]);
});

test("addresses as text", () => {
  assert.equal(formatIp(Uint8Array.of(192, 0, 2, 255)), "192.0.2.255");
  const cases: readonly [string, string][] = [
    ["00000000000000000000000000000000", "::"],
    ["00000000000000000000000000000001", "::1"],
    ["20010db8000000000000000000000000", "2001:db8::"],
    ["20010db8000000000001000000000001", "2001:db8::1:0:0:1"],
    ["20010db8000100000000000100000001", "2001:db8:1::1:0:1"],
    ["20010db8000000010001000100010001", "2001:db8:0:1:1:1:1:1"],
    ["0001000200030004000500060007000a", "1:2:3:4:5:6:7:a"],
    ["00100000000000000000000000000100", "10::100"],
    ["00000000000000000000ffff0a000001", "::ffff:a00:1"],
  ];
  for (const [hex, text] of cases) assert.equal(formatIp(Uint8Array.fromHex(hex)), text);
});
