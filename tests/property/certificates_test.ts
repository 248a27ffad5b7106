/**
 * Whatever bytes come, the strict reader answers, soon, with a certificate or a CertificateError.
 *
 * @module
 */

import assert from "node:assert/strict";
import { parseCertificate } from "../../src/x509/parse.ts";
import { identityOf } from "../../src/identity.ts";
import { Buffer } from "node:buffer";
import process from "node:process";
import * as der from "../support/der.ts";
import * as pki from "../support/pki.ts";
import { mutant, spoilBytes } from "../support/x509/mutate.ts";
import { Prng } from "../support/prng.ts";
import { shapes } from "../support/x509/shapes.ts";
import { refusal } from "../support/x509/validate.ts";

const SEED = 20_260_328;

function test(name: string, fn: () => void): void {
  Deno.test({ name: `fuzz: ${name}`, permissions: "none", fn });
}

/** Fails with what is needed to see it again. */
function mustAnswer(bytes: Uint8Array, how: string): boolean {
  try {
    const refused = refusal(bytes);
    if (refused === undefined) identityOf(parseCertificate(bytes), "");
    return refused === undefined;
  } catch (cause) {
    const shown = Buffer.from(bytes.subarray(0, 2_000)).toString("base64");
    throw new Error(`seed ${SEED}, ${how}: ${shown}`, { cause });
  }
}

test("changed certificates", () => {
  const random = new Prng(SEED);
  const bases = shapes();
  let accepted = 0;
  for (let round = 0; round < 6_000; round++) {
    const { name, issued } = random.pick(bases);
    const bytes = round % 2 === 0 ? mutant(issued.der, random) : spoilBytes(issued.der, random);
    if (mustAnswer(bytes, `round ${round}, ${name}`)) accepted++;
  }
  // Changes that are all refused, or all let through, would test nothing.
  assert.ok(accepted > 600 && accepted < 5_000, `${accepted} accepted`);
});

test("every single byte of a certificate set to something else", () => {
  const random = new Prng(SEED);
  for (const { name, issued } of shapes().slice(0, 4)) {
    for (let at = 0; at < issued.der.length; at++) {
      for (const value of [0, 0x1f, 0x30, 0x7f, 0x80, 0x81, 0x84, 0xff, random.int(256)]) {
        const bytes = issued.der.slice();
        bytes[at] = value;
        mustAnswer(bytes, `${name}, byte ${at} to ${value}`);
      }
    }
  }
});

test("every prefix of a certificate", () => {
  for (const { name, issued } of shapes().slice(0, 4)) {
    for (let length = 0; length < issued.der.length; length++) {
      assert.equal(mustAnswer(issued.der.subarray(0, length), `${name} to ${length}`), false);
    }
  }
});

test("bytes that never were a certificate", () => {
  const random = new Prng(SEED);
  for (let round = 0; round < 2_000; round++) {
    const bytes = random.bytes(random.int(200));
    if (random.oneIn(2) && bytes.length > 2) bytes.set([0x30, bytes.length - 2]);
    assert.equal(mustAnswer(bytes, `random round ${round}`), false);
  }
});

test("deep nesting needs no deep stack", () => {
  let nested: Uint8Array = der.nil();
  while (nested.length < 60_000) nested = der.seq(nested, new Uint8Array(0));
  for (const bytes of [nested, pki.issue({ subject: nested, issuerName: "x" }).der]) {
    mustAnswer(bytes, "nested");
  }
  const deep = pki.makeLeaf({
    san: [pki.directory(pki.rdns([pki.attribute("CN", nested)]))],
  });
  assert.equal(mustAnswer(deep.der, "nested value"), true);
});

test("the largest certificates are read soon", () => {
  const many = (count: number, make: (i: number) => Uint8Array): Uint8Array[] =>
    Array.from({ length: count }, (_, i) => make(i));
  const attribute = pki.attribute("CN", "a");
  const cases: Record<string, pki.IssueOptions> = {
    "parts of a name": { subject: pki.rdns(...many(4_600, () => attribute).map((a) => [a])) },
    "attributes in one part": {
      subject: der.seq(der.setUnsorted(...many(5_500, () => attribute))),
    },
    "a long name": { subject: { CN: "a".repeat(65_000) } },
    "a long BMPString": { subject: { CN: der.bmp("a".repeat(32_000)) } },
    "critical extensions": {
      extensions: many(4_500, (i) => pki.extension(`1.2.${i + 1}`, der.raw(""), true)),
    },
    "alternative names": { extensions: [pki.subjectAltName(many(21_000, () => pki.dns("a")))] },
    "directory names": {
      extensions: [pki.subjectAltName(many(16_000, () => der.raw("a4023000")))],
    },
    "policies": {
      extensions: [
        pki.extension(
          "certificatePolicies",
          der.seq(...many(9_000, (i) => der.seq(der.oid(`1.2.${i}`)))),
        ),
      ],
    },
    "mappings": {
      extensions: [
        pki.extension(
          "policyMappings",
          der.seq(...many(5_000, (i) => der.seq(der.oid(`1.2.${i}`), der.oid("1.2.3")))),
        ),
      ],
    },
    "purposes": {
      extensions: [pki.extendedKeyUsage(Array.from({ length: 12_000 }, (_, i) => `1.2.${i}`))],
    },
    "constraints": {
      extensions: [pki.nameConstraints({ permitted: many(12_000, () => pki.dns("a")) })],
    },
  };
  for (const [what, options] of Object.entries(cases)) {
    const { der: bytes } = pki.issue({ issuerName: "ca", ...options });
    const began = process.cpuUsage();
    assert.equal(mustAnswer(bytes, what), true, what);
    const { user, system } = process.cpuUsage(began);
    // Some 10 ms on a quiet machine: this is to tell linear from worse. `tests/fuzz/` counts steps.
    assert.ok(user + system < 1_000_000, `${what}: ${user + system} microseconds of CPU`);
  }
});
