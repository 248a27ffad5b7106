/**
 * What the strict reader takes, the TLS engine can read.
 *
 * For a certificate that webpki cannot parse, `node:tls` checks neither the chain nor the signature
 * of the handshake: a peer that has seen such a certificate could pose as its holder. So our own verdict
 * must never be "fine" about one. rustls itself is asked, about thousands of spoiled
 * certificates: see `tests/support/x509/rustls.ts`.
 *
 * The public key is never spoiled: rustls reads of it the two values inside and whether they are
 * all, and `algorithms_test.ts` has the refusals of everything else.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { parseCertificate } from "../../src/x509/parse.ts";
import * as der from "../support/der.ts";
import * as pki from "../support/pki.ts";
import { rustlsRefuses } from "../support/x509/rustls.ts";
import { mutant, VALUES } from "../support/x509/mutate.ts";
import { Prng } from "../support/prng.ts";
import { type Shape, shapes } from "../support/x509/shapes.ts";
import { refusal } from "../support/x509/validate.ts";

const SEED = 1_729;
const ROUNDS = 6_000;

/**
 * Fails when we take for a leaf what rustls cannot read, or say of a certificate that it cannot read
 * it where it can; tells whether we took it.
 */
function compare({ name, issued }: Shape, bytes: Uint8Array, how: string): boolean {
  if (refusal(bytes) !== undefined) return false;
  const certificate = parseCertificate(bytes);
  // Path validation refuses a leaf with either (`path_profile_test.ts`).
  if (certificate.tlsCannotRead !== undefined) {
    const { tlsCannotRead } = certificate;
    assert.ok(rustlsRefuses(bytes, issued.keyPem), `it reads ${tlsCannotRead} (${how})`);
    return false;
  }
  if (certificate.unknownCritical.length > 0) return false;
  // Another sequence stands where the key stood: rustls would miss the key, not the meaning.
  if (Buffer.compare(certificate.publicKey.der, pki.spkiOf(issued.key)) !== 0) return false;
  const refused = rustlsRefuses(bytes, issued.keyPem);
  const shown = Buffer.from(bytes).toString("base64").slice(0, 4_000);
  assert.equal(refused, undefined, `the engine cannot read ${name} (${how}): ${shown}`);
  return true;
}

Deno.test("engine: it takes the sound shapes, in both roles", () => {
  for (const shape of shapes()) {
    assert.equal(compare(shape, shape.issued.der, "as it is"), true, shape.name);
    assert.equal(rustlsRefuses(shape.issued.der, shape.issued.keyPem, false), undefined);
  }
});

Deno.test("engine: the question tells what it can read from what it cannot", () => {
  const ca = pki.makeCa();
  const flaws: pki.LeafOptions[] = [
    { trailing: "00" },
    { finish: (c) => der.longForm(c) },
    { issuerUniqueId: der.raw("ff") },
    { extra: [pki.extension("crlDistributionPoints", der.nil())] },
    { extra: [pki.extension("subjectAltName", der.nil())] },
    { extra: [der.seq(der.oid("1.2.3"), der.tlv(1, der.raw("01")), der.octet())] },
    { key: pki.makeKey(), spki: pki.spkiOf(pki.makeKey()) },
  ];
  for (const [i, flaw] of flaws.entries()) {
    const leaf = pki.makeLeaf(flaw, ca);
    assert.equal(rustlsRefuses(leaf.der, leaf.keyPem), "unsupported protocol", `flaw ${i}`);
  }
});

Deno.test("engine: what we take it can read, whatever was changed", () => {
  const random = new Prng(SEED);
  const bases = shapes();
  let taken = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const shape = random.pick(bases);
    const bytes = mutant(shape.issued.der, random);
    if (compare(shape, bytes, `seed ${SEED}, round ${round}`)) taken++;
  }
  // Mutants that are always refused would prove nothing.
  assert.ok(taken > ROUNDS / 5, `only ${taken} of ${ROUNDS} were taken`);
});

Deno.test("engine: every extension of the standard with every odd value", () => {
  const issued = pki.issue({ issuerName: "ca", extensions: [pki.subjectKeyId("01")] });
  const spki = pki.spkiOf(issued.key);
  const signatureBytes = der.raw("3006020101020101");
  let taken = 0;
  for (let arc = 0; arc < 64; arc++) {
    for (const value of VALUES) {
      const extensions = [pki.extension(`2.5.29.${arc}`, value)];
      const { key } = issued;
      const odd = pki.issue({ key, spki, issuerName: "ca", extensions, signatureBytes });
      const how = `2.5.29.${arc} = ${value.toHex()}`;
      if (compare({ name: "plain", issued }, odd.der, how)) taken++;
    }
  }
  assert.ok(taken > 1_000, `only ${taken} were taken`);
});

Deno.test("engine: the largest certificate that we take", () => {
  const key = pki.makeKey();
  const certificate = (fill: number): pki.Issued =>
    pki.issue({
      key,
      serial: 1,
      signatureBytes: "00",
      subject: { CN: "a".repeat(fill) },
      issuerName: "x",
    });
  const frame = certificate(65_000).der.length - 65_000;
  const largest = certificate(65_535 - frame);
  assert.equal(largest.der.length, 65_535);
  assert.equal(compare({ name: "largest", issued: largest }, largest.der, "as it is"), true);
  const larger = certificate(65_536 - frame);
  assert.equal(refusal(larger.der), "it is longer than 65535 bytes");
});
