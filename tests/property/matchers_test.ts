/**
 * The matchers against slow, obvious ones, and what must hold of every rule.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { matchRule } from "../../src/acl/match.ts";
import { type Dimension, DIMENSIONS, parseRule } from "../../src/acl/rule.ts";
import { uriFault } from "../../src/acl/uri.ts";
import { PeerView } from "../../src/acl/view.ts";
import * as any from "../support/acl_arbitraries.ts";
import type { PeerIdentity, SubjectValue } from "../../src/identity.ts";

const ASCII_CONTROLS = Array.from({ length: 32 }, (_, i) => String.fromCharCode(i));

const CONTROLS = new Set([
  ...ASCII_CONTROLS,
  ...Array.from({ length: 33 }, (_, i) => String.fromCharCode(0x7f + i)),
]);

/** CN, O, OU: the decoded string, exactly; nothing with a control character. */
function textAllows(rule: string, values: readonly SubjectValue[], cn: boolean): boolean {
  if (cn && values.length !== 1) return false;
  for (const { text } of values) {
    if (text === undefined || text !== rule) continue;
    if (![...text].some((char) => CONTROLS.has(char) || char === "\ufffd")) return true;
  }
  return false;
}

/** Lower case and no final dot; `undefined` for what is no name: a wildcard, an empty label. */
function labelsOf(name: string): string[] | undefined {
  const plain = name.endsWith(".") ? name.slice(0, -1) : name;
  if (plain.length > 253) return undefined;
  const labels = plain.split(".");
  for (const label of labels) {
    if (label.length < 1 || label.length > 63) return undefined;
    for (const char of label) {
      if (!"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_".includes(char)) {
        return undefined;
      }
    }
    if (label.startsWith("-") || label.endsWith("-")) return undefined;
  }
  // Names that end in a number are addresses.
  if (
    [..."0123456789"].includes(labels.at(-1)?.[0] ?? "") && Number.isInteger(Number(labels.at(-1)))
  ) {
    return undefined;
  }
  return labels.map((label) =>
    [...label].map((char) => char >= "A" && char <= "Z" ? char.toLowerCase() : char).join("")
  );
}

/** Exact unless the rule starts with `*.`, which is one label. */
function dnsAllows(rule: string, names: readonly string[]): boolean {
  const star = rule.startsWith("*.");
  const wanted = labelsOf(star ? rule.slice(2) : rule);
  return names.some((name) => {
    const labels = labelsOf(name);
    if (labels === undefined || wanted === undefined) return false;
    const compared = star ? labels.slice(1) : labels;
    return labels.length === wanted.length + (star ? 1 : 0) && compared.join() === wanted.join();
  });
}

function bitsOf(bytes: readonly number[]): string {
  return bytes.map((byte) => byte.toString(2).padStart(8, "0")).join("");
}

/** IPv4-mapped addresses are the IPv4 ones. */
function plainBits(bytes: readonly number[]): string {
  const bits = bitsOf(bytes);
  const prefix = "0".repeat(80) + "1".repeat(16);
  return bits.length === 128 && bits.startsWith(prefix) ? bits.slice(96) : bits;
}

/** `network` is 4 bytes or 16, of which the first `length` bits count. */
function ipMatches(
  network: readonly number[],
  length: number,
  addresses: readonly Uint8Array[],
): boolean {
  const rule = plainBits(network);
  const dropped = bitsOf(network).length - rule.length;
  return addresses.some((address) => {
    const bits = plainBits([...address]);
    return bits.length === rule.length &&
      bits.slice(0, length - dropped) === rule.slice(0, length - dropped);
  });
}

const SEGMENT = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:@%";

/** Why no allow rule may match the URI, by the list of URIs that match no allow rule. */
function uriIsPlain(uri: string): boolean {
  const colon = uri.indexOf("://");
  if (colon < 1) return false;
  const scheme = uri.slice(0, colon);
  if (![...scheme].every((char) => "abcdefghijklmnopqrstuvwxyz0123456789+.-".includes(char))) {
    return false;
  }
  if (!"abcdefghijklmnopqrstuvwxyz".includes(scheme[0] ?? " ")) return false;
  const [host = "", ...path] = uri.slice(colon + 3).split("/");
  const hostChars = SEGMENT.replace("%", "").replace("@", "") + "[]";
  if (host === "" || host !== host.toLowerCase()) return false;
  if (![...host].every((char) => hostChars.includes(char))) return false;
  if (path.at(-1) === "") path.pop(); // One final slash is up to the pattern.
  for (const segment of path) {
    if (segment === "" || segment === "." || segment === "..") return false;
    if (![...segment].every((char) => SEGMENT.includes(char))) return false;
    for (let i = 0; i < segment.length; i++) {
      if (segment[i] !== "%") continue;
      const hex = segment.slice(i + 1, i + 3);
      if (hex.length < 2 || ![...hex].every((c) => "0123456789abcdefABCDEF".includes(c))) {
        return false;
      }
      const byte = parseInt(hex, 16);
      if (byte < 0x20 || byte === 0x7f || "%#?*./\\".includes(String.fromCharCode(byte))) {
        return false;
      }
    }
    let text: string;
    try {
      text = decodeURIComponent(segment);
    } catch {
      return false; // Not UTF-8.
    }
    if ([...text].some((char) => CONTROLS.has(char))) return false;
  }
  return true;
}

