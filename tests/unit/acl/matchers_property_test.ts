/**
 * The matchers against slow, obvious ones, and what must hold of every rule.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { matchRule } from "../../../src/acl/match.ts";
import { type Dimension, DIMENSIONS, parseRule } from "../../../src/acl/rule.ts";
import { uriFault } from "../../../src/acl/uri.ts";
import { PeerView } from "../../../src/acl/view.ts";
import * as any from "./arbitraries.ts";
import * as reference from "./reference.ts";

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
        const expected = reference.allows(dimension, rule.text, peer);
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
      assert.equal(allow, reference.ipMatches(bytes, length, peer.ipAddresses), text);
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
      assert.equal(uriFault(uri) === undefined, reference.uriIsPlain(uri), uri);
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
