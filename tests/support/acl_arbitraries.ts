/**
 * Peers and rules for property tests: made of pieces that are near each other, so that matches, near
 * misses and tricks all come up often.
 *
 * @module
 */

import fc from "fast-check";
import { type Dimension, parseRule, type Rule, type Side } from "../../src/acl/rule.ts";
import type { PeerIdentity, SubjectValue } from "../../src/identity.ts";
import { EMPTY_PEER } from "./acl.ts";

/** Runs of a property, always the same ones: a failure says the seed and the path. */
export const RUNS = { numRuns: 2000, seed: 20_260_328 } as const;

const pieces = (...texts: readonly string[]): fc.Arbitrary<string> => fc.constantFrom(...texts);

/** Text of a subject. */
const subjectText: fc.Arbitrary<string> = fc.oneof(
  { weight: 6, arbitrary: pieces("web", "api", "Web", "web ", "J\u00f6rg", "Jo\u0308rg") },
  {
    weight: 3,
    arbitrary: fc.array(
      pieces("web", "a", "\0", "\n", "\u200b", "\u202e", "\ufffd", "\u0430", " ", "\x7f", "\x85"),
      { maxLength: 4 },
    ).map((all) => all.join("")),
  },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 8 }) },
);

/** A value of a subject, readable or not. */
const subjectValue: fc.Arbitrary<SubjectValue> = fc.tuple(subjectText, fc.nat(5)).map((
  [text, n],
) => ({ text: n === 0 ? undefined : text.toWellFormed(), guess: text.toWellFormed() }));

const label = pieces("web", "api", "WEB", "a-b", "x_y", "w*", "*", "", "-a", "\0", "m\u00fc", "9");
const tail = pieces("", "", "", ".", "..");

/** A DNS name, or nearly. */
const dnsText: fc.Arbitrary<string> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.tuple(fc.array(label, { minLength: 1, maxLength: 3 }), tail)
      .map(([labels, dot]) => labels.join(".") + dot),
  },
  {
    weight: 8,
    arbitrary: fc.tuple(pieces("", "*.", "web.", "api.web."), pieces("web.test", "Api.test"), tail)
      .map((all) => all.join("")),
  },
  { weight: 1, arbitrary: fc.string({ maxLength: 12 }) },
);

const scheme = fc.oneof({ weight: 9, arbitrary: fc.constant("spiffe") }, {
  weight: 1,
  arbitrary: pieces("SPIFFE", "https", "s*", "1a", ""),
});
const host = fc.oneof({ weight: 9, arbitrary: pieces("acme", "acme", "*") }, {
  weight: 2,
  arbitrary: pieces("ACME", "acme.", "u@acme", "acme:1", "%61cme", "", "[::1]", "a[b"),
});
const plainSegment = pieces("a", "b", "web", "*", "a");
const oddSegment = pieces(
  ...["", ".", "..", "%2e%2e", "%2F", "%61", "a%20b", "%c3%bc", "%C3%BC", "%ff", "%00", "%25", "%"],
  ...["%2a", "**", "w*", "a\\b", "a?b", "a#b", "A", "\0", " ", "\u00fc", "[a]", "%c2%85", "%c0%af"],
);

/** A URI, or nearly; also as a pattern. */
export const uriText: fc.Arbitrary<string> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.tuple(
      scheme,
      pieces("://", "://", "://", "://", ":/", ":", ":///"),
      host,
      fc.array(
        fc.oneof({ weight: 5, arbitrary: plainSegment }, { weight: 1, arbitrary: oddSegment }),
        {
          maxLength: 4,
        },
      ),
      pieces("", "", "", "/", "/**", "//"),
    ).map(([scheme, colon, host, path, end]) => scheme + colon + [host, ...path].join("/") + end),
  },
  { weight: 1, arbitrary: fc.string({ maxLength: 20 }) },
);

const byte = fc.constantFrom(0, 1, 10, 127, 128, 192, 255);

/** 4 or 16 bytes, IPv4-mapped ones often. */
const ipBytes: fc.Arbitrary<number[]> = fc.oneof(
  fc.array(byte, { minLength: 4, maxLength: 4 }),
  fc.array(byte, { minLength: 4, maxLength: 4 }).map((v4) => [
    ...new Array<number>(10).fill(0),
    255,
    255,
    ...v4,
  ]),
  fc.array(byte, { minLength: 16, maxLength: 16 }),
);

/** An address as a rule writes it, without any shortening. */
function writeIp(bytes: readonly number[]): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups = [];
  for (let i = 0; i < 16; i += 2) {
    groups.push((((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0)).toString(16));
  }
  return groups.join(":");
}

/** An address with a prefix length that may be too long. */
export const network: fc.Arbitrary<{ bytes: number[]; length: number; text: string }> = fc.tuple(
  ipBytes,
  fc.nat(128),
  fc.boolean(),
).map(([address, n, tidy]) => {
  const length = Math.min(n, address.length * 8);
  const bits = address.map((byte) => byte.toString(2).padStart(8, "0")).join("");
  const kept = bits.slice(0, length).padEnd(bits.length, "0");
  const bytes = tidy ? address.map((_, i) => parseInt(kept.slice(8 * i, 8 * i + 8), 2)) : address;
  return { bytes, length, text: `${writeIp(bytes)}/${length}` };
});

const PINS = ["A", "B"].map((char) => `${char.repeat(42)}A=`);

/** A digest. */
const pin: fc.Arbitrary<string> = fc.constantFrom(...PINS);

/** What may stand in the config under a dimension, valid or not. */
export function ruleText(dimension: Dimension): fc.Arbitrary<string> {
  switch (dimension) {
    case "cn":
    case "org":
    case "ou":
      return subjectText;
    case "dns":
      return dnsText;
    case "ip":
      return fc.oneof(network.map(({ text }) => text), ipBytes.map(writeIp), fc.string());
    case "uri":
      return uriText;
    case "spki":
      return fc.oneof(pin.map((digest) => `sha256:${digest}`), fc.string());
    default:
      return dimension satisfies never;
  }
}

/** A peer that shows a few values of each kind. */
export const peer: fc.Arbitrary<PeerIdentity> = fc.record({
  commonNames: fc.array(subjectValue, { maxLength: 2 }),
  organizations: fc.array(subjectValue, { maxLength: 2 }),
  organizationalUnits: fc.array(subjectValue, { maxLength: 2 }),
  dnsNames: fc.array(dnsText, { maxLength: 3 }),
  ipAddresses: fc.array(ipBytes.map((bytes) => Uint8Array.from(bytes)), { maxLength: 2 }),
  uris: fc.array(uriText, { maxLength: 3 }),
  spki: pin,
}).map((shown) => ({ ...EMPTY_PEER, ...shown }));

/** A valid rule. */
export function ruleOf(side: Side, dimension: Dimension): fc.Arbitrary<Rule> {
  return ruleText(dimension).map((text) => {
    const pattern = parseRule(dimension, text);
    return pattern.ok ? { side, dimension, text, pattern: pattern.value } : undefined;
  }).filter((rule) => rule !== undefined);
}
