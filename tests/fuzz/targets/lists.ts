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
  // The other shows numbers without their sign: those that begin with a one bit are either of two.
  const found = theirs.entries.map(({ serialNumber }): readonly bigint[] => {
    const value = BigInt(`0x${serialNumber || "0"}`);
    return [value, BigInt.asIntN(4 * serialNumber.length, value)];
  });
  const serials = new Set([...ours.serials].map(toNumber));
  const missing = serials.difference(new Set(found.flat()));
  assert.deepEqual([...missing], [], "serial numbers that the other does not find");
  const more = found.filter((values) => !values.some((value) => serials.has(value)));
  assert.deepEqual(more, [], "serial numbers that only the other finds");
}

/** A serial number as `Certificate.serial` has it. */
function toNumber(serial: string): bigint {
  return serial.startsWith("-") ? -BigInt(`0x${serial.slice(1)}`) : BigInt(`0x${serial}`);
}
