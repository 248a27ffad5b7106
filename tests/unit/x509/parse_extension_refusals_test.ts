/**
 * Every reason why an extension is refused, critical or not.
 *
 * @module
 */

import assert from "node:assert/strict";
import * as der from "../../support/der.ts";
import * as pki from "../../support/pki.ts";
import { refusal } from "../../support/x509/validate.ts";

const { raw } = der;

const ext = (value: Uint8Array): Uint8Array => pki.extension("unknown", value);
const basic = (...fields: Uint8Array[]): Uint8Array =>
  pki.extension("basicConstraints", der.seq(...fields), true);
const usage = (value: Uint8Array): Uint8Array => pki.extension("keyUsage", value);
const eku = (value: Uint8Array): Uint8Array => pki.extension("extendedKeyUsage", value);
const san = (...names: Uint8Array[]): Uint8Array => pki.subjectAltName(names);
const policy = (id: string, value: Uint8Array): Uint8Array => pki.extension(id, value);
const constraints = (value: Uint8Array): Uint8Array => pki.extension("nameConstraints", value);
const tree = (tag: number, ...subtrees: Uint8Array[]): Uint8Array => der.tlv(tag, ...subtrees);
const unknown = der.oid(pki.OID.unknown);

const REFUSED: readonly [string, readonly Uint8Array[] | Uint8Array, string][] = [
  ["empty list", der.explicit(3, der.seq()), "list of extensions is empty"],
  ["no list", der.explicit(3), "extensions is missing"],
  [
    "two lists",
    der.explicit(3, der.seq(ext(der.nil())), der.seq(ext(der.nil()))),
    "extensions has bytes left over at its end",
  ],
  [
    "set of extensions",
    der.explicit(3, der.set(ext(der.nil()))),
    "extensions has tag 0x31 where 0x30 belongs",
  ],
  ["extension that is none", [der.nil()], "extension has tag 0x05 where 0x30 belongs"],
  ["without OID", [der.seq(der.octet())], "extension has tag 0x04 where 0x06 belongs"],
  ["without value", [der.seq(unknown)], "extension 1.3.6.1.4.1.55555.1 is missing"],
  [
    "value that is no octets",
    [der.seq(unknown, der.nil())],
    "extension 1.3.6.1.4.1.55555.1 has tag 0x05 where 0x04 belongs",
  ],
  [
    "two values",
    [der.seq(unknown, der.octet(), der.octet())],
    "extension 1.3.6.1.4.1.55555.1 has bytes left over at its end",
  ],
  [
    "criticality of another true",
    [der.seq(unknown, der.tlv(1, raw("01")), der.octet())],
    "extension 1.3.6.1.4.1.55555.1 criticality is a BOOLEAN that is not DER",
  ],
  [
    "criticality twice",
    [der.seq(unknown, der.bool(true), der.bool(true), der.octet())],
    "extension 1.3.6.1.4.1.55555.1 has tag 0x01 where 0x04 belongs",
  ],
  [
    "the same unknown one twice",
    [ext(der.nil()), ext(der.bool(true))],
    "extension 1.3.6.1.4.1.55555.1 stands there twice",
  ],
  [
    "the same known one twice",
    [basic(der.bool(true)), usage(der.namedBits([5])), basic()],
    "extension 2.5.29.19 stands there twice",
  ],
  [
    "CA flag of another true",
    [basic(der.tlv(1, raw("01")))],
    "basic constraints is a BOOLEAN that is not DER",
  ],
  [
    "path length before the flag",
    [basic(der.int(1), der.bool(true))],
    "basic constraints has bytes left over at its end",
  ],
  ["negative path length", [basic(der.bool(true), der.int(-1))], "basic constraints is negative"],
  [
    "padded path length",
    [basic(der.bool(true), der.int(raw("0001")))],
    "basic constraints is an INTEGER that is not DER",
  ],
  ["huge path length", [basic(der.bool(true), der.int(2 ** 31))], "basic constraints is too large"],
  [
    "basic constraints that are none",
    [pki.extension("basicConstraints", der.nil())],
    "basic constraints has tag 0x05 where 0x30 belongs",
  ],
  [
    "basic constraints with more behind",
    [pki.extension("basicConstraints", raw("300000"))],
    "basic constraints has bytes left over at its end",
  ],
  ["key usage that is none", [usage(der.seq())], "key usage has tag 0x30 where 0x03 belongs"],
  [
    "key usage with unused bits set",
    [usage(raw("030207ff"))],
    "key usage has unused bits that are set, which is not DER",
  ],
  ["key usage of nine unused bits", [usage(raw("03020980"))], "key usage is not a BIT STRING"],
  [
    "key usage with more behind",
    [usage(raw("0302078000"))],
    "key usage has bytes left over at its end",
  ],
  ["empty key usage", [usage(raw(""))], "key usage is missing"],
  ["no purposes", [eku(der.seq())], "extended key usage is empty"],
  [
    "purpose that is no OID",
    [eku(der.seq(der.utf8("x")))],
    "extended key usage has tag 0x0c where 0x06 belongs",
  ],
  [
    "bad OID as purpose",
    [eku(der.seq(der.tlv(6, raw("2b80"))))],
    "extended key usage is an OID that is not DER",
  ],
  ["no names", [san()], "subject alternative name is empty"],
  [
    "a name that is none",
    [san(der.utf8("a.example"))],
    "subject alternative name holds no general name",
  ],
  [
    "address of 5 bytes",
    [san(pki.ip(new Uint8Array(5)))],
    "subject alternative name holds an address of 5 bytes",
  ],
  [
    "address with mask",
    [san(pki.ip("10.0.0.0/8"))],
    "subject alternative name holds an address of 8 bytes",
  ],
  ["empty address", [san(pki.ip(raw("")))], "subject alternative name holds an address of 0 bytes"],
  [
    "directory name that is none",
    [san(der.tlv(0xa4, der.nil()))],
    "subject alternative name has tag 0x05 where 0x30 belongs",
  ],
  [
    "two directory names in one",
    [san(der.tlv(0xa4, pki.name("a"), pki.name("b")))],
    "subject alternative name has bytes left over at its end",
  ],
  ["empty constraints", [constraints(der.seq())], "name constraints is empty"],
  [
    "empty list of constraints",
    [constraints(der.seq(tree(0xa0)))],
    "name constraints has an empty list",
  ],
  ["empty list of exclusions", [
    constraints(der.seq(tree(0xa0, der.seq(pki.dns("a"))), tree(0xa1))),
  ], "name constraints has an empty list"],
  ["constraints in the wrong order", [
    constraints(der.seq(tree(0xa1, der.seq(pki.dns("a"))), tree(0xa0, der.seq(pki.dns("a"))))),
  ], "name constraints has bytes left over at its end"],
  ["constraint with a minimum", [
    constraints(der.seq(tree(0xa0, der.seq(pki.dns("a"), der.implicit(0, der.int(1)))))),
  ], "name constraints has a minimum that is not 0"],
  ["constraint with a maximum", [
    constraints(der.seq(tree(0xa0, der.seq(pki.dns("a"), der.implicit(1, der.int(1)))))),
  ], "name constraints has bytes left over at its end"],
  [
    "constraint without base",
    [constraints(der.seq(tree(0xa0, der.seq())))],
    "name constraints is missing",
  ],
  ["constraint on an address without mask", [
    constraints(der.seq(tree(0xa0, der.seq(pki.ip("10.0.0.1"))))),
  ], "name constraints holds an address of 4 bytes"],
  ["constraint that is not ASCII", [
    constraints(der.seq(tree(0xa0, der.seq(der.implicit(2, der.octet(raw("ff"))))))),
  ], "name constraints is not ASCII"],
  [
    "policies that are no list",
    [policy("certificatePolicies", der.nil())],
    "certificate policies has tag 0x05 where 0x30 belongs",
  ],
  ["no policies", [policy("certificatePolicies", der.seq())], "certificate policies is empty"],
  [
    "a policy that is no OID",
    [policy("certificatePolicies", der.seq(der.seq(der.utf8("x"))))],
    "certificate policies has tag 0x0c where 0x06 belongs",
  ],
  [
    "an empty policy",
    [policy("certificatePolicies", der.seq(der.seq(der.tlv(6))))],
    "certificate policies is not an OID",
  ],
  ["a policy that is cut off", [
    policy("certificatePolicies", der.seq(der.seq(der.tlv(6, raw("2a83"))))),
  ], "certificate policies is not an OID"],
  ["a policy with a padded arc", [
    policy("certificatePolicies", der.seq(der.seq(der.tlv(6, raw("2a8003"))))),
  ], "certificate policies is an OID that is not DER"],
  ["a policy with more behind", [
    policy("certificatePolicies", der.seq(der.seq(der.oid("1.2.3"), der.seq(), der.nil()))),
  ], "certificate policies has bytes left over at its end"],
  ["a qualifier without a value", [
    policy(
      "certificatePolicies",
      der.seq(der.seq(der.oid("1.2.3"), der.seq(der.seq(der.oid("1.2.5"))))),
    ),
  ], "certificate policies is missing"],
  ["no mappings", [policy("policyMappings", der.seq())], "policy mappings is empty"],
  [
    "half a mapping",
    [policy("policyMappings", der.seq(der.seq(der.oid("1.2.3"))))],
    "policy mappings is missing",
  ],
  ["a mapping of three", [
    policy("policyMappings", der.seq(der.seq(...["1.2.3", "1.2.4", "1.2.5"].map(der.oid)))),
  ], "policy mappings has bytes left over at its end"],
  [
    "no policy constraints",
    [policy("policyConstraints", der.seq())],
    "policy constraints is empty",
  ],
  ["a policy constraint that nobody knows", [
    policy("policyConstraints", der.seq(der.implicit(2, der.int(0)))),
  ], "policy constraints has bytes left over at its end"],
  ["policy constraints in the wrong order", [
    policy("policyConstraints", der.seq(der.implicit(1, der.int(0)), der.implicit(0, der.int(0)))),
  ], "policy constraints has bytes left over at its end"],
  ["a negative policy constraint", [
    policy("policyConstraints", der.seq(der.implicit(0, der.int(-1)))),
  ], "policy constraints is negative"],
  [
    "inhibitAnyPolicy that is no number",
    [policy("inhibitAnyPolicy", der.nil())],
    "inhibitAnyPolicy has tag 0x05 where 0x02 belongs",
  ],
  [
    "a negative inhibitAnyPolicy",
    [policy("inhibitAnyPolicy", der.int(-1))],
    "inhibitAnyPolicy is negative",
  ],
  [
    "inhibitAnyPolicy with more behind",
    [policy("inhibitAnyPolicy", raw("0201000500"))],
    "inhibitAnyPolicy has bytes left over at its end",
  ],
  [
    "CRL distribution points that are no list",
    [pki.extension("crlDistributionPoints", der.nil())],
    "CRL distribution points has tag 0x05 where 0x30 belongs",
  ],
  ["CRL distribution points with more behind", [
    pki.extension("crlDistributionPoints", raw("300000")),
  ], "CRL distribution points has bytes left over at its end"],
];

Deno.test({
  name: "parse: each flaw of an extension is refused with its own words",
  permissions: "none",
  fn() {
    for (const [what, extensions, message] of REFUSED) {
      assert.equal(refusal(pki.issue({ extensions }).der), message, what);
    }
  },
});
