/**
 * What must hold of every decision.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { authorize, evaluateRules } from "../../src/acl/mod.ts";
import { formatBasis, formatNearest } from "../../src/acl/decision.ts";
import { matchRule } from "../../src/acl/match.ts";
import { PeerView } from "../../src/acl/view.ts";
import { peer, ruleOf, RUNS } from "../support/acl_arbitraries.ts";
import { type AclConfig, DIMENSIONS, type Rule, type Side } from "../../src/acl/rule.ts";

/** Any valid rule of the side. */
function anyRule(side: Side): fc.Arbitrary<Rule> {
  return fc.oneof(...DIMENSIONS.map((dimension) => ruleOf(side, dimension)));
}

/** Rules that are enforced or in audit mode. */
const aclConfig: fc.Arbitrary<AclConfig> = fc.record({
  allow: fc.array(anyRule("allow"), { maxLength: 4 }),
  deny: fc.array(anyRule("deny"), { maxLength: 2 }),
  mode: fc.constantFrom("enforce", "audit"),
  allowAnonymous: fc.boolean(),
});

const anybody = fc.option(peer, { nil: undefined, freq: 8 });

function property(name: string, body: fc.IProperty<unknown>): void {
  Deno.test({
    name: `decisions: ${name}`,
    permissions: "none",
    fn: () => fc.assert(body, RUNS),
  });
}

property(
  "are what one would say who reads all rules: a deny beats every allow",
  fc.property(peer, aclConfig, (peer, acl) => {
    const view = new PeerView(peer);
    const denied = acl.deny.some((rule) => matchRule(rule, view) !== undefined);
    const allowed = acl.allow.some((rule) => matchRule(rule, view) !== undefined);
    const { allowed: verdict } = evaluateRules(peer, acl);
    assert.equal(verdict, !denied && (allowed || acl.allow.length === 0));
  }),
);

property(
  "do not depend on the order of the rules",
  fc.property(anybody, aclConfig, fc.nat(5), (peer, acl, by) => {
    const turn = <T>(list: readonly T[]) => [...list.slice(by), ...list.slice(0, by)].toReversed();
    const turned = { ...acl, allow: turn(acl.allow), deny: turn(acl.deny) };
    assert.equal(evaluateRules(peer, turned).allowed, evaluateRules(peer, acl).allowed);
    assert.equal(authorize(peer, turned).admit, authorize(peer, acl).admit);
  }),
);

property(
  "one more allow rule takes access from nobody whom a rule had let in",
  fc.property(peer, aclConfig, anyRule("allow"), (peer, acl, rule) => {
    // The first one is another matter: it ends that everybody is let in.
    if (acl.allow.length === 0) return;
    if (!evaluateRules(peer, acl).allowed) return;
    assert.equal(evaluateRules(peer, { ...acl, allow: [rule, ...acl.allow] }).allowed, true);
  }),
);

property(
  "one more deny rule gives access to nobody",
  fc.property(anybody, aclConfig, anyRule("deny"), (peer, acl, rule) => {
    if (evaluateRules(peer, acl).allowed) return;
    assert.equal(evaluateRules(peer, { ...acl, deny: [...acl.deny, rule] }).allowed, false);
  }),
);

property(
  "on trial exactly those with a certificate are let in, and the verdict is the same",
  fc.property(anybody, aclConfig, (peer, acl) => {
    const enforced = authorize(peer, { ...acl, mode: "enforce" });
    const audited = authorize(peer, { ...acl, mode: "audit" });
    assert.deepEqual(audited.verdict, enforced.verdict);
    assert.equal(audited.admit, peer !== undefined || enforced.admit);
    assert.equal(enforced.admit, enforced.verdict.allowed);
    if (audited.admit) assert.equal(audited.wouldDeny, !enforced.admit);
    if (enforced.admit) assert.equal(enforced.wouldDeny, false);
  }),
);

property(
  "the rule that is named is one of the config, and matches what is shown",
  fc.property(peer, aclConfig, (peer, acl) => {
    const { allowed, basis } = evaluateRules(peer, acl);
    assert.ok(formatBasis(basis).length > 0);
    if (basis.kind === "no_match") {
      const { nearest } = basis;
      if (nearest === undefined) return;
      assert.ok(acl.allow.includes(nearest.rule));
      assert.ok((formatNearest(basis) ?? "").endsWith(`: ${nearest.why}`));
    }
    if (basis.kind !== "rule") return;
    assert.equal(basis.rule.side, allowed ? "allow" : "deny");
    assert.ok((allowed ? acl.allow : acl.deny).includes(basis.rule));
    assert.equal(matchRule(basis.rule, new PeerView(peer)), basis.shown);
  }),
);