/** `*` is one segment, `**` at the end any number, a final slash is as the pattern has it or less. */
function uriAllows(rule: string, uris: readonly string[]): boolean {
  return uris.some((uri) => {
    if (!uriIsPlain(uri)) return false;
    if (uri.endsWith("/") && !rule.endsWith("/")) return false;
    const parts = (text: string) => text.replace(/\/$/, "").split("/");
    const [scheme, none, host, ...path] = parts(uri);
    const [wantedScheme, , wantedHost, ...pattern] = parts(rule);
    if (none !== "" || scheme !== wantedScheme) return false;
    if (wantedHost !== "*" && wantedHost !== host) return false;
    const match = (from: number): boolean => {
      const wanted = pattern[from];
      if (wanted === undefined) return path.length === from;
      if (wanted === "**") return true;
      const shown = path[from];
      return shown !== undefined && (wanted === "*" || wanted === shown) && match(from + 1);
    };
    return match(0);
  });
}

/** What an allow rule of the text says of the peer. */
function allows(dimension: string, rule: string, peer: PeerIdentity): boolean {
  switch (dimension) {
    case "cn":
      return textAllows(rule, peer.commonNames, true);
    case "org":
      return textAllows(rule, peer.organizations, false);
    case "ou":
      return textAllows(rule, peer.organizationalUnits, false);
    case "dns":
      return dnsAllows(rule, peer.dnsNames);
    case "uri":
      return uriAllows(rule, peer.uris);
    case "spki":
      return rule === `sha256:${peer.spki}`;
    default:
      throw new Error(`no reference for ${dimension}`);
  }
}

function test(name: string, fn: () => void): void {
  Deno.test({ name: `properties: ${name}`, permissions: "none", fn });
}

/** What the rule of that text matches; `undefined` where the text is no rule. */
function outcome(
  side: "allow" | "deny",
  dimension: Dimension,
  text: string,
  view: PeerView,
): boolean | undefined {
  const pattern = parseRule(dimension, text);
  if (!pattern.ok) return undefined;
  return matchRule({ side, dimension, text, pattern: pattern.value }, view) !== undefined;
}

for (const dimension of DIMENSIONS.filter((dimension) => dimension !== "ip")) {
  test(`${dimension}: an allow rule matches what the reference says, and nothing else`, () => {
    let matches = 0;
    let misses = 0;
    fc.assert(
      fc.property(any.ruleOf("allow", dimension), any.peer, (rule, peer) => {
        const expected = allows(dimension, rule.text, peer);
        assert.equal(matchRule(rule, new PeerView(peer)) !== undefined, expected);
        if (expected) matches++;
        else misses++;
      }),
      any.RUNS,
    );
    // Always yes, or always no, would test nothing.
    assert.ok(matches > 20 && misses > 100, `${matches} matches, ${misses} misses`);
  });
}

test("ip: both sides match what the reference says, and nothing else", () => {
  let matches = 0;
  fc.assert(
    fc.property(any.network, any.peer, ({ bytes, length, text }, peer) => {
      const view = new PeerView(peer);
      const allow = outcome("allow", "ip", text, view);
      assert.equal(outcome("deny", "ip", text, view), allow);
      if (allow === undefined) return;
      assert.equal(allow, ipMatches(bytes, length, peer.ipAddresses), text);
      if (allow) matches++;
    }),
    any.RUNS,
  );
  assert.ok(matches > 20, `${matches} matches`);
});

