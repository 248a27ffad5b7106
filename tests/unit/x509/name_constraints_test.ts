/**
 * Name constraints of every form: what is permitted, what excluded, and what nobody can tell, which
 * is refused either way.
 *
 * @module
 */

import assert from "node:assert/strict";
import { MAX_NAME_COMPARISONS, NameComparisons } from "../../../src/x509/name_constraints.ts";
import type { Certificate, NameConstraints } from "../../../src/x509/certificate.ts";
import { parseCertificate } from "../../../src/x509/parse.ts";
import * as der from "../../support/der.ts";
import * as pki from "../../support/pki.ts";

const key = pki.makeKey();
const signatureBytes = "00";

function test(name: string, fn: () => void): void {
  Deno.test({ name: `name constraints: ${name}`, permissions: "none", fn });
}

function constraints(options: Parameters<typeof pki.nameConstraints>[0]): NameConstraints {
  const extensions = [pki.nameConstraints(options)];
  const read = parseCertificate(pki.issue({ key, signatureBytes, extensions }).der);
  assert.ok(read.nameConstraints);
  return read.nameConstraints;
}

function constraintsAllow(
  constraints: NameConstraints,
  certificate: Certificate,
): boolean | undefined {
  return new NameComparisons().allow(constraints, certificate);
}

function holder(san: readonly Uint8Array[], subject: pki.NameInput = der.seq()): Certificate {
  const extensions = san.length === 0 ? [] : [pki.subjectAltName(san)];
  return parseCertificate(
    pki.issue({ key, signatureBytes, issuerName: "ca", subject, extensions }).der,
  );
}

/** Y: the name is in the subtree; N: it is not; -: nobody can tell, so it is refused both ways. */
type Cover = "Y" | "N" | "-";

function cover(base: Uint8Array, name: Uint8Array): Cover {
  const certificate = holder([name]);
  const permitted = constraintsAllow(constraints({ permitted: [base] }), certificate);
  const excluded = !constraintsAllow(constraints({ excluded: [base] }), certificate);
  if (permitted && excluded) return "Y";
  if (!permitted && !excluded) return "N";
  assert.ok(!permitted && excluded, "let in both ways");
  return "-";
}

function table(
  make: (text: string) => Uint8Array,
  rows: readonly [base: string, name: string, Cover][],
): void {
  for (const [base, name, expected] of rows) {
    assert.equal(cover(make(base), make(name)), expected, JSON.stringify([base, name]));
  }
}

test("DNS names", () => {
  table(pki.dns, [
    ["a.example", "a.example", "Y"],
    ["a.example", "x.a.example", "Y"],
    ["a.example", "x.y.a.example", "Y"],
    ["A.EXAMPLE", "x.a.Example", "Y"],
    ["a.example.", "x.a.example", "Y"],
    ["a.example", "x.a.example.", "Y"],
    ["a.example", "xa.example", "N"],
    ["a.example", "example", "N"],
    ["a.example", "a.example.evil", "N"],
    ["a.example", "b.example", "N"],
    // With a dot in front: what is below, not the domain itself.
    [".a.example", "x.a.example", "Y"],
    [".a.example", "a.example", "N"],
    ["", "a.example", "Y"],
    ["", "*.example", "Y"],
    [".", "a.example", "Y"],
    // A wildcard is in when all that it stands for is in, and out when none is.
    ["a.example", "*.a.example", "Y"],
    [".a.example", "*.a.example", "Y"],
    ["a.example", "*.x.a.example", "Y"],
    ["b.example", "*.a.example", "N"],
    ["x.a.example", "*.a.example", "-"],
    [".x.a.example", "*.a.example", "-"],
    ["x.y.a.example", "*.a.example", "-"],
    ["a.example", "*.example", "-"],
    // No host names: nobody can tell what they stand for.
    ["a.example", "*", "-"],
    ["a.example", "*.", "-"],
    ["a.example", "f*.a.example", "-"],
    ["a.example", "x.*.a.example", "-"],
    ["a.example", "*.*.a.example", "-"],
    ["a.example", "", "-"],
    ["a.example", ".a.example", "-"],
    ["a.example", "x..a.example", "-"],
    ["a.example", "b.example\0.a.example", "-"],
    ["a.example", "a b.a.example", "-"],
    ["a.example", "b.example,a.example", "-"],
    ["a.example", "-a.a.example", "-"],
    ["a.example", `${"x".repeat(250)}.a.example`, "-"],
    ["*.a.example", "x.a.example", "-"],
    ["a..example", "x.a.example", "-"],
    ["..a.example", "x.a.example", "-"],
    ["a example", "x.a.example", "-"],
    ["a_b.example", "x_y.a_b.example", "Y"],
  ]);
});

