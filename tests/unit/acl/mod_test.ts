/**
 * Who gets in, by the facts of a certificate that was verified already.
 *
 * @module
 */

import assert from "node:assert/strict";
import { authorize, type Decision, evaluateRules, Permit } from "../../../src/acl/mod.ts";
import { type Basis, formatBasis, type Verdict } from "../../../src/acl/decision.ts";
import type { AclConfig } from "../../../src/acl/rule.ts";
import type { PeerIdentity } from "../../../src/identity.ts";
import { acl, EMPTY_PEER, peerOf, texts } from "../../support/acl.ts";
import { dns, ip, uri } from "../../support/pki.ts";

function test(name: string, fn: () => void): void {
  Deno.test({ name: `acl: ${name}`, permissions: "none", fn });
}

/** The verdict in words, `+` for allowed. */
function words(peer: PeerIdentity | undefined, rules: AclConfig): string {
  const { allowed, basis } = evaluateRules(peer, rules);
  return `${allowed ? "+" : "-"} ${formatBasis(basis)}`;
}

const WEB: PeerIdentity = {
  ...EMPTY_PEER,
  commonNames: texts("web"),
  organizations: texts("acme", "acme two"),
};

test("with no rule every valid certificate is let in", () => {
  assert.deepEqual(evaluateRules(EMPTY_PEER, acl()), { allowed: true, basis: { kind: "open" } });
  assert.equal(words(EMPTY_PEER, acl()), "+ no allow rules");
});

test("allow rules of all dimensions are OR'd, and the one that decided is named", () => {
  const cases: readonly [AclConfig, string][] = [
    [acl([["cn", "db"], ["cn", "web"]]), "+ acl.allow_cn: web"],
    [acl([["org", "acme two"]]), "+ acl.allow_org: acme two"],
    [acl([["cn", "db"], ["org", "acme"]]), "+ acl.allow_org: acme"],
    [acl([["cn", "web"], ["org", "other"]]), "+ acl.allow_cn: web"],
    [acl([["cn", "db"], ["org", "other"]]), "- no allow rule matches"],
    // A rule of one dimension says nothing about the others.
    [
      acl([["cn", "acme"], ["org", "web"], ["ou", "web"], ["dns", "web"]]),
      "- no allow rule matches",
    ],
  ];
  for (const [rules, expected] of cases) assert.equal(words(WEB, rules), expected);
});

test("every dimension lets in and keeps out, of a certificate that was really read", () => {
  const peer = peerOf({
    subject: { O: "acme", OU: "dev", CN: "web" },
    san: [dns("web.example"), ip("10.0.0.7"), uri("spiffe://acme/ns/a/web")],
  });
  for (
    const [dimension, text, shown] of [
      ["cn", "web", "web"],
      ["org", "acme", "acme"],
      ["ou", "dev", "dev"],
      ["dns", "*.example", "web.example"],
      ["ip", "10.0.0.0/8", "10.0.0.7"],
      ["uri", "spiffe://acme/ns/*/web", "spiffe://acme/ns/a/web"],
      ["spki", `sha256:${EMPTY_PEER.spki}`, `sha256:${EMPTY_PEER.spki}`],
    ] as const
  ) {
    const allow = evaluateRules(peer, acl([[dimension, text]]));
    const deny = evaluateRules(peer, acl([], [[dimension, text]]));
    assert.deepEqual([allow.allowed, deny.allowed], [true, false], dimension);
    assert.ok(allow.basis.kind === "rule" && deny.basis.kind === "rule");
    assert.deepEqual([allow.basis.shown, deny.basis.shown], [shown, shown]);
    assert.equal(formatBasis(deny.basis), `acl.deny_${dimension}: ${text}`);
  }
});

test("a deny rule beats every allow rule, and by itself keeps only its own out", () => {
  assert.equal(words(WEB, acl([["cn", "web"]], [["org", "acme"]])), "- acl.deny_org: acme");
  assert.equal(words(WEB, acl([["cn", "web"]], [["cn", "web"]])), "- acl.deny_cn: web");
  assert.equal(words(WEB, acl([["cn", "web"]], [["cn", "db"]])), "+ acl.allow_cn: web");
  assert.equal(words(WEB, acl([], [["cn", "db"]])), "+ no allow rules");
  assert.equal(words(WEB, acl([], [["cn", "web"]])), "- acl.deny_cn: web");
});

