/**
 * NIST's Public Key Interoperability Test Suite (PKITS 1.0.1), sections 4.8 to 4.13, rebuilt with the test
 * PKI: the same tests by number and name, the same kinds of chains, and the verdicts for a user who takes
 * any policy. Names and keys are our own.
 *
 * @module
 */

import * as der from "../../support/der.ts";
import * as pki from "../../support/pki.ts";

/** A policy of the suite, `NIST-test-policy-1` to `-6`, or any-policy. */
export type Policy = 1 | 2 | 3 | 4 | 5 | 6 | "any";

/** One certificate of a chain. What is left out is sound and says nothing about policies. */
export type Link = {
  /** Bears the name of its issuer. */
  readonly self?: true;
  readonly policies?: readonly Policy[];
  /** The policies have qualifiers: a user notice, a pointer to a statement. */
  readonly qualified?: true;
  readonly map?: readonly (readonly [issuer: Policy, subject: Policy])[];
  readonly explicit?: number;
  readonly inhibitMapping?: number;
  readonly inhibitAny?: number;
  readonly permitted?: readonly Uint8Array[];
  readonly excluded?: readonly Uint8Array[];
  readonly subject?: pki.NameInput;
  readonly san?: readonly Uint8Array[];
};

/** A test: its number, the name that PKITS gives it, and the certificates below the trust anchor. */
export type PkitsTest = readonly [number: string, title: string, ...chain: Link[]];

function policyOid(policy: Policy): Uint8Array {
  return der.oid(policy === "any" ? "2.5.29.32.0" : `2.16.840.1.101.3.2.1.48.${policy}`);
}

const NOTICE = der.seq(der.oid("1.3.6.1.5.5.7.2.2"), der.seq(der.utf8("for tests only")));
const STATEMENT = der.seq(der.oid("1.3.6.1.5.5.7.2.1"), der.ia5("http://a.example/cps"));

/** The extensions of a link; policies are critical where `critical` says so, as CAs may have them. */
export function linkExtensions(link: Link, critical: boolean): Uint8Array[] {
  const { policies, qualified, map, explicit, inhibitMapping, inhibitAny } = link;
  const constraints = [
    ...(explicit === undefined ? [] : [der.implicit(0, der.int(explicit))]),
    ...(inhibitMapping === undefined ? [] : [der.implicit(1, der.int(inhibitMapping))]),
  ];
  const information = (policy: Policy): Uint8Array =>
    der.seq(policyOid(policy), ...(qualified ? [der.seq(NOTICE, STATEMENT)] : []));
  const { permitted, excluded } = link;
  return [
    ...(policies
      ? [pki.extension("certificatePolicies", der.seq(...policies.map(information)), critical)]
      : []),
    ...(map
      ? [pki.extension(
        "policyMappings",
        der.seq(...map.map(([from, to]) => der.seq(policyOid(from), policyOid(to)))),
        critical,
      )]
      : []),
    ...(constraints.length > 0
      ? [pki.extension("policyConstraints", der.seq(...constraints), true)]
      : []),
    ...(inhibitAny === undefined
      ? []
      : [pki.extension("inhibitAnyPolicy", der.int(inhibitAny), true)]),
    ...(permitted || excluded
      ? [pki.nameConstraints({
        ...(permitted ? { permitted } : {}),
        ...(excluded ? { excluded } : {}),
      })]
      : []),
  ];
}

