/**
 * Valid certificates whose alternative names look like what an allow rule wants, and are not it.
 *
 * @module
 */

import type { Row } from "../../support/adversary/arena.ts";
import * as der from "../../support/der.ts";
import {
  dns,
  email,
  ip,
  type Issued,
  type LeafOptions,
  otherName,
  uri,
} from "../../support/pki.ts";
import { rowsOf } from "./names.ts";

const san = (...names: der.Der[]): LeafOptions => ({ subject: "x", san: names });

/** What DNS names do. */
export function dnsRows(ca: Issued): readonly Row[] {
  const NAME = "web.acme.example";
  const rule = `acl.allow_dns: ${NAME}`;
  return [
    ...rowsOf(ca, rule, san(dns("other.example"), dns("WEB.acme.Example.")), {
      "a wildcard that covers it": san(dns("*.acme.example")),
      "a wildcard for everything": san(dns("*")),
      "the name as CN": { subject: NAME },
      "a name below it": san(dns(`x.${NAME}`)),
      "a name above it": san(dns("acme.example")),
      "a name that goes on": san(dns(`${NAME}.evil.example`)),
      "a NUL after it": san(dns(`${NAME}\0`)),
      "a NUL and a host after it": san(dns(`${NAME}\0.evil.example`)),
      "a dot before it": san(dns(`.${NAME}`)),
      "two dots after it": san(dns(`${NAME}..`)),
      "a space after it": san(dns(`${NAME} `)),
      "a line end after it": san(dns(`${NAME}\n`)),
      "a port after it": san(dns(`${NAME}:443`)),
      "the name as URI": san(uri(`https://${NAME}/`)),
      "the name as e-mail address": san(email(`a@${NAME}`)),
      "the name as another kind of name": san(otherName("1.3.6.1.5.5.7.8.7", der.ia5(NAME))),
    }),
    ...rowsOf(ca, "acl.allow_dns: *.wild.acme.example", san(dns("a.wild.acme.example")), {
      "two labels for one star": san(dns("a.b.wild.acme.example")),
      "no label for the star": san(dns("wild.acme.example")),
      "an empty label for the star": san(dns(".wild.acme.example")),
      "a star for the star": san(dns("*.wild.acme.example")),
      "a star in a label": san(dns("a*.wild.acme.example")),
      "a NUL in the label": san(dns("a\0.wild.acme.example")),
    }),
  ];
}

/** What URIs do. */
export function uriRows(ca: Issued): readonly Row[] {
  const at = (path: string): LeafOptions => san(uri(`spiffe://acme.example${path}`));
  const whole = (text: string): LeafOptions => san(uri(text));
  return [
    ...rowsOf(ca, "acl.allow_uri: spiffe://acme.example/ns/*/web", at("/ns/prod/web"), {
      "a way back": at("/ns/x/../prod/web"),
      "a way back in place of the star": at("/ns/../web"),
      "a way that stays": at("/ns/./web"),
      "an encoded way back": at("/ns/%2e%2e/web"),
      "a half-encoded way back": at("/ns/.%2E/web"),
      "a way back encoded twice": at("/ns/%252e%252e/web"),
      "an encoded slash in place of the star": at("/ns/a%2fb/web"),
      "an encoded backslash": at("/ns/a%5cb/web"),
      "a backslash": at("/ns/a\\b/web"),
      "an encoded letter": at("/ns/prod/%77eb"),
      "an empty segment": at("/ns//web"),
      "an empty segment besides": at("/ns/prod//web"),
      "two segments for one star": at("/ns/a/b/web"),
      "no segment for the star": at("/ns/web"),
      "a query": at("/ns/prod/web?a"),
      "an empty query": at("/ns/prod/web?"),
      "a fragment": at("/ns/prod/web#a"),
      "a slash at the end": at("/ns/prod/web/"),
      "another case in the path": at("/ns/prod/Web"),
      "a NUL at the end": at("/ns/prod/web\0"),
      "an encoded NUL": at("/ns/%00/web"),
      "a space": at("/ns/prod/web "),
      "a line end": at("/ns/prod/web\n"),
      "a percent sign alone": at("/ns/%/web"),
      "upper case in the host": whole("spiffe://Acme.example/ns/prod/web"),
      "upper case in the scheme": whole("SPIFFE://acme.example/ns/prod/web"),
      "another scheme": whole("https://acme.example/ns/prod/web"),
      "a user in front of the host": whole("spiffe://a@acme.example/ns/prod/web"),
      "the host as a user of another": whole("spiffe://acme.example@evil.example/ns/prod/web"),
      "a port": whole("spiffe://acme.example:443/ns/prod/web"),
      "a dot behind the host": whole("spiffe://acme.example./ns/prod/web"),
      "an encoded host": whole("spiffe://acme%2eexample/ns/prod/web"),
      "a host that goes on": whole("spiffe://acme.example.evil/ns/prod/web"),
      "no host": whole("spiffe:/acme.example/ns/prod/web"),
      "three slashes": whole("spiffe:///acme.example/ns/prod/web"),
      "the URI as CN": { subject: "spiffe://acme.example/ns/prod/web" },
      "the URI as DNS name": san(dns("spiffe://acme.example/ns/prod/web")),
    }),
    ...rowsOf(ca, "acl.allow_uri: spiffe://acme.example/deep/**", at("/deep/a/b/c"), {
      "a way out of what is below": at("/deep/../ns/admin"),
      "an encoded way out": at("/deep/%2e%2e/ns/admin"),
      "a way out after a while": at("/deep/a/b/../../../admin"),
      "what only begins so": at("/deeper/a"),
    }),
  ];
}

/** What addresses do. */
export function ipRows(ca: Issued): readonly Row[] {
  return [
    ...rowsOf(ca, "acl.allow_ip: 10.0.0.0/8", san(ip(mapped(10, 1, 2, 3))), {
      "next to the network": san(ip("11.0.0.0")),
      "the address as DNS name": san(dns("10.1.2.3")),
      "the address as CN": { subject: "10.1.2.3" },
      "the address as URI": san(uri("https://10.1.2.3/")),
      "its digits in the last bytes of IPv6": san(ip(Uint8Array.of(...zeros(12), 10, 1, 2, 3))),
      "its digits in the first bytes of IPv6": san(ip(Uint8Array.of(10, 1, 2, 3, ...zeros(12)))),
      "behind a NAT64 prefix": san(
        ip(Uint8Array.of(0, 0x64, 0xff, 0x9b, ...zeros(8), 10, 1, 2, 3)),
      ),
      "in 6to4's form": san(ip(Uint8Array.of(0x20, 0x02, 10, 1, 2, 3, ...zeros(10)))),
    }),
    ...rowsOf(ca, "acl.allow_ip: 192.0.2.7", san(ip("192.0.2.7")), {
      "the next address": san(ip("192.0.2.8")),
      "mapped, the next address": san(ip(mapped(192, 0, 2, 8))),
    }),
    ...rowsOf(ca, "acl.allow_ip: 2001:db8::/32", san(ip("2001:db8::7")), {
      "next to the network": san(ip("2001:db9::7")),
      "the first four bytes as IPv4": san(ip(Uint8Array.of(0x20, 0x01, 0x0d, 0xb8))),
    }),
  ];
}

function zeros(count: number): number[] {
  return new Array<number>(count).fill(0);
}

/** An IPv4-mapped address. */
export function mapped(...octets: readonly number[]): Uint8Array {
  return Uint8Array.of(...zeros(10), 0xff, 0xff, ...octets);
}
