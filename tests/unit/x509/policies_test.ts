/**
 * Policy processing against an oracle: the valid policy tree of RFC 5280 section 6.1, written as the
 * standard has it, on thousands of random paths; and the paths that make such a tree grow without end.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Name, PolicyExtensions } from "../../../src/x509/certificate.ts";
import { type PolicyCertificate, policyFault } from "../../../src/x509/policies.ts";
import { Prng } from "../../support/prng.ts";

const ANY = "551d2000";

function name(text: string): Name {
  const attribute = { oid: "2.5.4.3", value: text, guess: text };
  return { key: text, attributes: [attribute], der: new Uint8Array() };
}

const NONE: PolicyExtensions = {
  policies: undefined,
  mappings: [],
  requireExplicitPolicy: undefined,
  inhibitPolicyMapping: undefined,
  inhibitAnyPolicy: undefined,
};

function certificate(
  subject: string,
  issuer: string,
  policy: Partial<PolicyExtensions>,
): PolicyCertificate {
  return { subject: name(subject), issuer: name(issuer), policy: { ...NONE, ...policy } };
}

type Node = {
  readonly policy: string;
  expected: readonly string[];
  readonly children: Node[];
};

/** The nodes of a depth with their parents; depth 0 is the root. */
function level(root: Node, depth: number): { node: Node; parent: Node | undefined }[] {
  let nodes: { node: Node; parent: Node | undefined }[] = [{ node: root, parent: undefined }];
  for (let i = 0; i < depth; i++) {
    nodes = nodes.flatMap(({ node }) =>
      node.children.map((child) => ({ node: child, parent: node }))
    );
  }
  return nodes;
}

/** Deletes nodes above `depth` without children; the tree that is left. */
function prune(root: Node, depth: number): Node | undefined {
  for (let d = depth - 1; d >= 1; d--) {
    for (const { node, parent } of level(root, d)) {
      if (node.children.length === 0) parent?.children.splice(parent.children.indexOf(node), 1);
    }
  }
  return root.children.length === 0 && depth > 0 ? undefined : root;
}

/** RFC 5280 sections 6.1.2 to 6.1.5, step by step; `path` from the first below the anchor to the leaf. */
function oracle(path: readonly PolicyCertificate[]): boolean {
  const n = path.length;
  let tree: Node | undefined = { policy: ANY, expected: [ANY], children: [] };
  let [explicit, mapping, any] = [n + 1, n + 1, n + 1];
  for (const [index, { subject, issuer, policy }] of path.entries()) {
    const i = index + 1;
    const selfIssued = subject.key === issuer.key;
    // 6.1.3 (d), (e)
    if (policy.policies === undefined) tree = undefined;
    if (tree !== undefined && policy.policies !== undefined) {
      const parents = level(tree, i - 1).map(({ node }) => node);
      for (const p of new Set(policy.policies)) {
        if (p === ANY) continue;
        const matching = parents.filter(({ expected }) => expected.includes(p));
        const from = matching.length > 0 ? matching : parents.filter((node) => node.policy === ANY);
        for (const node of from) node.children.push({ policy: p, expected: [p], children: [] });
      }
      if (policy.policies.includes(ANY) && (any > 0 || (i < n && selfIssued))) {
        for (const node of parents) {
          for (const expected of node.expected) {
            if (node.children.some((child) => child.policy === expected)) continue;
            node.children.push({ policy: expected, expected: [expected], children: [] });
          }
        }
      }
      tree = prune(tree, i);
    }
    // 6.1.3 (f)
    if (explicit === 0 && tree === undefined) return false;
    if (i === n) {
      // 6.1.5 (a), (b), (g)
      if (explicit !== 0) explicit--;
      if (policy.requireExplicitPolicy === 0) explicit = 0;
      return explicit > 0 || tree !== undefined;
    }
    // 6.1.4 (a)
    if (policy.mappings.some((pair) => pair.issuer === ANY || pair.subject === ANY)) return false;
    // 6.1.4 (b)
    for (const id of new Set(policy.mappings.map((pair) => pair.issuer))) {
      if (tree === undefined) break;
      const subjects = policy.mappings.filter((pair) => pair.issuer === id)
        .map((pair) => pair.subject);
      const nodes = level(tree, i);
      if (mapping > 0) {
        const own = nodes.filter(({ node }) => node.policy === id);
        for (const { node } of own) node.expected = subjects;
        const anyNode = nodes.find(({ node }) => node.policy === ANY);
        if (own.length === 0 && anyNode !== undefined) {
          anyNode.parent?.children.push({ policy: id, expected: subjects, children: [] });
        }
      } else {
        for (const { node, parent } of nodes) {
          if (node.policy === id) parent?.children.splice(parent.children.indexOf(node), 1);
        }
        tree = prune(tree, i);
      }
    }
    // 6.1.4 (h) to (j)
    if (!selfIssued) {
      explicit = Math.max(0, explicit - 1);
      mapping = Math.max(0, mapping - 1);
      any = Math.max(0, any - 1);
    }
    explicit = Math.min(explicit, policy.requireExplicitPolicy ?? explicit);
    mapping = Math.min(mapping, policy.inhibitPolicyMapping ?? mapping);
    any = Math.min(any, policy.inhibitAnyPolicy ?? any);
  }
  throw new TypeError("Cannot process a path of nothing");
}

