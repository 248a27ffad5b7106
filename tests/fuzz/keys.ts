/**
 * Keys and certificates that are the same on every machine and every day: inputs in
 * `testdata/fuzz/` stay what they were. Ed25519, whose signatures have no chance in them.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createPrivateKey, type KeyObject } from "node:crypto";
import * as pki from "../support/pki.ts";

/** What chains are verified at, milliseconds since the epoch. */
export const NOW = Date.UTC(2026, 5, 1);

/** PKCS#8 of an Ed25519 key, without its 32 bytes. */
const PKCS8 = "302e020100300506032b657004220420";

/** The key of a number. */
export function fixedKey(number: number): KeyObject {
  const key = Buffer.from(PKCS8 + number.toString(16).padStart(2, "0").repeat(32), "hex");
  return createPrivateKey({ key, format: "der", type: "pkcs8" });
}

/** Keys 1 to 12, by the hex of their SubjectPublicKeyInfo. */
export const KEYS: ReadonlyMap<string, KeyObject> = new Map(
  Array.from({ length: 12 }, (_, i) => fixedKey(i + 1)).map((
    key,
  ) => [pki.spkiOf(key).toHex(), key]),
);

let serial = 0;

/** Settings that leave nothing to chance. */
export function fixed<T extends pki.IssueOptions>(key: number, options: T): T {
  return {
    key: fixedKey(key),
    serial: 0x4d00 + ++serial,
    notBefore: new Date("2025-01-01Z"),
    notAfter: new Date("2035-01-01Z"),
    ...options,
  };
}

/** The bundle by which chains are verified: a plain CA, one with limits, and a leaf of its own. */
export function bundle(): readonly pki.Issued[] {
  serial = 0;
  return [
    pki.makeCa(fixed(1, { subject: "root" })),
    pki.makeCa(fixed(2, {
      subject: "limited root",
      pathLength: 1,
      extra: [
        pki.nameConstraints({
          permitted: [pki.dns("a.example"), pki.ip("10.0.0.0/8")],
          excluded: [pki.dns("no.a.example")],
        }),
      ],
    })),
    pki.makeLeaf(fixed(3, { subject: "pinned" })),
  ];
}