/** Makes the chain: the leaf, what is between, and the trust anchor. */
export function makeChain(
  links: readonly Link[],
  critical = false,
): { readonly leaf: pki.Issued; readonly middles: pki.Issued[]; readonly anchor: pki.Issued } {
  const anchor = pki.makeCa({ subject: "Trust Anchor" });
  const middles: pki.Issued[] = [];
  let issuer = anchor;
  for (const [i, link] of links.slice(0, -1).entries()) {
    const subject = link.self ? issuer.subject : link.subject ?? `CA ${i}`;
    issuer = pki.makeCa({ subject, issuer, extra: linkExtensions(link, critical) });
    middles.unshift(issuer);
  }
  const last = links.at(-1) ?? {};
  const leaf = pki.makeLeaf({
    subject: last.self ? issuer.subject : last.subject ?? "EE",
    // Critical policies on a leaf are for another table: the TLS engine cannot read them.
    extra: linkExtensions(last, false),
    ...(last.san ? { san: last.san } : {}),
  }, issuer);
  return { leaf, middles, anchor };
}

const NONE: Link = {};
const p = (...policies: Policy[]): Link => ({ policies });
const strict = (...policies: Policy[]): Link => ({ policies, explicit: 0 });
const self = (...policies: Policy[]): Link => ({ policies, self: true });

const POLICIES: readonly PkitsTest[] = [
  ["4.8.1", "All Certificates Same Policy", p(1), p(1)],
  ["4.8.2", "All Certificates No Policies", NONE, NONE],
  ["4.8.3", "Different Policies", p(1), p(2), p(1)],
  ["4.8.4 !", "Different Policies", p(1), strict(1), p(2)],
  ["4.8.5 !", "Different Policies", p(1), strict(2), p(2)],
  [
    "4.8.6",
    "Overlapping Policies",
    strict(1, 2, 3, 4),
    p(1, 2, 3),
    p(1, 2),
    p(1),
  ],
  ["4.8.7 !", "Different Policies", strict(1, 2, 3), p(1, 2), p(1), p(3)],
  ["4.8.8 !", "Different Policies", strict(1, 2), p(1), p(2), p(1)],
  ["4.8.9 !", "Different Policies", strict(1, 2, 3), p(1, 2), p(2), p(1), p(1)],
  ["4.8.10", "All Certificates Same Policies", strict(1, 2), p(1, 2)],
  ["4.8.11", "All Certificates AnyPolicy", strict("any"), p("any")],
  ["4.8.12 !", "Different Policies", strict(3), p(4)],
  ["4.8.13", "All Certificates Same Policies", strict(1, 2, 3), p(1, 2, 3)],
  ["4.8.14", "AnyPolicy", strict("any"), p(1)],
  ["4.8.15", "User Notice Qualifier", { ...p(1), qualified: true }],
  ["4.8.16", "User Notice Qualifier", strict(1), { ...p(1), qualified: true }],
  ["4.8.17", "User Notice Qualifier", strict(1), { ...p(1), qualified: true }],
  ["4.8.18", "User Notice Qualifier", strict(1, 2), { ...p(1, 2), qualified: true }],
  ["4.8.19", "User Notice Qualifier", { ...p(1), qualified: true }],
  ["4.8.20", "CPS Pointer Qualifier", { ...strict(1), qualified: true }, p(1)],
];

const explicit = (count: number, ...policies: Policy[]): Link => ({
  policies,
  explicit: count,
});

const REQUIRE_EXPLICIT: readonly PkitsTest[] = [
  ["4.9.1", "Valid RequireExplicitPolicy", explicit(10, 1), p(1), p(1), p(1), NONE],
  ["4.9.2", "Valid RequireExplicitPolicy", explicit(5, 1), p(1), p(1), p(1), NONE],
  ["4.9.3 !", "Invalid RequireExplicitPolicy", explicit(4, 1), p(1), p(1), p(1), NONE],
  ["4.9.4", "Valid RequireExplicitPolicy", explicit(0, 1), p(1), p(1), p(1), p(1)],
  [
    "4.9.5 !",
    "Invalid RequireExplicitPolicy",
    explicit(7, 1),
    explicit(2, 1),
    explicit(4, 1),
    p(1),
    NONE,
  ],
  ["4.9.6", "Valid Self-Issued requireExplicitPolicy", explicit(2, 1), self(1), NONE],
  ["4.9.7 !", "Invalid Self-Issued requireExplicitPolicy", explicit(2, 1), self(1), p(1), NONE],
  [
    "4.9.8 !",
    "Invalid Self-Issued requireExplicitPolicy",
    explicit(2, 1),
    self(1),
    p(1),
    self(1),
    NONE,
  ],
];

