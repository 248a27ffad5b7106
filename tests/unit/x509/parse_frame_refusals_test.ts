/**
 * Every reason why the frame of a certificate is refused.
 *
 * @module
 */

import assert from "node:assert/strict";
import * as der from "../../support/der.ts";
import * as pki from "../../support/pki.ts";
import { refusal } from "../../support/x509/validate.ts";

const { raw } = der;

/** The usual fields by name; `change` replaces some, `undefined` leaves one out. */
const FIELDS = ["version", "serial", "algorithm", "issuer", "validity", "subject", "key"] as const;
type Change = Partial<Record<typeof FIELDS[number], Uint8Array | undefined>>;

function withFields(change: Change): Pick<pki.IssueOptions, "fields"> {
  return {
    fields: (fields) =>
      fields.flatMap((field, i) => {
        const name = FIELDS[i];
        const value = name !== undefined && name in change ? change[name] : field;
        return value === undefined ? [] : [value];
      }),
  };
}

const time = der.utcTime("240101000000Z");
const longNames = { CN: "x".repeat(65_600) };
const ecdsa = pki.signatureAlgorithm("ecdsa-sha256");

const REFUSED: readonly [string, pki.IssueOptions, string][] = [
  // The outside.
  ["trailing byte", { trailing: "00" }, "certificate has bytes left over at its end"],
  [
    "two certificates",
    { finish: (c) => der.concat(c, c) },
    "certificate has bytes left over at its end",
  ],
  ["cut off", { finish: (c) => c.subarray(0, -1) }, "certificate is cut off"],
  ["empty", { finish: () => raw("") }, "certificate is missing"],
  [
    "a PEM",
    { finish: () => new TextEncoder().encode("-----BEGIN CERTIFICATE-----") },
    "certificate has tag 0x2d where 0x30 belongs",
  ],
  [
    "long length",
    // Short enough that its length takes one byte.
    { subject: der.seq(), fields: (f) => f.slice(0, 5), finish: (c) => der.longForm(c) },
    "certificate has a length in more bytes than needed, which is not DER",
  ],
  [
    "length in three bytes",
    { finish: (c) => der.longForm(c) },
    "certificate is longer than 65535 bytes",
  ],
  [
    "indefinite",
    { finish: der.indefinite },
    "certificate has an indefinite length, which is not DER",
  ],
  ["too long", { subject: longNames }, "it is longer than 65535 bytes"],
  [
    "something behind the signature",
    { finish: (c) => der.seq(der.contentOf(c), der.nil()) },
    "certificate has bytes left over at its end",
  ],
  [
    "no signature",
    { finish: (c) => der.seq(...der.split(der.contentOf(c)).slice(0, 2)) },
    "signature is missing",
  ],
  ["signature of odd bits", {
    finish: (c) => der.seq(...der.split(der.contentOf(c)).slice(0, 2), der.bitString(raw("fe"), 1)),
  }, "signature is a BIT STRING that is not of whole bytes"],
  [
    "a set in place of the signed part",
    { tbs: (t) => der.set(der.contentOf(t)) },
    "signed part has tag 0x31 where 0x30 belongs",
  ],
  [
    "long length of the signed part",
    { tbs: (t) => der.longForm(t) },
    "signed part has a length in more bytes than needed, which is not DER",
  ],
  [
    "indefinite signed part",
    { tbs: der.indefinite },
    "signed part has an indefinite length, which is not DER",
  ],
  // Versions.
  [
    "v1",
    { version: 1 },
    "it is an X.509 v1 certificate, which can carry no restrictions; issue it as v3",
  ],
  [
    "v1 spelled out",
    { version: der.explicit(0, der.int(0)) },
    "it has an unknown X.509 version; issue it as v3",
  ],
  ["v2", { version: 2 }, "it is an X.509 v2 certificate; issue it as v3"],
  ["v4", { version: 4 }, "it has an unknown X.509 version; issue it as v3"],
  [
    "v3 in two bytes",
    { version: der.explicit(0, der.int(raw("0002"))) },
    "it has an unknown X.509 version; issue it as v3",
  ],
  [
    "v258",
    { version: der.explicit(0, der.int(raw("0102"))) },
    "it has an unknown X.509 version; issue it as v3",
  ],
  [
    "empty version",
    { version: der.explicit(0, der.int(raw(""))) },
    "it has an unknown X.509 version; issue it as v3",
  ],
  [
    "version with more behind",
    { version: der.explicit(0, der.int(2), der.nil()) },
    "version has bytes left over at its end",
  ],
  [
    "version that is none",
    { version: der.explicit(0, der.nil()) },
    "version has tag 0x05 where 0x02 belongs",
  ],
  ["no version inside", { version: der.explicit(0) }, "version is missing"],
  [
    "implicit version",
    { version: der.implicit(0, der.int(2)) },
    "it is an X.509 v1 certificate, which can carry no restrictions; issue it as v3",
  ],
  // Fields.
  ["padded serial", { serial: "0001" }, "serial number is an INTEGER that is not DER"],
  ["empty serial", { serial: "" }, "serial number is an empty INTEGER"],
  ["padded negative serial", { serial: "ffff01" }, "serial number is an INTEGER that is not DER"],
  ["very long serial", { serial: "7f".repeat(257) }, "serial number is longer than 256 bytes"],
  [
    "serial of another type",
    withFields({ serial: der.octet(raw("01")) }),
    "serial number has tag 0x04 where 0x02 belongs",
  ],
  ["no serial", withFields({ serial: undefined }), "serial number has tag 0x30 where 0x02 belongs"],
  [
    "another inner algorithm",
    { innerAlgorithm: pki.signatureAlgorithm("ecdsa-sha384") },
    "its two signature algorithms differ",
  ],
  [
    "inner NULL parameters",
    { innerAlgorithm: der.seq(der.oid("1.2.840.10045.4.3.2"), der.nil()) },
    "its two signature algorithms differ",
  ],
  [
    "algorithms that differ in length form",
    { innerAlgorithm: der.longForm(ecdsa) },
    "signature algorithm has a length in more bytes than needed, which is not DER",
  ],
  ["algorithm of three", {
    innerAlgorithm: der.seq(der.contentOf(ecdsa), der.nil(), der.nil()),
    outerAlgorithm: der.seq(der.contentOf(ecdsa), der.nil(), der.nil()),
  }, "signature algorithm has bytes left over at its end"],
  [
    "algorithm without OID",
    { innerAlgorithm: der.seq(), outerAlgorithm: der.seq() },
    "signature algorithm is missing",
  ],
  ["empty issuer", { issuerName: der.seq() }, "issuer is empty"],
  ["issuer that is none", { issuerName: der.set() }, "issuer has tag 0x31 where 0x30 belongs"],
  ["empty part of a name", { subject: der.seq(der.set()) }, "subject has an empty part"],
  [
    "part of a name that is no set",
    { subject: der.seq(der.seq()) },
    "subject has tag 0x30 where 0x31 belongs",
  ],
  [
    "attribute that is none",
    { subject: der.seq(der.set(der.nil())) },
    "subject has tag 0x05 where 0x30 belongs",
  ],
  [
    "attribute without value",
    { subject: pki.rdns([der.seq(der.oid("2.5.4.3"))]) },
    "subject is missing",
  ],
  ["attribute with two values", {
    subject: pki.rdns([der.seq(der.oid("2.5.4.3"), der.utf8("a"), der.utf8("b"))]),
  }, "subject has bytes left over at its end"],
  [
    "attribute OID that is none",
    { subject: pki.rdns([der.seq(der.tlv(6), der.utf8("a"))]) },
    "subject is not an OID",
  ],
  ["validity of one", withFields({ validity: der.seq(time) }), "notAfter is missing"],
  [
    "validity of three",
    withFields({ validity: der.seq(time, time, time) }),
    "validity has bytes left over at its end",
  ],
  [
    "time with zone",
    { notBefore: der.utcTime("240101000000+0100") },
    "notBefore is not written as YYMMDDHHMMSSZ",
  ],
  [
    "time without seconds",
    { notAfter: der.utcTime("2401010000Z") },
    "notAfter is not written as YYMMDDHHMMSSZ",
  ],
  [
    "fractions",
    { notAfter: der.generalizedTime("20500101000000.5Z") },
    "notAfter is not written as YYYYMMDDHHMMSSZ",
  ],
  ["30 February", { notAfter: der.utcTime("240230000000Z") }, "notAfter is not a time that exists"],
  ["time that is none", { notAfter: der.utf8("x") }, "notAfter is not a time"],
  [
    "unique IDs in the wrong order",
    {
      fields: (f) => [
        ...f,
        der.implicit(2, der.bitString(raw("01"))),
        der.implicit(1, der.bitString(raw("01"))),
      ],
    },
    "signed part has bytes left over at its end",
  ],
  [
    "unique ID of nine unused bits",
    { fields: (f) => [...f, der.tlv(0x81, raw("0901"))] },
    "issuer unique ID is not a BIT STRING",
  ],
  [
    "unique ID without its first octet",
    { fields: (f) => [...f, der.tlv(0x82)] },
    "subject unique ID is not a BIT STRING",
  ],
  [
    "unique ID behind the extensions",
    {
      fields: (f) => [
        ...f,
        der.explicit(3, der.seq(pki.subjectKeyId("01"))),
        der.implicit(1, der.bitString(raw("01"))),
      ],
    },
    "signed part has bytes left over at its end",
  ],
  [
    "something behind the extensions",
    { fields: (f) => [...f, der.nil()] },
    "signed part has bytes left over at its end",
  ],
  ["extensions twice", {
    extensions: der.concat(
      der.explicit(3, der.seq(pki.subjectKeyId("01"))),
      der.explicit(3, der.seq(pki.subjectKeyId("01"))),
    ),
  }, "signed part has bytes left over at its end"],
  ["extensions before the key", {
    fields: (
      f,
    ) => [...f.slice(0, 6), der.explicit(3, der.seq(pki.subjectKeyId("01"))), ...f.slice(6)],
  }, "public key has tag 0xa3 where 0x30 belongs"],
];

Deno.test({
  name: "parse: each flaw of the frame is refused with its own words",
  permissions: "none",
  fn() {
    for (const [what, options, message] of REFUSED) {
      const issued = pki.issue({ issuerName: "ca", ...options });
      assert.equal(refusal(issued.der), message, what);
    }
  },
});
