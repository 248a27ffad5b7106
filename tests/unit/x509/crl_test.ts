import assert from "node:assert/strict";
import { CertificateError } from "../../../src/x509/certificate.ts";
import { type CertificateList, parseCertificateList } from "../../../src/x509/crl.ts";
import { parseCertificate } from "../../../src/x509/parse.ts";
import {
  certificateIssuer,
  crlEntry,
  crlNumber,
  type CrlOptions,
  deltaCrlIndicator,
  issuingDistributionPoint,
  makeCrl,
  reasonCode,
  type Revoked,
  type RevokedEntry,
} from "../../support/crl.ts";
import * as der from "../../support/der.ts";
import { extension, makeCa, makeLeaf, name, OID, pssAlgorithm } from "../../support/pki.ts";

const ca = makeCa({ subject: "crl CA" });
const leaf = makeLeaf({ subject: "leaf" }, ca);

const read = (options: CrlOptions): CertificateList =>
  parseCertificateList(makeCrl(ca, options).der);
const one = (entry: Revoked | RevokedEntry): CrlOptions => ({ revoked: [entry] });

/** What the parser says of bytes that it refuses. */
function refusal(bytes: Uint8Array): string {
  try {
    parseCertificateList(bytes);
  } catch (error) {
    assert(error instanceof CertificateError, String(error));
    return error.message;
  }
  assert.fail("was not refused");
}

Deno.test({
  name: "a list says who is revoked, as of when, and when the next one is due",
  permissions: "none",
  fn: () => {
    const thisUpdate = new Date("2026-01-02T03:04:05Z");
    const nextUpdate = new Date("2051-01-02T03:04:05Z");
    const list = read({ revoked: [leaf, 5, "00ff", 0], thisUpdate, nextUpdate, number: 300 });
    assert.equal(list.thisUpdate, thisUpdate.getTime());
    assert.equal(list.nextUpdate, nextUpdate.getTime());
    assert.equal(list.number, "012c");
    assert.equal(list.entries, 4);
    const serial = parseCertificate(leaf.der).serial;
    assert.deepEqual([...list.serials], [serial, "05", "ff", "00"]);
    assert.equal(list.issuer.key, parseCertificate(ca.der).subject.key);
    assert.deepEqual(list.signatureAlgorithm, { kind: "ecdsa", hash: "sha256" });
  },
});

/** Lists that are read, and the serial numbers in them. */
const ACCEPTED: Readonly<Record<string, readonly [CrlOptions, readonly string[]]>> = {
  "no entries": [{}, []],
  "an empty list of entries": [{ entries: der.seq() }, []],
  "version 1, as openssl ca writes it": [{ version: 1, revoked: [5] }, ["05"]],
  "version 1 without entries": [{ version: 1 }, []],
  "no extensions": [{ revoked: [5], extensions: [] }, ["05"]],
  "no number": [{ revoked: [5], number: null }, ["05"]],
  "a number of 20 octets": [{ revoked: [5], number: `7f${"00".repeat(19)}` }, ["05"]],
  "a critical number": [{ revoked: [5], extensions: [crlNumber(1, true)] }, ["05"]],
  "each reason, hold included": [
    { revoked: [0, 1, 2, 3, 4, 5, 6, 9, 10].map((reason) => ({ serial: reason + 1, reason })) },
    ["01", "02", "03", "04", "05", "06", "07", "0a", "0b"],
  ],
  "the same number twice": [{ revoked: [5, { serial: 5, reason: 1 }] }, ["05"]],
  "a revocation date that is still to come": [
    one({ serial: 5, date: new Date("2049-12-31T23:59:59Z") }),
    ["05"],
  ],
  "a revocation date in the long form": [
    one({ serial: 5, date: der.generalizedTime("20510101000000Z") }),
    ["05"],
  ],
  "negative numbers": [{ revoked: ["80", "ff7f", "ff", 5] }, ["-80", "-81", "-01", "05"]],
  "a criticality spelled out": [
    {
      revoked: [5],
      extra: [der.seq(der.oid(OID.unknown), der.bool(false), der.octet(der.nil()))],
    },
    ["05"],
  ],
  "a number longer than CAs may give": [one("7f".repeat(30)), ["7f".repeat(30)]],
  "extensions that change nothing": [
    {
      revoked: [{
        serial: 5,
        extensions: [extension("2.5.29.24", der.generalizedTime("20260101000000Z"))],
      }],
      extra: [extension("2.5.29.46", der.seq()), extension(OID.unknown, der.nil())],
    },
    ["05"],
  ],
};