const mapping1to2: Link = { ...strict(1), map: [[1, 2]] };
const mapping1to3: readonly Link[] = [
  strict(1, 2),
  { ...p(1, 2), map: [[1, 3]] },
  { ...p(2, 3), map: [[3, 4]] },
];
const mapping1to234: readonly Link[] = [
  strict(1),
  { ...p(1), map: [[1, 2], [1, 3], [1, 4]] },
];
const anyMapping1to2: readonly Link[] = [strict(1), { ...p("any"), map: [[1, 2]] }];

const MAPPINGS: readonly PkitsTest[] = [
  ["4.10.1", "Valid Policy Mapping", mapping1to2, p(2)],
  ["4.10.2 !", "Invalid Policy Mapping", mapping1to2, p(1)],
  ["4.10.3", "Valid Policy Mapping", ...mapping1to3, p(2)],
  ["4.10.4 !", "Invalid Policy Mapping", ...mapping1to3, p(1)],
  ["4.10.5", "Valid Policy Mapping", ...mapping1to234, p(2)],
  ["4.10.6", "Valid Policy Mapping", ...mapping1to234, p(4)],
  [
    "4.10.7 !",
    "Invalid Mapping From anyPolicy",
    { ...strict("any"), map: [["any", 1]] },
    p("any"),
  ],
  ["4.10.8 !", "Invalid Mapping To anyPolicy", { ...strict(1), map: [[1, "any"]] }, p(1)],
  ["4.10.9", "Valid Policy Mapping", { ...strict("any"), map: [[1, 2]] }, p(1)],
  ["4.10.10 !", "Invalid Policy Mapping", ...anyMapping1to2, p(1)],
  ["4.10.11", "Valid Policy Mapping", ...anyMapping1to2, p(2)],
  [
    "4.10.12",
    "Valid Policy Mapping",
    { ...strict(1, 2), map: [[1, 3]] },
    { ...p(3), qualified: true },
  ],
  ["4.10.13", "Valid Policy Mapping", { ...strict(1, "any"), map: [[1, 2]] }, p(2)],
  ["4.10.14", "Valid Policy Mapping", { ...strict(1, "any"), map: [[1, 2]] }, p(1)],
];

const inhibitMapping = (count: number, ...policies: Policy[]): Link => ({
  policies,
  explicit: 0,
  inhibitMapping: count,
});
const inhibit1: readonly Link[] = [
  inhibitMapping(1, 1, 2),
  { ...p(1, 2), map: [[1, 3], [2, 4]] },
];
const inhibit1More: readonly Link[] = [...inhibit1, { ...p(3, 4), map: [[3, 5]] }];
const inhibit1Self: readonly Link[] = [
  inhibitMapping(1, 1),
  self(1),
  { ...p(1), map: [[1, 2]] },
];

