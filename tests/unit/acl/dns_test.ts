/**
 * DNS names: lower case, no final dot, a star for one label; wildcards of certificates are no names.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { PeerIdentity } from "../../../src/identity.ts";
import { EMPTY_PEER, matched, refusal, testTable } from "../../support/acl.ts";

const dns = (...dnsNames: string[]): PeerIdentity => ({ ...EMPTY_PEER, dnsNames });

testTable("dns: exact names", "dns", [
  ["the same", "web.example", dns("web.example"), "both"],
  ["case of the peer", "web.example", dns("WEB.Example"), "both"],
  ["case of the rule", "Web.EXAMPLE", dns("web.example"), "both"],
  ["final dot of the peer", "web.example", dns("web.example."), "both"],
  ["final dot of the rule", "web.example.", dns("web.example"), "both"],
  ["one of several", "web.example", dns("x.example", "web.example"), "both"],
  ["one label", "localhost", dns("localhost"), "both"],
  ["an underscore", "my_web.example", dns("my_web.example"), "both"],
  ["another", "web.example", dns("wob.example"), "none"],
  ["longer", "web.example", dns("web.example.evil"), "none"],
  ["below", "web.example", dns("a.web.example"), "none"],
  ["above", "web.example", dns("example"), "none"],
  ["a dot is a dot", "web.example", dns("webxexample"), "none"],
  ["none", "web.example", dns(), "none"],
  ["two final dots", "web.example", dns("web.example.."), "deny"],
  ["NUL and more", "web.example", dns("web.example\0.evil.test"), "deny"],
  ["NUL inside", "web.example", dns("web\0.example"), "deny"],
  ["spaces", "web.example", dns(" web.example "), "deny"],
  ["line end", "web.example", dns("web.example\n"), "deny"],
  ["a list", "web.example", dns("x.example,web.example"), "none"],
  ["a dot in front", "web.example", dns(".web.example"), "none"],
]);

testTable("dns: rules with a star", "dns", [
  ["one label", "*.example.com", dns("web.example.com"), "both"],
  ["case and dot", "*.Example.com.", dns("WEB.example.COM."), "both"],
  ["two labels", "*.example.com", dns("a.b.example.com"), "none"],
  ["no label", "*.example.com", dns("example.com"), "none"],
  ["an empty label", "*.example.com", dns(".example.com"), "deny"],
  ["no dot", "*.example.com", dns("evilexample.com"), "none"],
  ["one label above", "*.com", dns("example.com"), "both"],
  ["what is no label", "*.example.com", dns("a b.example.com"), "deny"],
  ["a hyphen in front", "*.example.com", dns("-a.example.com"), "deny"],
]);

testTable("dns: wildcards of the peer are no names", "dns", [
  ["star, exact rule", "web.example.com", dns("*.example.com"), "deny"],
  ["star, rule with a star", "*.example.com", dns("*.example.com"), "deny"],
  ["star one further down", "*.example.com", dns("*.sub.example.com"), "none"],
  ["star above", "web.example.com", dns("*.com"), "none"],
  ["star of another name", "web.example.com", dns("*.example.org"), "none"],
  ["only a star", "localhost", dns("*"), "deny"],
  ["only a star, longer name", "web.example", dns("*"), "none"],
  ["part of a label", "web.example.com", dns("w*.example.com"), "deny"],
  ["end of a label", "web.example.com", dns("*b.example.com"), "deny"],
  ["both ends of a label", "web.example.com", dns("w*b.example.com"), "deny"],
  ["middle of a label", "web.example.com", dns("*e*.example.com"), "deny"],
  ["in order", "abcd.example.com", dns("a*b*c*d.example.com"), "deny"],
  ["out of order", "abcd.example.com", dns("a*c*b*d.example.com"), "none"],
  ["ends that overlap", "aba.example.com", dns("ab*ba.example.com"), "none"],
  ["a piece that would reach into the end", "abb.example.com", dns("a*bb*b.example.com"), "none"],
  ["another beginning", "web.example.com", dns("x*.example.com"), "none"],
  ["another end", "web.example.com", dns("*x.example.com"), "none"],
  ["in the second label", "web.example.com", dns("web.*.com"), "deny"],
  ["in the second label, another first", "web.example.com", dns("api.*.com"), "none"],
  ["in two labels", "web.example.com", dns("*.*.com"), "deny"],
  ["in the last label", "web.example.com", dns("web.example.*"), "deny"],
  ["under a rule with a star", "*.example.com", dns("*.*.com"), "deny"],
  ["several", "web.example.com", dns("x*.example.com", "w*.example.com"), "deny"],
]);

Deno.test(
  { name: "dns: more wildcards than can be honest match anything", permissions: "none" },
  () => {
    const many = (n: number): PeerIdentity =>
      dns(...Array.from({ length: n }, (_, i) => `x${i}*.example.com`));
    assert.equal(matched("deny", "dns", "web.example.com", many(32)), undefined);
    assert.ok(matched("deny", "dns", "web.example.com", many(33))?.startsWith("x"));
    assert.equal(matched("deny", "dns", "web.example.org", many(1000)), undefined);
    assert.equal(matched("allow", "dns", "web.example.com", many(1000)), undefined);
  },
);

Deno.test({ name: "dns: what was shown is as the certificate has it", permissions: "none" }, () => {
  assert.equal(matched("allow", "dns", "web.example", dns("x", "WEB.example.")), "WEB.example.");
  assert.equal(matched("deny", "dns", "web.example", dns("*.example")), "*.example");
});

Deno.test({ name: "dns: a rule that can never match is refused", permissions: "none" }, () => {
  const cases: readonly [string, RegExp][] = [
    ["*", /^a star stands for the whole first label and nowhere else: "\*\.example\.com"$/],
    ["w*.example.com", /^a star stands for the whole first label/],
    ["web.*.com", /^a star stands for/],
    ["*.*.com", /^a star stands for/],
    ["**.com", /^a star stands for/],
    ["*.", /^a star stands for/],
    ["*..", /no empty parts/],
    [".", /no empty parts/],
    ["a..b", /no empty parts/],
    [".a", /no empty parts/],
    ["web.example..", /no empty parts/],
    ["web example", /letters, digits and inner hyphens/],
    ["-web.example", /inner hyphens/],
    ["https://web.example", /letters, digits/],
    ["web.example:443", /letters, digits/],
    ["web.example\0", /letters, digits/],
    ["müller.example", /write its "xn--" form/],
    // The Kelvin sign becomes a k in lower case.
    ["\u212aelvin.example", /write its "xn--" form/],
    ["10.0.0.1", /^an IP address is no DNS name: write it under allow_ip or deny_ip$/],
    ["::1", /^an IP address is no DNS name/],
    ["*.10.0.0.1", /^an IP address is no DNS name/],
    ["1.2.3", /IPv4/],
    [`${"a".repeat(64)}.example`, /at most 63 characters/],
    [Array(5).fill("a".repeat(60)).join("."), /at most 253 characters/],
    [`*.${Array(4).fill("a".repeat(62)).join(".")}.a`, /at most 253 characters/],
    ["", /must not be empty/],
  ];
  for (const [text, reason] of cases) assert.match(refusal("dns", text), reason, text);
});