test("several CNs: no allow_cn matches, every deny_cn looks at each", () => {
  const peer = { ...WEB, commonNames: texts("web", "evil") };
  assert.equal(words(peer, acl([["cn", "web"]])), "- no allow rule matches");
  assert.equal(words(peer, acl([["cn", "web"], ["org", "acme"]])), "+ acl.allow_org: acme");
  assert.equal(words(peer, acl([["org", "acme"]], [["cn", "evil"]])), "- acl.deny_cn: evil");
  assert.equal(words(peer, acl([["org", "acme"]], [["cn", "web"]])), "- acl.deny_cn: web");
});

test("without a certificate", () => {
  const cases: readonly [AclConfig, string][] = [
    [acl(), "+ no certificate shown, none needed"],
    [acl([], [["cn", "web"]]), "+ no certificate shown, none needed"],
    [acl([["cn", "web"]]), "- no certificate shown, and there are allow rules"],
    [
      acl([["spki", `sha256:${EMPTY_PEER.spki}`]]),
      "- no certificate shown, and there are allow rules",
    ],
    [acl([["cn", "web"]], [], { allowAnonymous: true }), "+ no certificate shown, none needed"],
    [acl([], [], { allowAnonymous: true }), "+ no certificate shown, none needed"],
  ];
  for (const [rules, expected] of cases) assert.equal(words(undefined, rules), expected);
});

test("a certificate that rules deny is denied although none would do", () => {
  const rules = acl([["cn", "db"]], [], { allowAnonymous: true });
  assert.equal(words(WEB, rules), "- no allow rule matches");
});

function summary(decision: Decision): string {
  if (!decision.admit) return "denied";
  assert.ok(decision.permit instanceof Permit);
  assert.equal(decision.permit.basis, decision.verdict.basis);
  return decision.wouldDeny ? "would deny" : "allowed";
}

test("on trial everybody with a certificate is let in, and told apart", () => {
  const cases: readonly [PeerIdentity | undefined, AclConfig, string, string][] = [
    [WEB, acl([["cn", "web"]]), "allowed", "allowed"],
    [WEB, acl([["cn", "db"]]), "denied", "would deny"],
    [WEB, acl([], [["cn", "web"]]), "denied", "would deny"],
    [WEB, acl(), "allowed", "allowed"],
    [undefined, acl(), "allowed", "allowed"],
    // It has no certificate, valid or not: what lets it in is allow_anonymous.
    [undefined, acl([["cn", "web"]]), "denied", "denied"],
    [undefined, acl([["cn", "web"]], [], { allowAnonymous: true }), "allowed", "allowed"],
  ];
  for (const [peer, rules, enforced, audited] of cases) {
    assert.equal(summary(authorize(peer, rules)), enforced);
    assert.equal(summary(authorize(peer, { ...rules, mode: "audit" })), audited);
  }
});

test("a permit cannot be made outside", () => {
  const verdict: Verdict = { allowed: true, basis: { kind: "open" } };
  // @ts-expect-error: the constructor is private
  assert.throws(() => new Permit(Symbol("mint"), verdict), {
    name: "TypeError",
    message: "Cannot make a permit: only authorize does",
  });
  assert.throws(() => Reflect.construct(Permit, [Symbol.for("mint"), verdict]), TypeError);
  const basis: Basis = verdict.basis;
  // @ts-expect-error: what looks like one is none
  const alike: Permit = { basis };
  assert.equal(alike instanceof Permit, false);
  const shell: Permit = Object.create(Permit.prototype);
  assert.throws(() => shell.basis, TypeError);
  const real = authorize(EMPTY_PEER, acl());
  assert.ok(real.admit);
  const maker = real.permit.constructor;
  assert.throws(() => Reflect.construct(maker, [undefined, verdict]), TypeError);
  const statics = Object.getOwnPropertyNames(Permit).toSorted();
  assert.deepEqual(statics, ["length", "name", "prototype"]);
});
