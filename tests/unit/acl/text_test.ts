/**
 * CN, O and OU: exactly the decoded string lets in; whatever it may be taken for keeps out.
 *
 * @module
 */

import assert from "node:assert/strict";
import { textFault } from "../../../src/acl/text.ts";
import * as der from "../../support/der.ts";
import type { NameInput } from "../../support/pki.ts";
import {
  EMPTY_PEER,
  matched,
  peerOf,
  refusal,
  type Row,
  testTable,
  texts,
} from "../../support/acl.ts";

const cn = (subject: NameInput) => peerOf({ subject });
const bytes = (text: string) => new TextEncoder().encode(text);

const EXACT: readonly (readonly [string, NameInput, Row[3]])[] = [
  ["the same text", "frontend", "both"],
  ["PrintableString", { CN: der.printable("frontend") }, "both"],
  ["IA5String", { CN: der.ia5("frontend") }, "both"],
  ["BMPString", { CN: der.bmp("frontend") }, "both"],
  ["case", "Frontend", "none"],
  ["space at the end", "frontend ", "none"],
  ["space in front", " frontend", "none"],
  ["no-break space at the end", "frontend\u00a0", "none"],
  ["a Cyrillic o", "fr\u043entend", "none"],
  ["wider letters", "\uff46rontend", "none"],
  ["prefix", "front", "none"],
  ["longer", "frontend.evil.example", "none"],
  ["pattern", "*", "none"],
  ["everything in one CN", "x, CN=frontend", "none"],
  ["empty", "", "none"],
  ["OU", { OU: "frontend" }, "none"],
  ["O", { O: "frontend" }, "none"],
  ["serialNumber", { serialNumber: "frontend" }, "none"],
  ["an OID that begins like CN's", { "2.5.4.3.1": "frontend" }, "none"],
  ["NUL at the end", "frontend\0", "deny"],
  ["NUL and more", "frontend\0.evil.example", "deny"],
  ["NUL in front", "\0frontend", "deny"],
  ["line feed", "frontend\n", "deny"],
  ["DEL", "front\x7fend", "deny"],
  ["C1", "front\u0085end", "deny"],
  ["ANSI escape", "\x1bfrontend", "deny"],
  ["zero width space", "front\u200bend", "deny"],
  ["right to left", "\u202efrontend", "deny"],
  ["byte order mark", "\ufefffrontend", "deny"],
  ["soft hyphen", "front\u00adend", "deny"],
  ["replacement character", "frontend\ufffd", "deny"],
  ["TeletexString", { CN: der.teletex("frontend") }, "deny"],
  ["UniversalString", { CN: der.universal("frontend") }, "deny"],
  ["UniversalString that is none", { CN: der.tlv(0x1c, bytes("frontend")) }, "deny"],
  ["OCTET STRING", { CN: der.octet(bytes("frontend")) }, "deny"],
  ["PrintableString with what it has not", { CN: der.printable("frontend\0@") }, "deny"],
  ["UTF-8 that is none", { CN: der.tlv(0x0c, bytes("frontend"), der.raw("ff")) }, "deny"],
  [
    "UTF-16 in an OCTET STRING",
    { CN: der.octet(der.raw("00660072006f006e00740065006e0064")) },
    "deny",
  ],
  ["overlong UTF-8", { CN: der.tlv(0x0c, der.raw("c1a6"), bytes("rontend")) }, "none"],
  ["BMPString of odd length", { CN: der.tlv(0x1e, der.raw("006600")) }, "none"],
  ["two CNs", { CN: ["frontend", "backend"] }, "deny"],
  ["two CNs, the other first", { CN: ["backend", "frontend"] }, "deny"],
  ["twice the same CN", { CN: ["frontend", "frontend"] }, "deny"],
  ["a second CN that cannot be read", { CN: ["frontend", der.teletex("x")] }, "deny"],
  ["a first CN that cannot be read", { CN: [der.teletex("frontend"), "x"] }, "deny"],
  ["an empty second CN", { CN: ["frontend", ""] }, "deny"],
  ["two CNs, neither", { CN: ["a", "b"] }, "none"],
];