function randomPath(random: Prng): PolicyCertificate[] {
  const some = (): string => random.oneIn(6) ? ANY : `0${random.int(4)}`;
  const count = (): number | undefined => random.oneIn(4) ? random.int(4) : undefined;
  const list = (max: number): string[] => Array.from({ length: 1 + random.int(max) }, some);
  const path: PolicyCertificate[] = [];
  let issuer = "anchor";
  for (let left = 1 + random.int(5); left > 0; left--) {
    const subject = random.oneIn(4) ? issuer : `${left}`;
    const mapped = random.oneIn(2)
      ? list(3).map((from) => ({ issuer: from, subject: some() }))
      : [];
    // any-policy in a mapping ends most paths: seldom.
    const mappings = mapped.filter(({ issuer: a, subject: b }) =>
      (a !== ANY && b !== ANY) || random.oneIn(10)
    );
    path.push(certificate(subject, issuer, {
      policies: random.oneIn(12) ? undefined : list(4),
      mappings,
      requireExplicitPolicy: random.oneIn(3) ? 0 : count(),
      inhibitPolicyMapping: count(),
      inhibitAnyPolicy: count(),
    }));
    issuer = subject;
  }
  return path;
}

Deno.test("policies: the same as the tree of RFC 5280, on random paths", () => {
  const random = new Prng(5_280);
  const anchor = certificate("anchor", "anchor", {});
  let good = 0;
  const rounds = 20_000;
  for (let round = 0; round < rounds; round++) {
    const path = randomPath(random);
    const fine = policyFault([...path.toReversed(), anchor]) === undefined;
    const copy = structuredClone(path);
    assert.equal(fine, oracle(path), `round ${round}: ${JSON.stringify(copy)}`);
    if (fine) good++;
  }
  assert.ok(good > rounds / 5 && good < rounds * 4 / 5, `${good} of ${rounds} were good`);
});

Deno.test("policies: a tree that would have 10^12 nodes costs what its certificates hold", () => {
  const many = Array.from({ length: 70 }, (_, i) => `0${i}`);
  const mappings = many.flatMap((issuer) => many.map((subject) => ({ issuer, subject })));
  const anchor = certificate("anchor", "anchor", { requireExplicitPolicy: 0 });
  for (const policies of [many, [ANY], [...many, ANY]]) {
    const below = Array.from(
      { length: 7 },
      (_, i) => certificate(`${i + 1}`, i === 0 ? "anchor" : `${i}`, { policies, mappings }),
    );
    assert.equal(policyFault([...below.toReversed(), anchor]), undefined);
    const stranger = certificate("x", "7", { policies: ["ff"] });
    const fault = policyFault([stranger, ...below.toReversed(), anchor]);
    // After any-policy every policy is one that may be named.
    if (policies.includes(ANY)) assert.equal(fault, undefined);
    else assert.match(fault ?? "", /^certificate CN=x names no certificate policy/);
  }
});