for (const [what, [options, serials]] of Object.entries(ACCEPTED)) {
  Deno.test(`read: ${what}`, () => {
    const list = read(options);
    assert.deepEqual([...list.serials], serials);
  });
}

const DELTA = /^it is a delta list, which holds only what has changed; use the complete list$/;
const PART = /^it is limited to a part .*issuing distribution point/;
const INDIRECT = /^it is an indirect list, about certificates of other issuers/;
const idp = (...more: readonly der.Der[]): CrlOptions => ({
  extra: [issuingDistributionPoint({ more })],
});
const field = (at: number, value: der.Der): CrlOptions => ({
  fields: (fields) => fields.with(at, value),
});

/** Issuing distribution points that leave a list complete, and what they say. */
const COMPLETE: Readonly<Record<string, readonly [der.Der, string | undefined]>> = {
  "a URI": [issuingDistributionPoint({ uri: "http://ca/1.0/crl" }), "http://ca/1.0/crl"],
  "a URI, in passing": [issuingDistributionPoint({ uri: "http://x", critical: false }), "http://x"],
  "nothing": [issuingDistributionPoint({}), undefined],
  "limits that are spelled out as none": [
    issuingDistributionPoint({
      uri: "http://x",
      more: [1, 2, 4, 5].map((tag) => der.implicit(tag, der.bool(false))),
    }),
    "http://x",
  ],
  "a name relative to the issuer": [
    issuingDistributionPoint({ more: [der.explicit(0, der.explicit(1, der.raw("3000")))] }),
    "3000",
  ],
};

for (const [what, [point, published]] of Object.entries(COMPLETE)) {
  Deno.test(`complete in spite of an issuing distribution point: ${what}`, () => {
    const list = read({ revoked: [5], extra: [point] });
    assert.deepEqual([...list.serials], ["05"]);
    assert.equal(list.distributionPoint, published);
  });
}

