/**
 * Chains to begin with: sound ones, hostile ones, and one for each rule of path validation.
 *
 * @module
 */

import * as der from "../support/der.ts";
import * as pki from "../support/pki.ts";
import { bundle, fixed } from "./keys.ts";

const POLICY = "1.3.6.1.4.1.99999.1";
const OTHER_POLICY = "1.3.6.1.4.1.99999.2";
const ANY_POLICY = "2.5.29.32.0";

function policies(...oids: string[]): der.Der {
  return pki.extension(
    "certificatePolicies",
    der.seq(...oids.map((oid) => der.seq(der.oid(oid)))),
    true,
  );
}

/** Policy mappings, constraints and inhibitAnyPolicy (RFC 5280 sections 4.2.1.5, .11 and .14). */
function policyRules(): der.Der[] {
  const mapping = der.seq(der.oid(POLICY), der.oid(OTHER_POLICY));
  const skip = (tag: number, certificates: number) =>
    der.implicit(tag, Uint8Array.of(certificates));
  return [
    policies(POLICY, ANY_POLICY),
    pki.extension("2.5.29.33", der.seq(mapping), true),
    pki.extension("policyConstraints", der.seq(skip(0, 0), skip(1, 1)), true),
    pki.extension("inhibitAnyPolicy", der.int(0), true),
  ];
}

/** Each a chain, the peer's own certificate first. */
export function chains(): readonly (readonly Uint8Array[])[] {
  const [root, limited, pinned] = bundle();
  if (root === undefined || limited === undefined || pinned === undefined) return [];
  const middle = pki.makeCa(fixed(4, { subject: "middle", issuer: root }));
  const lower = pki.makeCa(fixed(5, { subject: "lower", issuer: middle, pathLength: 0 }));
  const below = pki.makeCa(fixed(6, { subject: "below limited", issuer: limited }));
  const san = [pki.dns("a.example"), pki.ip("10.0.0.1"), pki.uri("spiffe://a.example/x")];
  const leaf = (issuer: pki.Issued, options: pki.LeafOptions = {}) =>
    pki.makeLeaf(fixed(7, { subject: "leaf", ...options }), issuer);
  const ruled = pki.makeCa(fixed(8, { subject: "ruled", issuer: root, extra: policyRules() }));
  const constrained = pki.makeCa(fixed(9, {
    subject: "constrained",
    issuer: root,
    extra: [pki.nameConstraints({
      permitted: [pki.directory({ O: "acme" }), pki.email("a.example"), pki.uri(".a.example")],
      excluded: [pki.ip("2001:db8::/32"), pki.dns("no.a.example")],
    })],
  }));
  const old = { notBefore: new Date("2020-01-01Z"), notAfter: new Date("2021-01-01Z") };
  const untrusted = pki.makeCa(fixed(10, { subject: "stranger" }));
  const cross = pki.makeCa(fixed(4, { subject: "middle", issuer: untrusted }));
  const loop = pki.makeCa(fixed(10, { subject: "stranger", issuer: middle }));
  // Six namesakes that all lead to the root, so that every order of them is a path.
  const mesh = [4, 5, 6, 8, 9, 11].map((key) =>
    pki.makeCa(fixed(key, { subject: "root", issuer: root }))
  );
  return [
    [leaf(root), root],
    [leaf(lower, { san }), lower, middle],
    [leaf(lower), middle, untrusted, lower],
    [leaf(below, { san: [pki.dns("x.a.example")] }), below],
    [leaf(below, { san: [pki.dns("no.a.example")] }), below],
    [pinned],
    [leaf(root, old)],
    [leaf(middle), pki.makeCa(fixed(4, { subject: "middle", issuer: root, ...old }))],
    [leaf(middle), pki.makeLeaf(fixed(4, { subject: "middle" }), root)],
    [leaf(middle), cross, loop, middle],
    [leaf(ruled, { extra: [policies(OTHER_POLICY)] }), ruled],
    [
      leaf(constrained, { subject: { O: "acme", CN: "x" }, san: [pki.email("me@a.example")] }),
      constrained,
    ],
    [leaf(untrusted), untrusted],
    [leaf(root, { role: "server", san: [pki.dns("localhost")] })],
    [leaf(root, { extra: [pki.extension("unknown", der.nil(), true)] })],
    [leaf(root), ...mesh],
  ].map((chain) => chain.map((one) => one.der));
}
