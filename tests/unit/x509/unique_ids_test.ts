/**
 * Certificates without their unique identifiers: the bytes are those of the same certificate made without.
 *
 * @module
 */

import assert from "node:assert/strict";
import { withoutUniqueIds } from "../../../src/x509/unique_ids.ts";
import * as der from "../../support/der.ts";
import * as pki from "../../support/pki.ts";

Deno.test("unique identifiers: what is left is the certificate without them", () => {
  const key = pki.makeKey();
  const ids: readonly pki.IssueOptions[] = [
    { issuerUniqueId: der.raw("01") },
    { subjectUniqueId: der.raw("02") },
    { issuerUniqueId: der.raw("01"), subjectUniqueId: new Uint8Array(300) },
  ];
  // Around the lengths at which a length takes a byte more.
  for (const size of [1, 40, 60, 100, 128, 160, 256, 60_000]) {
    const same: pki.IssueOptions = {
      key,
      serial: 1,
      signatureBytes: "00",
      issuerName: "ca",
      subject: { CN: "x".repeat(size) },
      notBefore: new Date("2026-01-01Z"),
      notAfter: new Date("2027-01-01Z"),
    };
    const plain = pki.issue(same);
    assert.equal(withoutUniqueIds(plain.der), undefined);
    for (const more of ids) {
      assert.deepEqual(withoutUniqueIds(pki.issue({ ...same, ...more }).der), plain.der);
    }
  }
});
