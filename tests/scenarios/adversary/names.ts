/**
 * Valid certificates whose subject looks like what an allow rule wants, and is not it.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { holder, type Refused, type Row } from "../../support/adversary/arena.ts";
import * as der from "../../support/der.ts";
import {
  attribute,
  dns,
  email,
  type Issued,
  type LeafOptions,
  makeKey,
  makeLeaf,
  type NameInput,
  rdns,
} from "../../support/pki.ts";

const NO_MATCH: Refused = { denied: /^no allow rule matches$/ };

/** The rules that the rows of this file and of `sans.ts` are about; `pin` is a key's fingerprint. */
export function allowRules(pin: string): Readonly<Record<string, readonly string[]>> {
  return {
    allow_cn: ["good-client", "frontend-service", "J\u00f6rg", "front\u754cend"],
    allow_org: ["Acme, Inc."],
    allow_ou: ["payments"],
    allow_dns: ["web.acme.example", "*.wild.acme.example"],
    allow_uri: ["spiffe://acme.example/ns/*/web", "spiffe://acme.example/deep/**"],
    allow_ip: ["192.0.2.7", "10.0.0.0/8", "2001:db8::/32"],
    allow_spki: [pin],
  };
}

/** Makes rows of one rule: what the peer shows, against what the rule wants. */
export function rowsOf(
  ca: Issued,
  rule: string,
  good: LeafOptions,
  tricks: Readonly<Record<string, LeafOptions>>,
): readonly Row[] {
  const leaf = (options: LeafOptions) => holder(makeLeaf({ role: "client", ...options }, ca));
  const control = leaf(good);
  return Object.entries(tricks).map(([name, options]) => ({
    name: `${rule}: ${name}`,
    peer: leaf(options),
    refused: NO_MATCH,
    control,
    rule,
  }));
}

const CN = "frontend-service";

/** A subject that is nothing but this CN. */
function cn(value: string | der.Der): LeafOptions {
  return { subject: { CN: value } };
}