/** Lists that are refused, and what is said. */
const REFUSED: Readonly<Record<string, readonly [CrlOptions, RegExp]>> = {
  "version 3": [{ version: 3 }, /^it has an unknown version; only 2 is in use$/],
  "version 1 spelled out": [{ version: der.int(0) }, /^it has an unknown version/],
  "a version of two octets": [{ version: der.int("0001") }, /^it has an unknown version/],
  "version 1 with extensions": [
    { version: 1, extensions: [crlNumber(1)] },
    /^signed part has bytes left over/,
  ],
  "version 1 with entry extensions": [
    { version: 1, revoked: [{ serial: 5, reason: 1 }] },
    /^entry has extensions, which version 1 does not know$/,
  ],
  "no nextUpdate": [{ nextUpdate: null }, /^it has no nextUpdate/],
  "no nextUpdate and entries": [{ nextUpdate: null, revoked: [5] }, /^it has no nextUpdate/],
  "nothing behind thisUpdate": [
    { nextUpdate: null, extensions: [] },
    /^it has no nextUpdate, so that no reader could tell when it is too old; issue it with one$/,
  ],
  "an empty issuer": [{ issuerName: name({}) }, /^issuer is empty$/],
  "two algorithms": [
    { innerAlgorithm: pssAlgorithm("sha256") },
    /two signature algorithms differ$/,
  ],
  "thisUpdate without seconds": [
    { thisUpdate: der.utcTime("2601010000Z") },
    /^thisUpdate is not written as YYMMDDHHMMSSZ$/,
  ],
  "thisUpdate that is no time": [field(3, der.nil()), /^thisUpdate is not a time$/],
  "nextUpdate on February 30th": [
    { nextUpdate: der.utcTime("260230000000Z") },
    /^nextUpdate is not a time that exists$/,
  ],
  "nextUpdate with a fraction": [
    { nextUpdate: der.generalizedTime("20510101000000.5Z") },
    /^nextUpdate is not written as YYYYMMDDHHMMSSZ$/,
  ],
  "a delta list": [{ extra: [deltaCrlIndicator(1)] }, DELTA],
  "a delta list that says so in passing": [{ extra: [deltaCrlIndicator(1, false)] }, DELTA],
  "a part of the certificates": [{ extra: [issuingDistributionPoint({ onlyUsers: true })] }, PART],
  "a part of the certificates, in passing": [
    {
      extra: [issuingDistributionPoint({ uri: "http://x/crl", onlyUsers: true, critical: false })],
    },
    PART,
  ],
  "only CAs": [idp(der.implicit(2, der.bool(true))), /\(issuing dist.*: onlyContainsCACerts\)/],
  "only some reasons": [
    idp(der.implicit(3, der.bitString(Uint8Array.of(0x40), 6))),
    /: onlySomeReasons\)/,
  ],
  "only attribute certificates": [
    idp(der.implicit(5, der.bool(true))),
    /: onlyContainsAttributeCerts\)/,
  ],
  "an indirect list": [{ extra: [issuingDistributionPoint({ indirect: true })] }, INDIRECT],
  "a limit that is no boolean": [idp(der.implicit(1, der.raw("0500"))), /^issuing dist/],
  "limits out of order": [
    idp(der.implicit(2, der.bool(false)), der.implicit(1, der.bool(true))),
    /^issuing distribution point has bytes left over/,
  ],
  "a distribution point of nothing": [
    idp(der.explicit(0, der.explicit(0, der.raw("")))),
    /^issuing distribution point holds no name$/,
  ],
  "an entry of another issuer": [
    one({ serial: 5, extensions: [certificateIssuer("other CA")] }),
    INDIRECT,
  ],
  "an entry of another issuer in passing": [
    one({ serial: 5, extensions: [certificateIssuer("other CA", false)] }),
    INDIRECT,
  ],
  "a critical extension that nobody knows": [
    { extra: [extension(OID.unknown, der.nil(), true)] },
    /^it has a critical extension 1\.3\.6\.1\.4\.1\.55555\.1 that is not understood$/,
  ],
  "a critical entry extension that nobody knows": [
    one({ serial: 5, extensions: [extension(OID.unknown, der.nil(), true)] }),
    /^it has a critical entry extension 1\.3\.6\.1\.4\.1\.55555\.1 that is not understood$/,
  ],
  "an extension twice": [{ extra: [crlNumber(1)] }, /^extension 2\.5\.29\.20 stands there twice$/],
  "an entry extension twice": [
    one({ serial: 5, reason: 1, extensions: [reasonCode(1)] }),
    /^entry extension 2\.5\.29\.21 stands there twice$/,
  ],
  "an empty list of extensions": [{ extensions: der.explicit(0, der.seq()) }, /^extension list is/],
  "an empty list of entry extensions": [
    one({ serial: 5, extensions: der.seq() }),
    /^entry extension list is empty$/,
  ],
  "a negative CRL number": [{ number: "ff" }, /^CRL number is negative$/],
  "a CRL number with something behind it": [
    { extensions: [extension("2.5.29.20", der.concat(der.int(1), der.nil()))] },
    /^CRL number has bytes left over/,
  ],
  "removeFromCRL": [
    one({ serial: 5, reason: 8 }),
    /^it takes back a revocation, as only delta lists may$/,
  ],
  "reason 7": [one({ serial: 5, reason: 7 }), /^reason code is none$/],
  "reason 11": [one({ serial: 5, reason: 11 }), /^reason code is none$/],
  "a reason without octets": [
    one({ serial: 5, extensions: [extension("2.5.29.21", der.tlv(0x0a))] }),
    /^reason code is none$/,
  ],
  "a reason of two octets": [
    one({ serial: 5, extensions: [extension("2.5.29.21", der.tlv(0x0a, der.raw("0001")))] }),
    /^reason code is none$/,
  ],
  "a reason that is an INTEGER": [
    one({ serial: 5, extensions: [extension("2.5.29.21", der.int(1))] }),
    /^reason code has tag 0x02 where 0x0a belongs$/,
  ],
  "a reason with something behind it": [
    one({
      serial: 5,
      extensions: [extension("2.5.29.21", der.concat(der.enumerated(1), der.nil()))],
    }),
    /^reason code has bytes left over/,
  ],
  "the second entry broken, the first with the same reason": [
    { revoked: [{ serial: 5, reason: 1 }, { serial: "0005", reason: 1 }] },
    /^serial number is an INTEGER that is not DER$/,
  ],
  "a number with a needless octet": [one("0005"), /^serial number is an INTEGER that is not DER$/],
  "a negative number with one": [one("ff80"), /^serial number is an INTEGER that is not DER$/],
  "a number of no octets": [one(""), /^serial number is an empty INTEGER$/],
  "an entry without a date": [
    { entries: der.seq(der.seq(der.int(5))) },
    /^revocation date is missing$/,
  ],
  "an entry with an odd date": [
    one({ serial: 5, date: der.utcTime("269901000000Z") }),
    /^revocation date is not a time that exists$/,
  ],
  "an entry with something at its end": [
    {
      entries: der.seq(der.tlv(0x30, der.contentOf(crlEntry({ serial: 5, reason: 1 })), der.nil())),
    },
    /^entry has bytes left over at its end$/,
  ],
  "an entry that is no SEQUENCE": [{ entries: der.seq(der.int(5)) }, /^entry has tag 0x02/],
  "a field behind the extensions": [
    { fields: (fields) => [...fields, der.nil()] },
    /^signed part has bytes left over/,
  ],
  "a signature of half octets": [
    {
      finish: (list) =>
        der.seq(...der.split(der.contentOf(list)).with(2, der.bitString(der.raw("00"), 4))),
    },
    /^signature is a BIT STRING that is not of whole bytes$/,
  ],
  "something behind the signature": [
    { finish: (list) => der.tlv(0x30, der.contentOf(list), der.nil()) },
    /^revocation list has bytes left over/,
  ],
  "something behind the list": [
    { finish: (list) => der.concat(list, der.nil()) },
    /^revocation list has bytes left over/,
  ],
  "an indefinite length": [{ finish: (list) => der.indefinite(list) }, /indefinite length/],
  "a length in more bytes than needed": [
    { finish: (list) => der.longForm(list) },
    /not DER|longer/,
  ],
};

for (const [what, [options, message]] of Object.entries(REFUSED)) {
  Deno.test(`refused: ${what}`, () => {
    assert.match(refusal(makeCrl(ca, options).der), message);
  });
}

Deno.test("a certificate is no list, a list no certificate", () => {
  assert.match(refusal(ca.der), /^thisUpdate|^issuer|^signature algorithm|^it has|tag/);
  assert.throws(() => parseCertificate(makeCrl(ca).der), CertificateError);
});

Deno.test("signatures of every kind are told apart, and those of old are not taken", () => {
  const rsa = makeCa({ kind: "rsa2048" });
  const kind = (signature: NonNullable<CrlOptions["signature"]>) =>
    parseCertificateList(makeCrl(rsa, { signature }).der).signatureAlgorithm.kind;
  assert.equal(kind("rsa-sha256"), "rsa-pkcs1");
  assert.equal(kind("pss-sha384"), "rsa-pss");
  assert.equal(kind("rsa-sha1"), "unsupported");
});
