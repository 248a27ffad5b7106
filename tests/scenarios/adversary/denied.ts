/**
 * Peers that a deny rule means, written so that it might not see them. Every one of them matches an
 * allow rule besides.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { holder, type Row } from "../../support/adversary/arena.ts";
import * as der from "../../support/der.ts";
import {
  attribute,
  dns,
  ip,
  type Issued,
  type LeafOptions,
  makeKey,
  makeLeaf,
  rdns,
  uri,
} from "../../support/pki.ts";
import { mapped } from "./sans.ts";

const ORG = attribute("O", "acme");
const ALLOWED = "acl.allow_org: acme";

/** The rules that the rows are about; `pin` is a key's fingerprint. */
export function denyRules(pin: string): Readonly<Record<string, readonly string[]>> {
  return {
    allow_org: ["acme"],
    deny_cn: ["mallory", "M\u00fcller"],
    deny_org: ["Evil Corp"],
    deny_ou: ["interns"],
    deny_dns: ["bad.acme.example", "*.worse.acme.example"],
    deny_uri: ["spiffe://acme.example/ns/prod/**"],
    deny_ip: ["203.0.113.0/24"],
    deny_spki: [pin],
  };
}

function rowsOf(
  ca: Issued,
  rule: string,
  good: LeafOptions,
  tricks: Readonly<Record<string, LeafOptions>>,
): readonly Row[] {
  const usual = { role: "client", subject: { O: "acme", CN: "x" } } as const;
  const leaf = (options: LeafOptions) => holder(makeLeaf({ ...usual, ...options }, ca));
  const escaped = rule.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
  return Object.entries(tricks).map(([name, options]) => ({
    name: `${rule}: ${name}`,
    peer: leaf(options),
    refused: { denied: new RegExp(`^${escaped}$`) },
    control: leaf(good),
    rule: ALLOWED,
  }));
}

function subject(type: string, ...values: readonly (string | der.Der)[]): LeafOptions {
  return { subject: rdns([ORG], ...values.map((value) => [attribute(type, value)])) };
}

/** CN, O, OU. */
export function deniedSubjectRows(ca: Issued): readonly Row[] {
  const cn = (...values: (string | der.Der)[]) => subject("CN", ...values);
  return [
    ...rowsOf(ca, "acl.deny_cn: mallory", cn("alice"), {
      "plainly": cn("mallory"),
      "a NUL after it": cn("mallory\0"),
      "a NUL and more after it": cn("mallory\0.acme.example"),
      "a line end after it": cn("mallory\n"),
      "a zero-width space in it": cn("mal\u200blory"),
      "a byte order mark before it": cn("\ufeffmallory"),
      "as the second of two names": cn("alice", "mallory"),
      "as the last of 40 names": cn(...new Array<string>(39).fill("alice"), "mallory"),
      "as PrintableString": cn(der.printable("mallory")),
      "as BMPString": cn(der.bmp("mallory")),
      "as TeletexString": cn(der.teletex("mallory")),
      "as UniversalString": cn(der.universal("mallory")),
      "as IA5String": cn(der.ia5("mallory")),
      "as VisibleString": cn(der.tlv(0x1a, Buffer.from("mallory"))),
      "as UTF8String with a byte that is none": cn(
        der.tlv(0x0c, Buffer.from("mallory\xff", "latin1")),
      ),
    }),
    ...rowsOf(ca, "acl.deny_cn: M\u00fcller", cn("Miller"), {
      "as TeletexString": cn(der.teletex("M\u00fcller")),
      "UTF-8 in a TeletexString": cn(der.tlv(0x14, Buffer.from("M\u00fcller"))),
    }),
    ...rowsOf(ca, "acl.deny_org: Evil Corp", subject("O", "Good Corp"), {
      "as the second of two": subject("O", "Evil Corp"),
      "as the second of two, with a NUL": subject("O", "Evil Corp\0"),
      "as TeletexString": subject("O", der.teletex("Evil Corp")),
    }),
    ...rowsOf(ca, "acl.deny_ou: interns", subject("OU", "staff"), {
      "plainly": subject("OU", "interns"),
      "as the second of two": subject("OU", "staff", "interns"),
      "as BMPString with a NUL": subject("OU", der.bmp("interns\0")),
    }),
  ];
}

