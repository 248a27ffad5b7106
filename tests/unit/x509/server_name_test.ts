/**
 * Is this the server that was meant (RFC 9525).
 *
 * @module
 */

import assert from "node:assert/strict";
import { parseCertificate } from "../../../src/x509/parse.ts";
import { parseIp } from "../../../src/util/ip.ts";
import { carriesName } from "../../../src/x509/server_name.ts";
import * as der from "../../support/der.ts";
import * as pki from "../../support/pki.ts";

function test(name: string, fn: () => void): void {
  Deno.test({ name: `server name: ${name}`, permissions: "none", fn });
}

const key = pki.makeKey();

function carries(san: readonly Uint8Array[], wanted: string, subject = "leaf"): boolean {
  const leaf = pki.makeLeaf({ key, san, subject });
  return carriesName(parseCertificate(leaf.der), wanted);
}

test("DNS names", () => {
  const cases: [presented: string, wanted: string, match: boolean][] = [
    ["a.example", "a.example", true],
    ["A.Example", "a.eXAMPLE", true],
    ["a.example", "a.example.", true],
    ["a.example.", "a.example", true],
    ["localhost", "localhost", true],
    ["my_host", "my_host", true],
    ["a.example", "b.example", false],
    ["a.example", "example", false],
    ["example", "a.example", false],
    ["a.example", "a.example.evil", false],
    ["a.example", "xa.example", false],
    [".example", "a.example", false],
    ["a.example", "a.example..", false],
    ["a..example", "a..example", false],
    // IDNA: A-labels only; what is written in other letters is nobody's name.
    ["xn--bcher-kva.example", "xn--bcher-kva.example", true],
    ["XN--BCHER-KVA.example", "xn--bcher-kva.example", true],
    ["xn--bcher-kva.example", "b\u00fccher.example", false],
    ["kube.example", "\u212aube.example", false],
    ["kube.example", "k\u200bube.example", false],
    ["a.example", "a\u3002example", false],
    // Tricks of one name that looks like several, or ends early.
    ["a.example, DNS:b.example", "b.example", false],
    ["a.example, DNS:b.example", "a.example", false],
    ["a.example,b.example", "b.example", false],
    ["a.example b.example", "b.example", false],
    ["a.example\0.evil.example", "a.example", false],
    ["a.example\0", "a.example", false],
    ["\0a.example", "a.example", false],
    ["a.example\0.evil", "a.example\0.evil", false],
    ["a.example\n", "a.example", false],
    [" a.example", "a.example", false],
    ["a.example ", "a.example", false],
    ["a.example:443", "a.example", false],
    ["https://a.example", "a.example", false],
    ["user@a.example", "a.example", false],
    ["", "a.example", false],
    ["", "", false],
    [".", "", false],
    [".", ".", false],
    ["", ".", false],
  ];
  for (const [presented, wanted, match] of cases) {
    const shown = JSON.stringify([presented, wanted]);
    assert.equal(carries([pki.dns(presented)], wanted), match, shown);
  }
});

test("a wildcard is the whole first label, with two labels behind", () => {
  const cases: [presented: string, wanted: string, match: boolean][] = [
    ["*.a.example", "x.a.example", true],
    ["*.A.example", "X.a.EXAMPLE", true],
    ["*.a.example", "x.a.example.", true],
    ["*.a.example.", "x.a.example", true],
    ["*.a.example", "xn--bcher-kva.a.example", true],
    ["*.a.example", "a.example", false],
    ["*.a.example", ".a.example", false],
    ["*.a.example", "x.y.a.example", false],
    ["*.a.example", "xa.example", false],
    ["*.a.example", "x.b.example", false],
    ["*.example", "x.example", false],
    ["*.com", "a.com", false],
    ["*.com.", "a.com", false],
    ["*", "a", false],
    ["*", "localhost", false],
    ["*.", "a", false],
    ["*.*.example", "x.y.example", false],
    ["*.*", "a.b", false],
    ["**.a.example", "x.a.example", false],
    ["f*.a.example", "foo.a.example", false],
    ["*f.a.example", "of.a.example", false],
    ["f*r.a.example", "foobar.a.example", false],
    ["xn--*.a.example", "xn--foo.a.example", false],
    ["x.*.example", "x.a.example", false],
    ["x.a.*", "x.a.example", false],
    ["a.example.*", "a.example.com", false],
    // A wildcard is no name to ask for.
    ["*.a.example", "*.a.example", false],
    ["*", "*", false],
    ["x.a.example", "*.a.example", false],
    // An address is not under a domain.
    ["*.0.0.1", "127.0.0.1", false],
    ["*.0.0.1", "127.0.0.1.", false],
  ];
  for (const [presented, wanted, match] of cases) {
    assert.equal(carries([pki.dns(presented)], wanted), match, JSON.stringify([presented, wanted]));
  }
});

