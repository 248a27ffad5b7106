/**
 * What CAs in use write that is not DER to the letter, or not RFC 5280: each variant as a leaf and as an
 * intermediate, read by us, by `openssl verify`, by `node:crypto` and by the TLS engine. Those that mean
 * one thing to all are taken; those that readers understand differently are not.
 *
 * @module
 */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import * as der from "../../support/der.ts";
import { filesIn } from "../../support/openssl.ts";
import * as pki from "../../support/pki.ts";
import { parseCertificateList } from "../../../src/x509/crl.ts";
import { carriesName } from "../../../src/x509/server_name.ts";
import { parseCertificate } from "../../../src/x509/parse.ts";
import { makeCrl } from "../../support/crl.ts";
import { rustlsRefuses } from "../../support/x509/rustls.ts";
import { refusal, verdictOn } from "../../support/x509/validate.ts";
const { raw } = der;

/** An extension whose criticality is spelled out as FALSE. */
function notCritical(id: string, value: Uint8Array): Uint8Array {
  return der.seq(der.oid(id), der.bool(false), der.octet(value));
}

/** Key usage as these octets; for a leaf digitalSignature, for a CA keyCertSign and cRLSign. */
function usage(leaf: string, ca: string, critical = true): (isCa: boolean) => pki.IssueOptions {
  return (isCa) => ({
    omit: ["keyUsage"],
    extra: [pki.extension("keyUsage", raw(isCa ? ca : leaf), critical)],
  });
}

function everywhere(options: pki.IssueOptions): (isCa: boolean) => pki.IssueOptions {
  return () => options;
}

const odd = (tag: number, bytes: string): Uint8Array => der.implicit(tag, der.octet(raw(bytes)));
const names = (...san: Uint8Array[]): (isCa: boolean) => pki.IssueOptions =>
  everywhere({ extra: [pki.subjectAltName(san)] });

/** Taken by everybody. */
const TAKEN: Readonly<Record<string, (isCa: boolean) => pki.IssueOptions>> = {
  "key usage of eight bits": usage("03020080", "03020006"),
  "key usage of nine bits": usage("0303078000", "0303070600"),
  "key usage of sixteen bits": usage("0303008000", "0303000600"),
  "key usage of seven bits": usage("03020180", "03020106"),
  "key usage with zeros, not critical": usage("03020080", "03020006", false),
  "criticality of an unknown extension spelled out": everywhere({
    extra: [notCritical(pki.OID.unknown, der.nil())],
  }),
  "criticality of key usage spelled out": (isCa) => ({
    omit: ["keyUsage"],
    extra: [notCritical(pki.OID.keyUsage, raw(isCa ? "03020106" : "03020780"))],
  }),
  "CA flag of a leaf spelled out": (isCa) =>
    isCa ? {} : { extra: [pki.extension("basicConstraints", der.seq(der.bool(false)), true)] },
  "serial -1": everywhere({ serial: "ff" }),
  "serial -128": everywhere({ serial: "80" }),
  "serial -255": everywhere({ serial: "ff01" }),
  "negative serial of 20 octets": everywhere({ serial: "8f".repeat(20) }),
  "serial of 21 octets": everywhere({ serial: "7f".repeat(21) }),
  "serial of 32 octets and a zero": everywhere({ serial: "00" + "ff".repeat(32) }),
  "serial of 256 octets": everywhere({ serial: "7e".repeat(256) }),
  "a DNS name in UTF-8": names(odd(2, "c3bc2e6578616d706c65"), pki.dns("a.example")),
  "a DNS name in Latin-1, alone": names(odd(2, "fc2e6578616d706c65")),
  "an e-mail address in UTF-8": names(pki.dns("a.example"), odd(1, "c3bc40612e6578616d706c65")),
  "a URI of one odd byte": names(odd(6, "ff"), pki.dns("a.example")),
};