const INHIBIT_MAPPING: readonly PkitsTest[] = [
  [
    "4.11.1 !",
    "Invalid inhibitPolicyMapping",
    inhibitMapping(0, 1),
    { ...p(1), map: [[1, 2]] },
    p(2),
  ],
  ["4.11.2", "Valid inhibitPolicyMapping", ...inhibit1, p(3)],
  ["4.11.3 !", "Invalid inhibitPolicyMapping", ...inhibit1More, p(5)],
  ["4.11.4", "Valid inhibitPolicyMapping", ...inhibit1More, p(4)],
  [
    "4.11.5 !",
    "Invalid inhibitPolicyMapping",
    inhibitMapping(5, 1),
    { ...p(1), inhibitMapping: 1 },
    p(1),
    { ...p(1), map: [[1, 2]] },
    p(2),
  ],
  [
    "4.11.6 !",
    "Invalid inhibitPolicyMapping",
    inhibitMapping(1, 1, 2),
    { ...p(1, 2), inhibitMapping: 5 },
    { ...p(1, 2), map: [[1, 3]] },
    p(3),
  ],
  ["4.11.7", "Valid Self-Issued inhibitPolicyMapping", ...inhibit1Self, p(2)],
  [
    "4.11.8 !",
    "Invalid Self-Issued inhibitPolicyMapping",
    ...inhibit1Self,
    { ...p(2), map: [[2, 3]] },
    p(3),
  ],
  [
    "4.11.9 !",
    "Invalid Self-Issued inhibitPolicyMapping",
    ...inhibit1Self,
    { ...p(2), map: [[2, 3]] },
    p(2),
  ],
  [
    "4.11.10 !",
    "Invalid Self-Issued inhibitPolicyMapping",
    ...inhibit1Self,
    { ...self(2), map: [[2, 3]] },
    p(3),
  ],
  [
    "4.11.11 !",
    "Invalid Self-Issued inhibitPolicyMapping",
    ...inhibit1Self,
    { ...self(2), map: [[2, 3]] },
    p(2),
  ],
];

const inhibitAny = (count: number, ...policies: Policy[]): Link => ({
  policies,
  explicit: 0,
  inhibitAny: count,
});
const any1Self: readonly Link[] = [inhibitAny(1, 1), self(1), p("any")];

const INHIBIT_ANY: readonly PkitsTest[] = [
  ["4.12.1 !", "Invalid inhibitAnyPolicy", inhibitAny(0, 1), p("any")],
  ["4.12.2", "Valid inhibitAnyPolicy", inhibitAny(0, 1), p("any", 1)],
  ["4.12.3", "inhibitAnyPolicy", inhibitAny(1, 1), p("any"), p(1)],
  ["4.12.4 !", "Invalid inhibitAnyPolicy", inhibitAny(1, 1), p("any"), p("any")],
  [
    "4.12.5 !",
    "Invalid inhibitAnyPolicy",
    inhibitAny(5, 1),
    { ...p(1), inhibitAny: 1 },
    p("any"),
    p("any"),
  ],
  [
    "4.12.6 !",
    "Invalid inhibitAnyPolicy",
    inhibitAny(1, 1),
    { ...p(1), inhibitAny: 5 },
    p("any"),
  ],
  ["4.12.7", "Valid Self-Issued inhibitAnyPolicy", ...any1Self, p(1)],
  ["4.12.8 !", "Invalid Self-Issued inhibitAnyPolicy", ...any1Self, p("any"), p(1)],
  ["4.12.9", "Valid Self-Issued inhibitAnyPolicy", ...any1Self, self("any"), p(1)],
  ["4.12.10 !", "Invalid Self-Issued inhibitAnyPolicy", ...any1Self, self("any"), p("any")],
];