for (const dimension of DIMENSIONS) {
  test(`${dimension}: where an allow rule matches, the deny rule of the same text does`, () => {
    let matches = 0;
    fc.assert(
      fc.property(any.ruleText(dimension), any.peer, (text, peer) => {
        const view = new PeerView(peer);
        const allow = outcome("allow", dimension, text, view);
        const deny = outcome("deny", dimension, text, view);
        assert.equal(allow === undefined, deny === undefined);
        if (allow !== true) return;
        matches++;
        assert.equal(deny, true);
      }),
      { ...any.RUNS, numRuns: 4000 },
    );
    assert.ok(matches > 10, `${matches} matches`);
  });

  test(`${dimension}: whatever stands in the config, there is a rule or a reason`, () => {
    fc.assert(
      fc.property(
        fc.oneof(any.ruleText(dimension), fc.string({ unit: "binary" }), fc.string()),
        (text) => {
          const parsed = parseRule(dimension, text);
          if (parsed.ok) return;
          assert.match(parsed.reason, /^[a-z"'].*[^.\n]$/i);
        },
      ),
      any.RUNS,
    );
  });
}

test("uri: what an allow rule matches is in its plain form", () => {
  fc.assert(
    fc.property(any.uriText, (uri) => {
      assert.equal(uriFault(uri) === undefined, uriIsPlain(uri), uri);
    }),
    { ...any.RUNS, numRuns: 5000 },
  );
});

/** Ways to write a URI that lead where the plain one does; applied in this order. */
const DISGUISES: readonly ((uri: string) => string)[] = [
  (uri) => uri.replace("://acme", "://acme/x/.."),
  (uri) => uri.replace("://acme", "://acme/."),
  (uri) => uri.replace("://acme", "://acme/"),
  (uri) => uri.replace("://acme", "://acme%2fx%2f%2e%2e"),
  (uri) => uri.replace("://acme", "://acme/%252e"),
  (uri) => uri.replace("acme", "acme:8443"),
  (uri) => uri.replace("acme", "acme."),
  (uri) => uri.replace("acme", "user@acme"),
  (uri) => uri.replace("acme", "aCMe"),
  (uri) => uri.replace("spiffe", "SPIFFE"),
  (uri) => uri.replace("://", ":\\\\"),
  (uri) => `${uri}/`,
  (uri) => `${uri}/.`,
  (uri) => `${uri}?`,
  (uri) => `${uri}#x`,
  (uri) => `${uri}%00.good`,
  (uri) => `${uri}\n`,
  (uri) => ` ${uri}`,
  (uri) => uri.replaceAll("/", "%2F"),
  (uri) => uri.replace(/e/g, "%65"),
  (uri) => uri.replace(/p/g, "%2570"),
];

test("uri: deny rules see through every disguise, and through several on top of each other", () => {
  const plain = fc.array(fc.constantFrom("a", "be", "web"), { maxLength: 3 })
    .map((path) => ["spiffe://acme", ...path].join("/"));
  const disguises = fc.subarray([...DISGUISES], { minLength: 1, maxLength: 4 });
  const peerOf = (uri: string) => new PeerView({ ...BARE, uris: [uri] });
  fc.assert(
    fc.property(plain, disguises, (uri, wraps) => {
      const disguised = wraps.reduce((text, wrap) => wrap(text), uri);
      assert.equal(outcome("deny", "uri", uri, peerOf(disguised)), true, disguised);
      if (uriFault(disguised) !== undefined) {
        assert.equal(outcome("allow", "uri", uri, peerOf(disguised)), false, disguised);
      }
    }),
    any.RUNS,
  );
});

const BARE = {
  commonNames: [],
  organizations: [],
  organizationalUnits: [],
  dnsNames: [],
  ipAddresses: [],
  uris: [],
  spki: "",
  subjectAltNames: [],
  serial: "",
  issuer: "",
  subject: "",
};

test("text: deny rules see through control and invisible characters", () => {
  const noise = fc.array(fc.constantFrom("\0", "\n", "\u200b", "\u202e", "\ufeff", "\x7f"), {
    minLength: 1,
    maxLength: 4,
  });
  fc.assert(
    fc.property(noise, fc.nat(3), (noise, at) => {
      const text = `web`.slice(0, at) + noise.join("") + "web".slice(at);
      const view = new PeerView({ ...BARE, commonNames: [{ text, guess: text }] });
      assert.equal(outcome("deny", "cn", "web", view), true);
      assert.equal(outcome("allow", "cn", "web", view), false);
    }),
    any.RUNS,
  );
});

test("dns: deny rules of a name match every wildcard that may stand for it", () => {
  const label = fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: 5 });
  const split = fc.tuple(label, fc.nat(5), fc.nat(5));
  fc.assert(
    fc.property(fc.array(split, { minLength: 1, maxLength: 3 }), (labels) => {
      const name = labels.map(([text]) => text).join(".");
      const wild = labels.map(([text, from, length]) =>
        `${text.slice(0, from)}*${text.slice(from + length)}`
      ).join(".");
      const view = new PeerView({ ...BARE, dnsNames: [wild] });
      assert.equal(outcome("deny", "dns", name, view), true, `${wild} for ${name}`);
      assert.equal(outcome("allow", "dns", name, view), false);
    }),
    any.RUNS,
  );
});