const san = (...names: der.Der[]): LeafOptions => ({ san: names });

/** DNS, URI, IP, keys. */
export function deniedSanRows(
  ca: Issued,
  pin: string,
  key: Issued["key"],
): readonly Row[] {
  const at = (path: string) => san(uri(`spiffe://acme.example${path}`));
  return [
    ...rowsOf(ca, "acl.deny_dns: bad.acme.example", san(dns("fine.acme.example")), {
      "plainly": san(dns("bad.acme.example")),
      "upper case": san(dns("BAD.Acme.Example")),
      "a dot after it": san(dns("bad.acme.example.")),
      "two dots after it": san(dns("bad.acme.example..")),
      "a NUL and more after it": san(dns("bad.acme.example\0.fine.example")),
      "a space before it": san(dns(" bad.acme.example")),
      "a wildcard that covers it": san(dns("*.acme.example")),
      "a star in a label that covers it": san(dns("b*.acme.example")),
      "behind 50 others": san(
        ...Array.from({ length: 50 }, (_, i) => dns(`h${i}.acme.example`)),
        dns("bad.acme.example"),
      ),
    }),
    ...rowsOf(ca, "acl.deny_dns: *.worse.acme.example", san(dns("worse.acme.example")), {
      "a name": san(dns("x.worse.acme.example")),
      "a wildcard": san(dns("*.worse.acme.example")),
    }),
    ...rowsOf(ca, "acl.deny_uri: spiffe://acme.example/ns/prod/**", at("/ns/dev/web"), {
      "plainly": at("/ns/prod/web"),
      "a way back": at("/ns/dev/../prod/web"),
      "an encoded way back": at("/ns/dev/%2e%2e/prod/web"),
      "a way back encoded twice": at("/ns/dev/%252e%252e/prod/web"),
      "a way back in overlong UTF-8": at("/ns/dev/%c0%ae%c0%ae/prod/web"),
      "an encoded slash": at("/ns%2fprod/web"),
      "a backslash": at("/ns\\prod/web"),
      "an encoded letter": at("/ns/%70rod/web"),
      "an empty segment": at("/ns//prod/web"),
      "a dot segment": at("/ns/./prod/web"),
      "a query": at("/ns/prod/web?x"),
      "a fragment": at("/ns/prod#/dev"),
      "a slash at the end": at("/ns/prod/web/"),
      "a NUL": at("/ns/prod\0/web"),
      "upper case in scheme and host": san(uri("SPIFFE://ACME.example/ns/prod/web")),
      "a user in front of the host": san(uri("spiffe://me@acme.example/ns/prod/web")),
      "a port": san(uri("spiffe://acme.example:8443/ns/prod/web")),
      "a dot behind the host": san(uri("spiffe://acme.example./ns/prod/web")),
      "an encoded host": san(uri("spiffe://acme%2Eexample/ns/prod/web")),
      "as the second of two": san(
        uri("spiffe://acme.example/ns/dev"),
        uri("spiffe://acme.example/ns/prod"),
      ),
    }),
    ...rowsOf(ca, "acl.deny_ip: 203.0.113.0/24", san(ip("203.0.112.7")), {
      "plainly": san(ip("203.0.113.7")),
      "mapped into IPv6": san(ip(mapped(203, 0, 113, 7))),
      "as the second of two": san(ip("203.0.112.7"), ip("203.0.113.7")),
    }),
    ...rowsOf(ca, `acl.deny_spki: ${pin}`, { key: makeKey() }, {
      "a stolen key in a new certificate": { key },
    }),
  ];
}