const dn = (...units: string[]): pki.NameInput => ({ C: "US", O: "Test Certificates", OU: units });
const ee = (...units: string[]): pki.NameInput => ({
  C: "US",
  O: "Test Certificates",
  OU: units,
  CN: "EE",
});
const subtree = (...units: string[]): Uint8Array => pki.directory(dn(...units));
const DN1: Link = {
  subject: dn("permittedSubtree1", "CA"),
  permitted: [subtree("permittedSubtree1")],
};
const DN2: Link = { permitted: [subtree("permittedSubtree1"), subtree("permittedSubtree2")] };
const DN3: Link = { excluded: [subtree("excludedSubtree1")] };
const DN4: Link = { excluded: [subtree("excludedSubtree1"), subtree("excludedSubtree2")] };
const DN5: Link = {
  permitted: [subtree("permittedSubtree1")],
  excluded: [subtree("permittedSubtree1", "excludedSubtree1")],
};
const inDn1 = (link: Link): Link => ({ subject: dn("permittedSubtree1", "subCA"), ...link });
const DN1_SUB1 = inDn1({ permitted: [subtree("permittedSubtree2")] });
const DN1_SUB2 = inDn1({ permitted: [subtree("permittedSubtree1", "permittedSubtree2")] });
const DN1_SUB3 = inDn1({ permitted: [pki.email("testcertificates.gov")] });
const DN3_SUB1: Link = { excluded: [subtree("excludedSubtree2")] };
const DN3_SUB2: Link = { permitted: [subtree("permittedSubtree1")] };
const mail = (address: string): Link => ({ san: [pki.email(address)] });
const MAIL1: Link = { permitted: [pki.email(".testcertificates.gov")] };
const MAIL2: Link = { permitted: [pki.email("testcertificates.gov")] };
const MAIL3: Link = { excluded: [pki.email("testcertificates.gov")] };
const host = (name: string): Link => ({ san: [pki.dns(name)] });
const DNS1: Link = { permitted: [pki.dns("testcertificates.gov")] };
const DNS2: Link = { excluded: [pki.dns("invalidcertificates.gov")] };
const page = (address: string): Link => ({ san: [pki.uri(address)] });
const URI1: Link = { permitted: [pki.uri(".testcertificates.gov")] };
const URI2: Link = { excluded: [pki.uri("invalidcertificates.gov")] };

