/**
 * One revocation list.
 *
 * Claim: what our reader takes, a second one (`@peculiar/x509`) takes too, with the same issuer, times
 * and serial numbers.
 *
 * @module
 */

import "reflect-metadata";
import { X509Crl } from "@peculiar/x509";
import assert from "node:assert/strict";
import type { CertificateList } from "../../../src/x509/crl.ts";
import {
  certificateIssuer,
  crlNumber,
  deltaCrlIndicator,
  issuingDistributionPoint,
  makeCrl,
} from "../../support/crl.ts";
import * as pki from "../../support/pki.ts";
import { fixed } from "../keys.ts";
import { changeDer } from "../mutate.ts";
import type { Target } from "../target.ts";

const thisUpdate = new Date("2026-05-01Z");
const nextUpdate = new Date("2026-07-01Z");

/** Reading is linear. */
export const lists: Target = {
  name: "lists",
  about: "one revocation list (CRL); read alike by @peculiar/x509",
  boundedRuns: 60_000,
  maxLength: 32_768,
  maxSteps: (length) => 2_000 + 40 * length,
  seeds() {
    const ca = pki.makeCa(fixed(1, { subject: "root" }));
    const times = { thisUpdate, nextUpdate };
    const revoked = [{ serial: 5, reason: 1, date: thisUpdate }, {
      serial: "00ff",
      date: thisUpdate,
    }];
    return [
      makeCrl(ca, { ...times, revoked }),
      makeCrl(ca, { ...times, version: 1, revoked: [{ serial: 7, date: thisUpdate }] }),
      makeCrl(ca, { ...times, extra: [deltaCrlIndicator(1)] }),
      makeCrl(ca, {
        ...times,
        extra: [crlNumber(3), issuingDistributionPoint({ onlyUsers: true })],
      }),
      makeCrl(ca, { ...times, extra: [issuingDistributionPoint({})] }),
      makeCrl(ca, {
        ...times,
        revoked: [{ serial: 1, date: thisUpdate, extensions: [certificateIssuer("other")] }],
      }),
    ].map(({ der }) => der);
  },
  mutate: changeDer,
  run(code, input) {
    let list: CertificateList;
    try {
      list = code.parseCertificateList(input);
    } catch (error) {
      if (error instanceof code.CertificateError) return { accepted: false };
      throw error;
    }
    // A value of the issuer's name that is no text counts for nothing with us, whatever is inside; the
    // other one reads that too.
    const opaque = list.issuer.attributes.some(({ value }) => value === undefined);
    return opaque
      ? { accepted: true }
      : { accepted: true, claims: () => agree(list, new X509Crl(Uint8Array.from(input))) };
  },
};

function agree(ours: CertificateList, theirs: X509Crl): void {
  assert.equal(theirs.thisUpdate.getTime(), ours.thisUpdate, "thisUpdate");
  assert.equal(theirs.nextUpdate?.getTime(), ours.nextUpdate, "nextUpdate");
  assert.equal(theirs.entries.length, ours.entries, "entries");
  const theirSerials = theirs.entries.map(({ serialNumber }) =>
    serialNumber.toLowerCase().replace(/^(?:00)+(?=..)/, "")
  );
  const missing = [...new Set(ours.serials).difference(new Set(theirSerials))];
  assert.deepEqual(missing, [], "serial numbers that the other does not find");
  // Negative ones we leave out; the other shows them without their sign.
  const more = theirSerials.filter((serial) =>
    !ours.serials.has(serial) && !/^[89a-f]/.test(serial)
  );
  assert.deepEqual(more, [], "serial numbers that only the other finds");
}
