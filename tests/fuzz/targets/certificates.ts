/**
 * One certificate, as the peer's or as one of its chain.
 *
 * Claim: what our reader takes, the runtime's own (`X509Certificate` of `node:crypto`) takes too, and
 * reads the same in it; unique identifiers apart, which that one cannot read.
 *
 * @module
 */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import type { Certificate } from "../../../src/x509/certificate.ts";
import { isAsciiForm } from "../../../src/x509/names.ts";
import { withoutUniqueIds } from "../../../src/x509/unique_ids.ts";
import { shapes } from "../../support/x509/shapes.ts";
import { bundle } from "../keys.ts";
import { changeDer } from "../mutate.ts";
import type { Target } from "../target.ts";

/** Values that both readers show as they are. */
const PLAIN = /^[\w .*/@-]+$/;

const SAN_LABELS = { dns: "DNS:", email: "email:", uri: "URI:" } as const;

/** Reading is linear: some three steps a byte, and more for a name that is almost all headers. */
export const certificates: Target = {
  name: "certificates",
  about: "one certificate; read alike by the runtime's reader",
  boundedRuns: 60_000,
  maxLength: 16_384,
  maxSteps: (length) => 2_000 + 30 * length,
  seeds: () => [...shapes().map(({ issued }) => issued.der), ...bundle().map(({ der }) => der)],
  mutate: changeDer,
  run(code, input) {
    let certificate: Certificate;
    try {
      certificate = code.parseCertificate(input);
    } catch (error) {
      if (error instanceof code.CertificateError) return { accepted: false };
      throw error;
    }
    code.identityOf(certificate, "");
    return {
      accepted: true,
      claims: () => agree(certificate, new X509Certificate(withoutUniqueIds(input) ?? input)),
    };
  },
};

/** Whether a value is shown as it is by both; `=` and line ends are the other's own marks. */
function isPlain(value: string | undefined): value is string {
  return value !== undefined && PLAIN.test(value);
}

/** What the other shows is without a sign. */
function theirSerial({ serialNumber }: X509Certificate): bigint {
  return BigInt(`0x${serialNumber || "0"}`);
}

function ourSerial({ serial }: Certificate, bits: number): bigint {
  const value = BigInt(`0x${serial.replace(/^-/, "")}`);
  return serial.startsWith("-") ? BigInt.asUintN(bits, -value) : value;
}

function agree(ours: Certificate, theirs: X509Certificate): void {
  assert.equal(theirSerial(theirs), ourSerial(ours, theirs.serialNumber.length * 4), "serial");
  assert.equal(Date.parse(theirs.validFrom), ours.notBefore, "notBefore");
  assert.equal(Date.parse(theirs.validTo), ours.notAfter, "notAfter");
  assert.equal(theirs.ca, ours.basicConstraints?.ca === true, "the CA flag");
  for (const side of ["subject", "issuer"] as const) {
    const values = ours[side].attributes.map(({ value }) => value);
    // The other shows no name at all where a value is no UTF-8, be it rightly so (a BMPString) or not.
    if (values.some((value) => value === undefined || /[^ -~]/.test(value))) continue;
    // ASCII in a BMPString the other shows byte by byte.
    inOrder(values.filter(isPlain), (theirs[side] ?? "").replaceAll("\0", ""));
  }
  // A name that is not ASCII counts for nothing with us; the other then shows none at all.
  if (ours.subjectAltNames.some((name) => name.kind === "other" && isAsciiForm(name.tag))) return;
  const names = ours.subjectAltNames.flatMap((name) => {
    if (name.kind !== "dns" && name.kind !== "email" && name.kind !== "uri") return [];
    return isPlain(name.value) ? [SAN_LABELS[name.kind] + name.value] : [];
  });
  inOrder(names, theirs.subjectAltName ?? "");
  const count = (theirs.subjectAltName ?? "").match(/(?:^|, )DNS:/g)?.length ?? 0;
  assert.ok(count <= ours.subjectAltNames.length, `${count} DNS names, of ours fewer`);
}

/** Fails unless all of `values` are in `text`, one after the other. */
function inOrder(values: readonly string[], text: string): void {
  let from = 0;
  for (const value of values) {
    const at = text.indexOf(value, from);
    assert.ok(at >= 0, `${JSON.stringify(value)} is not in ${JSON.stringify(text.slice(0, 300))}`);
    from = at + value.length;
  }
}