const in1 = { subject: ee("permittedSubtree1") };
const NAMES: readonly PkitsTest[] = [
  ["4.13.1", "Valid DN nameConstraints", DN1, in1],
  ["4.13.2 !", "Invalid DN nameConstraints", DN1, { subject: ee("excludedSubtree1") }],
  [
    "4.13.3 !",
    "Invalid DN nameConstraints",
    DN1,
    { ...in1, san: [pki.directory(ee("excludedSubtree1"))] },
  ],
  ["4.13.4", "Valid DN nameConstraints", DN1, {
    ...in1,
    ...mail("DNnameConstraintsTest4EE@testcertificates.gov"),
  }],
  [
    "4.13.5",
    "Valid DN nameConstraints",
    DN2,
    { ...in1, san: [pki.directory(ee("permittedSubtree2"))] },
  ],
  ["4.13.6", "Valid DN nameConstraints", DN3, in1],
  ["4.13.7 !", "Invalid DN nameConstraints", DN3, { subject: ee("excludedSubtree1") }],
  ["4.13.8 !", "Invalid DN nameConstraints", DN4, { subject: ee("excludedSubtree1") }],
  ["4.13.9 !", "Invalid DN nameConstraints", DN4, { subject: ee("excludedSubtree2") }],
  [
    "4.13.10 !",
    "Invalid DN nameConstraints",
    DN5,
    { subject: ee("permittedSubtree1", "excludedSubtree1") },
  ],
  ["4.13.11", "Valid DN nameConstraints", DN5, {
    subject: ee("permittedSubtree1", "permittedSubtree2"),
  }],
  ["4.13.12 !", "Invalid DN nameConstraints", DN1, DN1_SUB1, { subject: ee("permittedSubtree1") }],
  [
    "4.13.13 !",
    "Invalid DN nameConstraints",
    DN1,
    inDn1(DN1_SUB2),
    { subject: ee("permittedSubtree1") },
  ],
  [
    "4.13.14",
    "Valid DN nameConstraints",
    DN1,
    DN1_SUB2,
    { subject: der.seq(), san: [pki.directory(ee("permittedSubtree1", "permittedSubtree2"))] },
  ],
  ["4.13.15 !", "Invalid DN nameConstraints", DN3, DN3_SUB1, { subject: ee("excludedSubtree1") }],
  ["4.13.16 !", "Invalid DN nameConstraints", DN3, DN3_SUB1, { subject: ee("excludedSubtree2") }],
  ["4.13.17 !", "Invalid DN nameConstraints", DN3, DN3_SUB2, { subject: ee("excludedSubtree1") }],
  ["4.13.18", "Valid DN nameConstraints", DN3, DN3_SUB2, in1],
  [
    "4.13.19",
    "Valid Self-Issued DN nameConstraints",
    { ...DN1, subject: "outside" },
    { ...DN1, self: true },
    in1,
  ],
  [
    "4.13.20 !",
    "Invalid Self-Issued DN nameConstraints",
    { ...DN1, subject: "outside" },
    { self: true },
  ],
  [
    "4.13.21",
    "Valid RFC822 nameConstraints",
    MAIL1,
    mail("Test21EE@mailserver.testcertificates.gov"),
  ],
  ["4.13.22 !", "Invalid RFC822 nameConstraints", MAIL1, mail("Test22EE@testcertificates.gov")],
  ["4.13.23", "Valid RFC822 nameConstraints", MAIL2, mail("Test23EE@testcertificates.gov")],
  [
    "4.13.24 !",
    "Invalid RFC822 nameConstraints",
    MAIL2,
    mail("Test24EE@mailserver.testcertificates.gov"),
  ],
  [
    "4.13.25",
    "Valid RFC822 nameConstraints",
    MAIL3,
    mail("Test25EE@mailserver.testcertificates.gov"),
  ],
  ["4.13.26 !", "Invalid RFC822 nameConstraints", MAIL3, mail("Test26EE@testcertificates.gov")],
  [
    "4.13.27",
    "Valid DN and RFC822 nameConstraints",
    DN1,
    DN1_SUB3,
    { ...in1, ...mail("Test27EE@testcertificates.gov") },
  ],
  [
    "4.13.28 !",
    "Invalid DN and RFC822 nameConstraints",
    DN1,
    DN1_SUB3,
    { ...in1, ...mail("Test28EE@invalidcertificates.gov") },
  ],
  [
    "4.13.29 !",
    "Invalid DN and RFC822 nameConstraints",
    DN1,
    DN1_SUB3,
    {
      subject: {
        C: "US",
        O: "Test Certificates",
        OU: "permittedSubtree1",
        emailAddress: "Test29EE@invalidcertificates.gov",
      },
    },
  ],
  ["4.13.30", "Valid DNS nameConstraints", DNS1, host("testserver.testcertificates.gov")],
  ["4.13.31 !", "Invalid DNS nameConstraints", DNS1, host("testserver.invalidcertificates.gov")],
  ["4.13.32", "Valid DNS nameConstraints", DNS2, host("testserver.testcertificates.gov")],
  ["4.13.33 !", "Invalid DNS nameConstraints", DNS2, host("testserver.invalidcertificates.gov")],
  [
    "4.13.34",
    "Valid URI nameConstraints",
    URI1,
    page("http://testserver.testcertificates.gov/index.html"),
  ],
  [
    "4.13.35 !",
    "Invalid URI nameConstraints",
    URI1,
    page("http://testcertificates.gov/invalid.html"),
  ],
  [
    "4.13.36",
    "Valid URI nameConstraints",
    URI2,
    page("http://testserver.invalidcertificates.gov/index.html"),
  ],
  [
    "4.13.37 !",
    "Invalid URI nameConstraints",
    URI2,
    page("ftp://invalidcertificates.gov:21/test37/"),
  ],
  ["4.13.38 !", "Invalid DNS nameConstraints", DNS1, host("mytestcertificates.gov")],
];

/** All tests; a number with `!` behind it is a chain to refuse. */
export const PKITS: readonly PkitsTest[] = [
  ...POLICIES,
  ...REQUIRE_EXPLICIT,
  ...MAPPINGS,
  ...INHIBIT_MAPPING,
  ...INHIBIT_ANY,
  ...NAMES,
];