test("e-mail addresses", () => {
  table(pki.email, [
    ["me@a.example", "me@a.example", "Y"],
    ["me@a.example", "me@A.Example", "Y"],
    ["me@a.example", "you@a.example", "N"],
    ["me@a.example", "me@b.example", "N"],
    ["me@a.example", "me@x.a.example", "N"],
    // The case before the `@` may count: refused both ways.
    ["me@a.example", "Me@a.example", "-"],
    ["a.example", "me@a.example", "Y"],
    ["a.example", "me@x.a.example", "N"],
    [".a.example", "me@x.a.example", "Y"],
    [".a.example", "me@a.example", "N"],
    ["a.example", "me@b.example", "N"],
    ["", "me@a.example", "Y"],
    ["a.example", '"me@b.example"@a.example', "Y"],
    ["a.example", "a.example", "-"],
    ["a.example", "@a.example", "-"],
    ["a.example", "me@", "-"],
    ["a.example", "me@a.example\0", "-"],
    ["me@a.example", "me@a.example\0", "-"],
    ["me@a.example", "me@b.example a.example", "-"],
    ["me@", "me@a.example", "-"],
    ["me@.a.example", "me@x.a.example", "-"],
    ["@a.example", "me@a.example", "N"],
  ]);
});

test("URIs, by their host", () => {
  const constraint = (base: string, uri: string, expected: Cover): void =>
    assert.equal(cover(pki.uri(base), pki.uri(uri)), expected, JSON.stringify([base, uri]));
  constraint("a.example", "https://a.example/path", "Y");
  constraint("a.example", "https://a.example:8443", "Y");
  constraint("a.example", "https://user:pass@a.example/", "Y");
  constraint("a.example", "https://b.example@a.example/", "Y");
  constraint("a.example", "SPIFFE://A.Example/ns/x", "Y");
  constraint("a.example", "https://a.example?x=b.example", "Y");
  constraint("a.example", "https://a.example#b.example", "Y");
  constraint("a.example", "https://x.a.example/", "N");
  constraint(".a.example", "https://x.a.example/", "Y");
  constraint(".a.example", "https://a.example/", "N");
  constraint("a.example", "https://a.example@b.example/", "N");
  constraint("a.example", "https://b.example/a.example", "N");
  constraint("a.example", "https://b.example/@a.example", "N");
  constraint("a.example", "https://b.example?@a.example", "N");
  constraint("a.example", "https://b.example#@a.example", "N");
  constraint("", "https://b.example/", "Y");
  // No host, or none that is a name.
  constraint("", "https://10.0.0.1/", "-");
  constraint("", "https://[::1]/", "-");
  constraint("a.example", "urn:uuid:1", "-");
  constraint("a.example", "mailto:x@a.example", "-");
  constraint("a.example", "/a.example", "-");
  constraint("a.example", "a.example", "-");
  constraint("a.example", "https:///a.example", "-");
  constraint("a.example", "https://10.0.0.1/", "-");
  constraint("a.example", "https://[::1]/", "-");
  constraint("a.example", "https://b.example\\.a.example/", "-");
  constraint("a.example", "https://a%2eexample/", "-");
  constraint("a.example", "https://a.example:x/", "-");
  constraint("a.example", "1https://a.example/", "-");
});