test("addresses are compared as bytes, with addresses only", () => {
  const mapped = der.raw("00000000000000000000ffff0a000001");
  const cases: [presented: Uint8Array, wanted: string, match: boolean][] = [
    [pki.ip("10.0.0.1"), "10.0.0.1", true],
    [pki.ip("10.0.0.1"), "10.0.0.2", false],
    [pki.ip("2001:db8::1"), "2001:db8::1", true],
    [pki.ip("2001:db8::1"), "2001:0DB8:0:0:0:0:0:1", true],
    [pki.ip("2001:db8::1"), "2001:db8::0.0.0.1", true],
    [pki.ip("::1"), "::1", true],
    [pki.ip("::1"), "::2", false],
    // An IPv4 address and its IPv6 form are two names.
    [pki.ip(mapped), "::ffff:10.0.0.1", true],
    [pki.ip(mapped), "::ffff:a00:1", true],
    [pki.ip(mapped), "10.0.0.1", false],
    [pki.ip("10.0.0.1"), "::ffff:10.0.0.1", false],
    // Other ways to write an address are no way to ask for one.
    [pki.ip("10.0.0.1"), "10.0.0.01", false],
    [pki.ip("10.0.0.1"), "010.0.0.1", false],
    [pki.ip("10.0.0.1"), "10.1", false],
    [pki.ip("10.0.0.1"), "167772161", false],
    [pki.ip("10.0.0.1"), "0x0a000001", false],
    [pki.ip("10.0.0.1"), "10.0.0.1.", false],
    [pki.ip("10.0.0.1"), " 10.0.0.1", false],
    [pki.ip("fe80::1"), "fe80::1%eth0", false],
    [pki.ip("::1"), "[::1]", false],
    // Text that looks like an address is none, and neither kind stands for the other.
    [pki.dns("10.0.0.1"), "10.0.0.1", false],
    [pki.dns("10.0.0.1"), "10.0.0.1.", false],
    [pki.dns("10.1"), "10.1", false],
    [pki.dns("::1"), "::1", false],
    [pki.dns("fe80::1%eth0"), "fe80::1%eth0", false],
    [pki.dns("*.0.0.1"), "10.0.0.1", false],
    [pki.uri("https://10.0.0.1"), "10.0.0.1", false],
    [pki.ip(new TextEncoder().encode("host")), "host", false],
    [pki.ip(new TextEncoder().encode("host")), "104.111.115.116", true],
  ];
  for (const [presented, wanted, match] of cases) {
    assert.equal(carries([presented], wanted), match, `${presented.toHex()} ${wanted}`);
  }
});

test("only alternative names count, and only of the right kind", () => {
  assert.equal(carries([], "a.example", "a.example"), false);
  assert.equal(carries([pki.email("x@a.example")], "a.example", "a.example"), false);
  assert.equal(carries([pki.uri("https://a.example")], "a.example", "a.example"), false);
  assert.equal(carries([pki.directory({ CN: "a.example" })], "a.example", "a.example"), false);
  assert.equal(carries([pki.otherName("1.2.3", der.ia5("a.example"))], "a.example"), false);
  assert.equal(carries([pki.dns("b.example")], "a.example", "a.example"), false);
  const many = [
    pki.email("x@y.example"),
    pki.ip("::1"),
    pki.dns("b.example"),
    pki.dns("*.c.example"),
  ];
  for (const wanted of ["::1", "b.example", "x.c.example"]) {
    assert.equal(carries(many, wanted), true, wanted);
  }
});

test("what is an address", () => {
  const addresses: [string, string][] = [
    ["0.0.0.0", "00000000"],
    ["255.255.255.255", "ffffffff"],
    ["::", "0".repeat(32)],
    ["::1", "1".padStart(32, "0")],
    ["1::", "0001".padEnd(32, "0")],
    ["1:2:3:4:5:6:7:8", "00010002000300040005000600070008"],
    ["1:2:3:4:5:6:7::", "00010002000300040005000600070000"],
    ["::2:3:4:5:6:7:8", "00000002000300040005000600070008"],
    ["1:2:3:4:5:6:1.2.3.4", "00010002000300040005000601020304"],
    ["::1.2.3.4", "01020304".padStart(32, "0")],
    ["FE80::ABCD", "fe80" + "abcd".padStart(28, "0")],
  ];
  for (const [text, hex] of addresses) assert.equal(parseIp(text)?.toHex(), hex, text);
  const none = [
    ...[
      "",
      ".",
      ":",
      ":::",
      "1",
      "1.2.3",
      "1.2.3.4.5",
      "1.2.3.256",
      "1.2.3.-1",
      "1.2.3.4 ",
      "01.2.3.4",
    ],
    ...["1.2.3.0x4", "1.2.3.\u0664", "a.example", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3"],
    ...[
      "1:2:3:4:5:6:7:8::",
      "::1:2:3:4:5:6:7:8",
      "12345::",
      "g::",
      ":1:2:3:4:5:6:7",
      "1:2:3:4:5:6:7:",
    ],
    ...[
      "::1%1",
      "[::1]",
      "1.2.3.4::",
      "::1.2.3.4:5",
      "::1.2.3",
      "::1.2.3.256",
      "1:2:3:4:5:6:7:1.2.3.4",
    ],
    ...["::1/128", "::ffff:1.2.3.04"],
  ];
  for (const text of none) assert.equal(parseIp(text), undefined, text);
});