testTable(
  "text: a CN is compared exactly",
  "cn",
  EXACT.map(([what, subject, sides]) => [what, "frontend", cn(subject), sides]),
);

testTable("text: beyond ASCII", "cn", [
  ["the same", "Jörg", cn("Jörg"), "both"],
  ["rule composed, CN not", "J\u00f6rg", cn("Jo\u0308rg"), "none"],
  ["CN composed, rule not", "Jo\u0308rg", cn("J\u00f6rg"), "none"],
  ["BMPString", "Jörg", cn({ CN: der.bmp("Jörg") }), "both"],
  ["Latin-1 TeletexString", "Jörg", cn({ CN: der.teletex("Jörg") }), "deny"],
  ["UTF-8 in a TeletexString", "Jörg", cn({ CN: der.tlv(0x14, bytes("Jörg")) }), "deny"],
  ["UniversalString", "中文", cn({ CN: der.universal("中文") }), "deny"],
  ["beyond the BMP", "\u{1f600}", cn("\u{1f600}"), "both"],
  ["sharp s is not ss", "straße", cn("strasse"), "none"],
]);

testTable("text: any of several O or OU counts", "org", [
  ["the second", "acme", peerOf({ subject: { O: ["x", "acme"] } }), "both"],
  ["with two CNs", "acme", peerOf({ subject: { O: "acme", CN: ["a", "b"] } }), "both"],
  ["as CN", "acme", peerOf({ subject: { CN: "acme" } }), "none"],
  ["with a comma", "Acme, Inc.", peerOf({ subject: { O: "Acme, Inc." } }), "both"],
  ["half of it", "Acme", peerOf({ subject: { O: "Acme, Inc." } }), "none"],
  ["unreadable beside it", "acme", peerOf({ subject: { O: [der.teletex("x"), "acme"] } }), "both"],
  ["control character", "acme", peerOf({ subject: { O: "acme\t" } }), "deny"],
]);

testTable("text: OU", "ou", [
  ["the same", "dev", peerOf({ subject: { OU: ["ops", "dev"] } }), "both"],
  ["as O", "dev", peerOf({ subject: { O: "dev" } }), "none"],
  ["NUL", "dev", peerOf({ subject: { OU: "dev\0ops" } }), "deny"],
]);

Deno.test({ name: "text: names of objects are names like others", permissions: "none" }, () => {
  for (const name of ["__proto__", "constructor", "toString"]) {
    assert.equal(matched("allow", "cn", name, { ...EMPTY_PEER, commonNames: texts(name) }), name);
    for (const side of ["allow", "deny"] as const) {
      assert.equal(matched(side, "cn", name, EMPTY_PEER), undefined);
      assert.equal(
        matched(side, "cn", name, { ...EMPTY_PEER, commonNames: texts("x") }),
        undefined,
      );
    }
  }
});

Deno.test({ name: "text: what matched is shown in the peer's words", permissions: "none" }, () => {
  const peer = { ...EMPTY_PEER, commonNames: texts("good", "evil\0.example") };
  assert.equal(matched("deny", "cn", "evil", peer), "evil\0.example");
});

Deno.test({ name: "text: a rule that can never match is refused", permissions: "none" }, () => {
  for (const text of ["a\0", "a\x1b[2J", "\x7f", "\x80", "\x9f", "\ufffd", "a\nb"]) {
    for (const dimension of ["cn", "org", "ou"] as const) {
      assert.match(refusal(dimension, text), /^a rule has no control characters or line ends: /);
    }
  }
  assert.match(refusal("cn", "a\ud800"), /half a character/);
  assert.equal(refusal("cn", ""), "a rule must not be empty");
});

Deno.test({ name: "text: why a value matches no allow rule", permissions: "none" }, () => {
  assert.equal(textFault({ text: "web", guess: "web" }), undefined);
  assert.match(textFault({ text: undefined, guess: "web" }) ?? "", /no meaning that all agree on/);
  assert.match(textFault({ text: "web\n", guess: "web\n" }) ?? "", /control character/);
});
