/**
 * Rules and peers for the tests of access control.
 *
 * @module
 */

import assert from "node:assert/strict";
import { matchRule } from "../../src/acl/match.ts";
import {
  type AclConfig,
  type Dimension,
  parseRule,
  type Rule,
  type Side,
} from "../../src/acl/rule.ts";
import { PeerView } from "../../src/acl/view.ts";
import { identityOf, type PeerIdentity, type SubjectValue } from "../../src/identity.ts";
import { parseCertificate } from "../../src/x509/parse.ts";
import { type LeafOptions, makeLeaf } from "./pki.ts";

/** A peer that shows nothing. */
export const EMPTY_PEER: PeerIdentity = {
  commonNames: [],
  organizations: [],
  organizationalUnits: [],
  dnsNames: [],
  ipAddresses: [],
  uris: [],
  spki: "A".repeat(43) + "=",
  subjectAltNames: [],
  serial: "01",
  issuer: "CN=ca",
  subject: "",
};

/** Values that were decoded without doubt. */
export function texts(...values: readonly string[]): readonly SubjectValue[] {
  return values.map((text) => ({ text, guess: text }));
}

/** A rule; the text must be valid. */
export function rule(side: Side, dimension: Dimension, text: string): Rule {
  const pattern = parseRule(dimension, text);
  assert.ok(pattern.ok, pattern.ok ? "" : `${text}: ${pattern.reason}`);
  return { side, dimension, text, pattern: pattern.value };
}

/** Why the text is no rule. */
export function refusal(dimension: Dimension, text: string): string {
  const pattern = parseRule(dimension, text);
  assert.ok(!pattern.ok, `${text} is a rule`);
  return pattern.reason;
}

/** Rules as `allow_cn: web` would be written: `["cn", "web"]`. */
export function acl(
  allow: readonly (readonly [Dimension, string])[] = [],
  deny: readonly (readonly [Dimension, string])[] = [],
  more: Partial<AclConfig> = {},
): AclConfig {
  return {
    allow: allow.map(([dimension, text]) => rule("allow", dimension, text)),
    deny: deny.map(([dimension, text]) => rule("deny", dimension, text)),
    mode: "enforce",
    allowAnonymous: false,
    ...more,
  };
}

/** What a rule of that side and text matches. */
export function matched(
  side: Side,
  dimension: Dimension,
  text: string,
  peer: PeerIdentity,
): string | undefined {
  return matchRule(rule(side, dimension, text), new PeerView(peer));
}

/** The identity that a certificate really gives. */
export function peerOf(options: LeafOptions): PeerIdentity {
  return identityOf(parseCertificate(makeLeaf(options).der), EMPTY_PEER.spki);
}

/** One row of a table: who matches the rule, and on which sides. */
export type Row = readonly [
  what: string,
  rule: string,
  peer: PeerIdentity,
  sides: "both" | "deny" | "none",
];

/** Registers a test that goes through a table. */
export function testTable(name: string, dimension: Dimension, rows: readonly Row[]): void {
  Deno.test({
    name,
    permissions: "none",
    fn: () => {
      for (const [what, text, peer, sides] of rows) {
        const allow = matched("allow", dimension, text, peer) !== undefined;
        const deny = matched("deny", dimension, text, peer) !== undefined;
        assert.equal(allow, sides === "both", `allow: ${what}`);
        assert.equal(deny, sides !== "none", `deny: ${what}`);
      }
    },
  });
}