test("addresses", () => {
  const rows: [base: string | Uint8Array, name: string, Cover][] = [
    ["10.0.0.0/8", "10.255.0.1", "Y"],
    ["10.0.0.0/8", "11.0.0.1", "N"],
    ["10.1.2.3/32", "10.1.2.3", "Y"],
    ["10.1.2.3/32", "10.1.2.4", "N"],
    ["0.0.0.0/0", "10.1.2.4", "Y"],
    ["10.1.2.3/9", "10.127.0.1", "Y"],
    ["10.1.2.3/9", "10.128.0.1", "N"],
    ["2001:db8::/32", "2001:db8:1::1", "Y"],
    ["2001:db8::/32", "2001:db9::1", "N"],
    ["::/0", "2001:db9::1", "Y"],
    // The other family is not in: a list of IPv4 subtrees permits no IPv6 address.
    ["0.0.0.0/0", "::1", "N"],
    ["::/0", "10.0.0.1", "N"],
    // A mask with holes is applied as it stands.
    [der.raw("0a000001ff0000ff"), "10.9.9.1", "Y"],
    [der.raw("0a000001ff0000ff"), "10.9.9.2", "N"],
  ];
  for (const [base, name, expected] of rows) {
    assert.equal(cover(pki.ip(base), pki.ip(name)), expected, `${base} ${name}`);
  }
});

test("directory names", () => {
  const rows: [base: pki.NameInput, name: pki.NameInput, Cover][] = [
    [{ O: "acme" }, { O: "acme" }, "Y"],
    [{ O: "acme" }, { O: "acme", CN: "x" }, "Y"],
    [{ C: "GB", O: "acme" }, { C: "GB", O: "acme", OU: "y" }, "Y"],
    [der.seq(), { O: "acme" }, "Y"],
    [{ O: "acme" }, { O: "acme two" }, "N"],
    [{ O: "acme" }, { CN: "x", O: "acme" }, "N"],
    [{ O: "acme", CN: "x" }, { O: "acme" }, "N"],
    [{ O: "acme" }, { OU: "acme" }, "N"],
    [{ O: "acme" }, { O: der.printable("acme"), CN: "x" }, "Y"],
    // The same to some and not to others: refused both ways.
    [{ O: "acme" }, { O: "ACME" }, "-"],
    [{ O: "acme corp" }, { O: " acme   corp " }, "-"],
    [{ O: "acme" }, { O: der.teletex("acme") }, "-"],
    [{ O: der.teletex("acme") }, { O: "acme" }, "-"],
    [{ O: "acme" }, pki.rdns([pki.attribute("O", "acme"), pki.attribute("OU", "longer")]), "-"],
    [pki.rdns([pki.attribute("O", "acme"), pki.attribute("OU", "longer")]), {
      O: "acme",
      OU: "longer",
    }, "-"],
  ];
  for (const [base, name, expected] of rows) {
    assert.equal(cover(pki.directory(base), pki.directory(name)), expected);
    // The subject is a directory name too.
    const subject = holder([], name);
    const permitted = constraints({ permitted: [pki.directory(base)] });
    assert.equal(constraintsAllow(permitted, subject), expected === "Y");
    const excluded = constraints({ excluded: [pki.directory(base)] });
    assert.equal(constraintsAllow(excluded, subject), expected === "N");
  }
});

test("forms that nobody compares refuse the names of that form, and no others", () => {
  const forms = [
    pki.otherName("1.2.3", der.utf8("x")),
    pki.registeredId("1.2.3"),
    der.tlv(0xa3, der.seq()),
    der.tlv(0xa5, der.raw("a1030c0178")),
  ];
  for (const form of forms) {
    assert.equal(cover(form, form), "-");
    assert.equal(constraintsAllow(constraints({ excluded: [form] }), holder([pki.dns("a")])), true);
    assert.equal(
      constraintsAllow(constraints({ permitted: [form] }), holder([pki.dns("a")])),
      true,
    );
  }
  const [first, second] = forms;
  assert.ok(first && second);
  assert.equal(constraintsAllow(constraints({ permitted: [first] }), holder([second])), true);
});

