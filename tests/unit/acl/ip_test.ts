/**
 * IP addresses and networks.
 *
 * @module
 */

import assert from "node:assert/strict";
import { parseIp } from "../../../src/util/ip.ts";
import type { PeerIdentity } from "../../../src/identity.ts";
import { EMPTY_PEER, matched, refusal, testTable } from "../../support/acl.ts";

function ip(...addresses: string[]): PeerIdentity {
  const ipAddresses = addresses.map((text) => {
    const bytes = parseIp(text);
    assert.ok(bytes !== undefined, text);
    return bytes;
  });
  return { ...EMPTY_PEER, ipAddresses };
}

testTable("ip: addresses and networks", "ip", [
  ["the same", "10.1.2.3", ip("10.1.2.3"), "both"],
  ["another", "10.1.2.3", ip("10.1.2.4"), "none"],
  ["one of several", "10.1.2.3", ip("::1", "10.1.2.3"), "both"],
  ["none", "10.1.2.3", ip(), "none"],
  ["network", "10.0.0.0/8", ip("10.255.255.255"), "both"],
  ["outside", "10.0.0.0/8", ip("11.0.0.0"), "none"],
  ["in the middle of a byte", "10.0.0.128/25", ip("10.0.0.200"), "both"],
  ["just outside", "10.0.0.128/25", ip("10.0.0.127"), "none"],
  ["everything", "0.0.0.0/0", ip("255.255.255.255"), "both"],
  ["/32", "10.1.2.3/32", ip("10.1.2.3"), "both"],
  ["IPv6", "2001:db8::1", ip("2001:0DB8:0:0::0:1"), "both"],
  ["IPv6 network", "2001:db8::/32", ip("2001:db8:ffff::1"), "both"],
  ["IPv6 outside", "2001:db8::/32", ip("2001:db9::1"), "none"],
  ["IPv6 in the middle of a byte", "fe80::/10", ip("febf::1"), "both"],
  ["/128", "::1/128", ip("::1"), "both"],
  ["every IPv6 address", "::/0", ip("2001:db8::1"), "both"],
  ["IPv4 is not IPv6", "::/0", ip("10.0.0.1"), "none"],
  ["IPv6 is not IPv4", "0.0.0.0/0", ip("::1"), "none"],
  ["compatible is not mapped", "10.0.0.1", ip("::10.0.0.1"), "none"],
]);

testTable("ip: mapped addresses are IPv4", "ip", [
  ["of the peer", "10.0.0.1", ip("::ffff:10.0.0.1"), "both"],
  ["of the rule", "::ffff:10.0.0.1", ip("10.0.0.1"), "both"],
  ["of both", "::ffff:a00:1", ip("::ffff:10.0.0.1"), "both"],
  ["network of the rule", "::ffff:10.0.0.0/104", ip("10.9.9.9"), "both"],
  ["network of the peer", "10.0.0.0/8", ip("::ffff:10.9.9.9"), "both"],
  ["all mapped ones", "::ffff:0:0/96", ip("1.2.3.4"), "both"],
  ["no IPv6 network holds them", "::/0", ip("::ffff:10.0.0.1"), "none"],
]);

Deno.test({ name: "ip: what was shown", permissions: "none" }, () => {
  assert.equal(matched("allow", "ip", "10.0.0.0/8", ip("11.0.0.1", "10.0.0.2")), "10.0.0.2");
  assert.equal(matched("deny", "ip", "2001:db8::/32", ip("2001:db8:0:0::5")), "2001:db8::5");
});

Deno.test({ name: "ip: the first address of a network is shown", permissions: "none" }, () => {
  assert.equal(matched("allow", "ip", "10.0.0.0/8", ip("10.0.0.2", "10.0.0.1")), "10.0.0.2");
});

Deno.test({ name: "ip: a rule that can never match is refused", permissions: "none" }, () => {
  const form = 'must be an IP address or a network, such as "10.1.2.3" or "10.0.0.0/8"';
  const cases: readonly [string, string][] = [
    ["10.0.0.1/8", 'the bits after the prefix must be 0: write "10.0.0.0/8"'],
    ["10.0.0.129/25", 'the bits after the prefix must be 0: write "10.0.0.128/25"'],
    ["2001:db8::1/32", 'the bits after the prefix must be 0: write "2001:db8::/32"'],
    ["::ffff:10.0.0.1/104", 'the bits after the prefix must be 0: write "10.0.0.0/8"'],
    [
      "::ffff:0:0/90",
      "the prefix length of a mapped IPv4 address must be 96 or more: write the IPv4 network",
    ],
    ["10.0.0.0/33", "the prefix length must be a number from 0 to 32"],
    ["::/129", "the prefix length must be a number from 0 to 128"],
    ["10.0.0.0/", "the prefix length must be a number from 0 to 32"],
    ["10.0.0.0/08", "the prefix length must be a number from 0 to 32"],
    ["10.0.0.0/-1", "the prefix length must be a number from 0 to 32"],
    ["10.0.0.0/255.0.0.0", "the prefix length must be a number from 0 to 32"],
    ["10.0.0.0/8/8", form],
    ["10.0.0", form],
    ["10.0.0.256", form],
    ["010.0.0.1", form],
    ["10.0.0.1 ", form],
    ["10.*", form],
    ["fe80::1%eth0", form],
    ["[::1]", form],
    [":::", form],
    ["localhost", form],
    ["/8", form],
    ["", "a rule must not be empty"],
  ];
  for (const [text, reason] of cases) assert.equal(refusal("ip", text), reason, text);
});