/** Refused in a leaf because the engine cannot read them, taken in an issuer. */
const ISSUERS_ONLY: Readonly<Record<string, pki.IssueOptions>> = {
  "issuer unique ID": { issuerUniqueId: raw("0102") },
  "subject unique ID": { subjectUniqueId: raw("80") },
  "both unique IDs": { issuerUniqueId: raw("01"), subjectUniqueId: raw("02") },
  "unique ID of seven bits": {
    fields: (fields) => [...fields.slice(0, 7), der.tlv(0x81, raw("0180")), ...fields.slice(7)],
  },
  "critical policies": {
    extra: [pki.extension("certificatePolicies", der.seq(der.seq(der.oid("1.2.3"))), true)],
  },
};

/** Refused, in both places: some readers take them for something else, or refuse them. */
const REFUSED: Readonly<Record<string, pki.IssueOptions>> = {
  "key usage with unused bits that are set": usage("030207ff", "030207ff")(false),
  "key usage of nine unused bits": usage("03020980", "03020980")(false),
  "a FALSE of another value": {
    extra: [der.seq(der.oid(pki.OID.unknown), der.tlv(1, raw("01")), der.octet())],
  },
  "a padded serial": { serial: "0001" },
  "a padded negative serial": { serial: "ff80" },
  "a serial of no octets": { serial: "" },
  "a serial of 257 octets": { serial: "7f".repeat(257) },
  "unique IDs in the wrong order": {
    fields: (fields) => [
      ...fields.slice(0, 7),
      der.tlv(0x82, raw("0080")),
      der.tlv(0x81, raw("0080")),
      ...fields.slice(7),
    ],
  },
  "a unique ID that is none": {
    fields: (fields) => [...fields.slice(0, 7), der.tlv(0x81, raw("0980")), ...fields.slice(7)],
  },
};

type Chain = { readonly leaf: pki.Issued; readonly middle: pki.Issued; readonly ca: pki.Issued };

function chain(at: "leaf" | "middle", options: pki.IssueOptions): Chain {
  const ca = pki.makeCa({ subject: "ca" });
  const middle = pki.makeCa({
    subject: "middle",
    issuer: ca,
    ...(at === "middle" ? options : {}),
  });
  const leaf = pki.makeLeaf({ subject: "leaf", ...(at === "leaf" ? options : {}) }, middle);
  return { leaf, middle, ca };
}

function ours({ leaf, middle, ca }: Chain): string {
  return verdictOn([leaf, middle], [ca]);
}

async function openssl({ leaf, middle, ca }: Chain): Promise<string> {
  await using files = await filesIn({ leaf: leaf.pem, middle: middle.pem, ca: ca.pem });
  const { stdout, stderr } = await new Deno.Command("openssl", {
    args: [
      ...["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", files.path("ca")],
      ...["-untrusted", files.path("middle"), files.path("leaf")],
    ],
  }).output();
  const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  return said.trim() === `${files.path("leaf")}: OK` ? "ok" : said;
}

for (const [what, options] of Object.entries(TAKEN)) {
  Deno.test(`encodings: ${what} is taken`, async () => {
    for (const at of ["leaf", "middle"] as const) {
      const made = chain(at, options(at === "middle"));
      assert.equal(ours(made), "ok", at);
      assert.equal(await openssl(made), "ok", at);
      assert.equal(rustlsRefuses(made[at].der, made[at].keyPem), undefined, at);
      // Another reader takes it for the same.
      const other = new X509Certificate(made[at].pem);
      const read = parseCertificate(made[at].der);
      assert.equal(read.notAfter, Date.parse(other.validTo));
      assert.deepEqual(
        read.publicKey.der,
        new Uint8Array(other.publicKey.export({ type: "spki", format: "der" })),
      );
    }
  });
}

for (const [what, options] of Object.entries(ISSUERS_ONLY)) {
  Deno.test(`encodings: ${what}: in an issuer, not in a leaf`, async () => {
    const below = chain("middle", options);
    assert.equal(ours(below), "ok");
    assert.equal(await openssl(below), "ok");
    const { leaf } = chain("leaf", options);
    assert.equal(rustlsRefuses(leaf.der, leaf.keyPem), "unsupported protocol");
    assert.match(
      ours(chain("leaf", options)),
      /^bad_certificate: certificate CN=leaf has .* which the TLS engine cannot read/,
    );
  });
}