test("lists: one permitted subtree is enough, one excluded too much; each form by itself", () => {
  const allow = (
    options: Parameters<typeof constraints>[0],
    ...san: Uint8Array[]
  ): boolean | undefined => constraintsAllow(constraints(options), holder(san));
  const [a, b] = [pki.dns("a.example"), pki.dns("b.example")];
  assert.equal(allow({ permitted: [a, b] }, a, b), true);
  assert.equal(allow({ permitted: [a] }, a, b), false);
  assert.equal(allow({ permitted: [a] }, pki.ip("10.0.0.1"), pki.email("me@b.example")), true);
  assert.equal(allow({ permitted: [pki.ip("10.0.0.0/8")] }, b), true);
  assert.equal(allow({ excluded: [b] }, a), true);
  assert.equal(allow({ excluded: [b] }, a, b), false);
  assert.equal(allow({ permitted: [a], excluded: [pki.dns("x.a.example")] }, a), true);
  assert.equal(
    allow({ permitted: [a], excluded: [pki.dns("x.a.example")] }, pki.dns("x.a.example")),
    false,
  );
  assert.equal(allow({ permitted: [a] }), true);
});

test("a name that is not ASCII is in no permitted subtree of its form and in every excluded one", () => {
  for (const [make, tag] of [[pki.email, 1], [pki.dns, 2], [pki.uri, 6]] as const) {
    const odd = der.implicit(tag, der.octet(der.raw("c3bc2e61")));
    const base = make === pki.email ? make("") : make("a");
    assert.equal(cover(base, odd), "-");
    const other = constraints({ permitted: [pki.ip("10.0.0.0/8")] });
    assert.equal(constraintsAllow(other, holder([odd])), true);
  }
});

test("e-mail addresses in the subject count as names", () => {
  const subject = (value: string | Uint8Array): Certificate => holder([], { emailAddress: value });
  const only = constraints({ permitted: [pki.email("a.example")] });
  assert.equal(constraintsAllow(only, subject("me@a.example")), true);
  assert.equal(constraintsAllow(only, subject("me@b.example")), false);
  assert.equal(constraintsAllow(only, subject(der.teletex("me@a.example"))), false);
  const not = constraints({ excluded: [pki.email("b.example")] });
  assert.equal(constraintsAllow(not, subject("me@a.example")), true);
  assert.equal(constraintsAllow(not, subject("me@b.example")), false);
  assert.equal(constraintsAllow(not, subject(der.teletex("x"))), false);
});

test("each comparison of a name with a constraint of its form is counted, before it is made", () => {
  const spent = (
    options: Parameters<typeof constraints>[0],
    ...certificate: Parameters<typeof holder>
  ): number => {
    const comparisons = new NameComparisons();
    comparisons.allow(constraints(options), holder(...certificate));
    return MAX_NAME_COMPARISONS - comparisons.left;
  };
  const one = { permitted: [pki.dns("a")] };
  assert.equal(spent(one, []), 0);
  assert.equal(spent(one, [pki.dns("a")]), 1);
  assert.equal(spent(one, [pki.ip("::1"), pki.registeredId("1.2.3"), pki.uri("a")]), 0);
  const three = { permitted: [pki.dns("a"), pki.ip("::/0")], excluded: [pki.dns("b")] };
  assert.equal(spent(three, [pki.dns("a"), pki.dns("b")]), 4);
  // A directory name is as many comparisons as it has parts, and one more.
  const acme = { excluded: [pki.directory({ O: "acme", OU: "x" })] };
  assert.equal(spent(acme, [pki.directory("a")], "leaf"), 6);
  const names = holder([pki.dns("b"), pki.dns("b")]);
  assert.equal(new NameComparisons(1).allow(constraints(one), names), undefined);
  assert.equal(constraintsAllow(constraints(one), names), false);
});
