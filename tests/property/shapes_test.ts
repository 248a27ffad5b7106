/**
 * The certificate reader and the name decoder: whatever the bytes are, an answer or a
 * CertificateError.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { identityOf } from "../../src/identity.ts";
import { type Certificate, CertificateError } from "../../src/x509/certificate.ts";
import { readName } from "../../src/x509/names.ts";
import { parseCertificate } from "../../src/x509/parse.ts";
import * as der from "../support/der.ts";
import { dns, ip, makeCa, makeLeaf, uri } from "../support/pki.ts";

const RUNS = { numRuns: 3000, seed: 20_260_328 } as const;

const ca = makeCa();
const BASES = [
  ca,
  makeLeaf({
    subject: { C: "GB", O: ["acme", der.teletex("x")], OU: der.bmp("dev"), CN: "web" },
    san: [dns("web.example"), ip("10.0.0.1"), ip("::1"), uri("spiffe://acme/web")],
  }, ca),
].map(({ der }) => der);

/** The certificate, or nothing where it was refused as it should be. */
function read(bytes: Uint8Array): Certificate | undefined {
  try {
    return parseCertificate(bytes);
  } catch (error) {
    assert.ok(error instanceof CertificateError, String(error));
    assert.ok(error.message.length > 0);
    return undefined;
  }
}

/** Reads all that the rest of the program reads. */
function use(certificate: Certificate): void {
  const identity = identityOf(certificate, "");
  for (const { text, guess } of identity.commonNames) {
    assert.equal(typeof guess, "string");
    if (text !== undefined) assert.equal(text, guess);
  }
  for (const bytes of identity.ipAddresses) assert.ok([4, 16].includes(bytes.length));
}

function property(name: string, body: fc.IProperty<unknown>): void {
  Deno.test({
    name: `x509 properties: ${name}`,
    permissions: "none",
    fn: () => fc.assert(body, RUNS),
  });
}

property(
  "any bytes",
  fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
    assert.equal(read(bytes), undefined);
  }),
);

const edit = fc.tuple(fc.nat(), fc.nat(4), fc.uint8Array({ maxLength: 4 }));

property(
  "certificates with bytes changed, taken out and put in",
  fc.property(fc.constantFrom(...BASES), fc.array(edit, { maxLength: 3 }), (base, edits) => {
    const bytes = edits.reduce((bytes, [at, cut, put]) => {
      const from = at % (bytes.length + 1);
      return der.concat(bytes.slice(0, from), put, bytes.slice(from + cut));
    }, base);
    const certificate = read(bytes);
    if (certificate !== undefined) use(certificate);
    else assert.ok(edits.length > 0, "a sound certificate was refused");
  }),
);

property(
  "names of any string type with any content",
  fc.property(
    fc.array(fc.tuple(fc.nat(255), fc.uint8Array({ maxLength: 24 })), { maxLength: 4 }),
    (values) => {
      const attributes = values.map(([tag, content]) =>
        der.set(der.seq(der.oid("2.5.4.3"), der.tlv(tag, content)))
      );
      try {
        const name = readName(der.seq(...attributes), "name");
        assert.equal(name.attributes.length, values.length);
        for (const { value, guess } of name.attributes) {
          if (value !== undefined) assert.ok(value.isWellFormed() && value === guess);
        }
      } catch (error) {
        assert.ok(error instanceof CertificateError, String(error));
        // A tag of several bytes is the only thing that stops it.
        assert.ok(values.some(([tag]) => (tag & 0x1f) === 0x1f));
      }
    },
  ),
);

property(
  "any bytes as a name",
  fc.property(fc.uint8Array({ maxLength: 80 }), (content) => {
    for (const bytes of [content, der.seq(content), der.seq(der.set(der.seq(content)))]) {
      try {
        assert.ok(Array.isArray(readName(bytes, "name").attributes));
      } catch (error) {
        assert.ok(error instanceof CertificateError, String(error));
      }
    }
  }),
);

property(
  "UTF-8 text comes out as it went in",
  fc.property(fc.string({ unit: "binary", maxLength: 40 }), (text) => {
    const [only] = readName(der.seq(der.set(der.seq(der.oid("2.5.4.3"), der.utf8(text)))), "n")
      .attributes;
    assert.equal(only?.value, text.toWellFormed());
  }),
);