function tag(kind: number, bytes: Uint8Array | string): der.Der {
  return der.tlv(kind, typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
}

const UTF8 = 0x0c;
const PRINTABLE = 0x13;
const BMP = 0x1e;

/** What CNs do. */
export function commonNameRows(ca: Issued): readonly Row[] {
  const rule = `acl.allow_cn: ${CN}`;
  const two = (...names: string[]): LeafOptions => ({ subject: { CN: names } });
  const strings = rowsOf(ca, rule, cn(CN), {
    "a NUL after it": cn(`${CN}\0`),
    "a NUL and more after it": cn(`${CN}\0.evil.example`),
    "a NUL before it": cn(`\0${CN}`),
    "another case": cn("Frontend-Service"),
    "a space before it": cn(` ${CN}`),
    "a space after it": cn(`${CN} `),
    "a no-break space after it": cn(`${CN}\u00a0`),
    "a line end after it": cn(`${CN}\n`),
    "a line end and a log line of its own": cn(
      `${CN}\ntime=2026-01-01T00:00:00.000Z level=INFO msg="listener: accepted connection" x="`,
    ),
    "a terminal's escape sequence around it": cn(`\u001b[31m${CN}\u001b[0m`),
    "a letter that looks the same": cn("fr\u043entend-service"),
    "letters of full width": cn("\uff46rontend-service"),
    "a zero-width space in it": cn("frontend\u200b-service"),
    "a byte order mark before it": cn(`\ufeff${CN}`),
    "a change of direction around it": cn(`\u202e${CN}`),
    "a longer name": cn(`${CN}2`),
    "a shorter name": cn(CN.slice(0, -1)),
    "a list that holds it": cn(`${CN},other`),
    "a pattern that covers it": cn("*"),
    "an empty name": cn(""),
    "the name twice": two(CN, CN),
    "the name and another one": two(CN, "other"),
    "another one and the name": two("other", CN),
    "the name and one that cannot be read": {
      subject: rdns([attribute("CN", CN)], [attribute("CN", der.teletex("x"))]),
    },
    "the name and another one in one part of the subject": {
      subject: rdns([attribute("CN", CN), attribute("CN", "other")]),
    },
    "the name as O": { subject: { CN: "x", O: CN } },
    "the name as OU": { subject: { CN: "x", OU: CN } },
    "the name as serialNumber": { subject: { CN: "x", serialNumber: CN } as NameInput },
    "the name as DNS name": { ...cn("x"), san: [dns(CN)] },
    "the name as e-mail address": { ...cn("x"), san: [email(`${CN}@acme.example`)] },
    "the whole subject in the CN": cn(`x, CN=${CN}`),
  });
  const encodings = rowsOf(ca, rule, cn(tag(PRINTABLE, CN)), {
    "as TeletexString": cn(der.teletex(CN)),
    "as UniversalString": cn(der.universal(CN)),
    "as an OCTET STRING": cn(der.octet(Buffer.from(CN))),
    "as PrintableString with a NUL": cn(tag(PRINTABLE, `${CN}\0`)),
    "as UTF8String with a byte that is none": cn(tag(UTF8, `${CN}\xff`)),
    "as UTF8String with a letter in more bytes than needed": cn(
      tag(UTF8, Buffer.concat([Buffer.from([0xc1, 0xa6]), Buffer.from(CN.slice(1))])),
    ),
    "as BMPString of twice the letters in half the bytes": cn(tag(BMP, CN)),
    "as BMPString of an odd number of bytes": cn(
      der.tlv(BMP, der.contentOf(der.bmp(CN)), Uint8Array.of(0)),
    ),
  });
  return [
    ...strings,
    ...encodings,
    ...rowsOf(ca, rule, cn(der.bmp(CN)), { "as BMPString with a NUL": cn(der.bmp(`${CN}\0`)) }),
    ...rowsOf(ca, "acl.allow_cn: J\u00f6rg", cn("J\u00f6rg"), {
      "composed another way": cn("Jo\u0308rg"),
      "as TeletexString": cn(der.teletex("J\u00f6rg")),
      "UTF-8 read as Latin-1": cn("J\u00c3\u00b6rg"),
      "Latin-1 in a UTF8String": cn(tag(UTF8, "J\xf6rg")),
    }),
    ...rowsOf(ca, "acl.allow_cn: front\u754cend", cn("front\u754cend"), {
      "a character's low byte only": cn(Buffer.from("front\u754cend", "latin1").toString("latin1")),
    }),
  ];
}

/** What O and OU do. */
export function organizationRows(ca: Issued): readonly Row[] {
  const o = (O: string | string[]): LeafOptions => ({ subject: { CN: "x", O } });
  const ou = (OU: string | string[]): LeafOptions => ({ subject: { CN: "x", OU } });
  return [
    ...rowsOf(ca, "acl.allow_org: Acme, Inc.", o(["other", "Acme, Inc."]), {
      "another case": o("ACME, INC."),
      "half of it": o("Acme"),
      "in two halves": o(["Acme", "Inc."]),
      "escaped": o("Acme\\, Inc."),
      "a NUL after it": o("Acme, Inc.\0"),
      "two spaces in it": o("Acme,  Inc."),
      "as OU": ou("Acme, Inc."),
      "as CN": { subject: { CN: "Acme, Inc." } },
    }),
    ...rowsOf(ca, "acl.allow_ou: payments", ou(["x", "payments"]), {
      "another case": ou("Payments"),
      "a space after it": ou("payments "),
      "a line end after it": ou("payments\r\n"),
      "as O": o("payments"),
      "a path that holds it": ou("payments/admin"),
    }),
  ];
}

/** A pinned key. */
export function pinRows(ca: Issued, pin: string, key: Issued["key"]): readonly Row[] {
  return rowsOf(ca, `acl.allow_spki: ${pin}`, { subject: "renewed", key }, {
    "another key": { subject: "renewed", key: makeKey() },
    "the pin as a name": { subject: pin },
  });
}