for (const [what, options] of Object.entries(REFUSED)) {
  Deno.test(`encodings: ${what} is refused`, () => {
    assert.notEqual(refusal(chain("leaf", options).leaf.der), undefined);
  });
}

Deno.test("encodings: CAs that changed their key, by us and by openssl", async () => {
  type Rolled = { readonly path: readonly (string | number)[]; readonly fine: boolean };
  // Names from the anchor down; a number is the path length of the CA before it.
  const cases: readonly Rolled[] = [
    { path: ["root", 0, "root"], fine: true },
    { path: ["root", 0, "root", "root"], fine: true },
    { path: ["root", 0, "root", "other"], fine: false },
    { path: ["root", 1, "root", "other"], fine: true },
    { path: ["root", 1, "root", "other", "other"], fine: true },
    { path: ["root", 1, "other", "other", "third"], fine: false },
    { path: ["root", 1, "other", 0, "other"], fine: true },
    { path: ["root", "other", 0, "other", 0, "other"], fine: true },
    { path: ["root", "other", 0, "other", "root"], fine: false },
  ];
  for (const { path, fine } of cases) {
    const cas: pki.Issued[] = [];
    for (const [i, subject] of path.entries()) {
      if (typeof subject === "number") continue;
      const limit = path[i + 1];
      const issuer = cas.at(-1);
      cas.push(pki.makeCa({
        subject,
        ...(issuer ? { issuer } : {}),
        ...(typeof limit === "number" ? { pathLength: limit } : {}),
      }));
    }
    const [ca, ...middles] = cas;
    assert.ok(ca);
    const leaf = pki.makeLeaf({ subject: "leaf" }, cas.at(-1));
    const how = path.join(" ");
    assert.equal(verdictOn([leaf, ...middles], [ca]) === "ok", fine, how);
    await using files = await filesIn({
      leaf: leaf.pem,
      middles: pki.chainPem(...middles),
      ca: ca.pem,
    });
    const { success } = await new Deno.Command("openssl", {
      args: [
        ...["verify", "-purpose", "sslclient", "-CAfile", files.path("ca")],
        ...["-untrusted", files.path("middles"), files.path("leaf")],
      ],
    }).output();
    assert.equal(success, fine, how);
  }
});

Deno.test("encodings: a name that is not ASCII is no server's, and those beside it are", () => {
  const san = [odd(2, "c3bc2e6578616d706c65"), pki.dns("a.example"), odd(6, "ff")];
  const certificate = parseCertificate(pki.makeLeaf({ san }).der);
  assert.equal(carriesName(certificate, "a.example"), true);
  for (const name of ["ü.example", "Ã¼.example", "xn--tda.example", "example"]) {
    assert.equal(carriesName(certificate, name), false, name);
  }
});

Deno.test("encodings: a serial number is the same in a certificate, in a list and in openssl", async () => {
  const ca = pki.makeCa();
  for (const serial of ["ff", "80", "ff01", "8f".repeat(20), "00ff", "7f".repeat(40), "00"]) {
    const leaf = pki.makeLeaf({ serial }, ca);
    const read = parseCertificate(leaf.der).serial;
    const list = parseCertificateList(makeCrl(ca, { revoked: [serial] }).der);
    assert.deepEqual([...list.serials], [read]);
    await using files = await filesIn({ leaf: leaf.pem });
    const { stdout } = await new Deno.Command("openssl", {
      args: ["x509", "-noout", "-serial", "-in", files.path("leaf")],
    }).output();
    // It breaks long numbers over several lines.
    const said = new TextDecoder().decode(stdout).replace(/[\\\s]/g, "").toLowerCase();
    assert.equal(said, `serial=${read}`);
  }
});
