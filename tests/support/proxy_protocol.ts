/**
 * Headers for tests: written by hand, octet by octet, and taken apart again.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import type { ConnectionFacts } from "../../src/proxy_protocol/encode.ts";
import type { Endpoint } from "../../src/proxy_protocol/endpoint.ts";
import type { CertificateFacts, TlsFacts } from "../../src/proxy_protocol/tls_facts.ts";
import { type ParsedHeader, parseHeader } from "../../src/proxy_protocol/parse.ts";
import { readTlvs } from "../../src/proxy_protocol/tlv.ts";
import { formatIp } from "../../src/identity.ts";

/** Octets from hex; blanks are for the reader. */
export function hex(text: string): Uint8Array {
  return Uint8Array.fromHex(text.replaceAll(/\s/g, ""));
}

/** Octets of text, a character each. */
export function octets(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** What version 2 begins with, in hex. */
export const SIGNATURE = "0d0a0d0a 000d0a51 5549540a";

/** A version 2 header: command and family as written, the length by what follows. */
export function binary(commandAndFamily: string, rest = ""): Uint8Array {
  const { length } = hex(rest);
  return hex(`${SIGNATURE} ${commandAndFamily} ${length.toString(16).padStart(4, "0")} ${rest}`);
}

/** A TLV in hex. */
export function tlvHex(type: number, value: Uint8Array | string): string {
  const text = typeof value === "string" ? octets(value) : value;
  return Uint8Array.of(type, text.length >> 8, text.length & 0xff, ...text).toHex();
}

/** The TLVs behind an IPv4 or IPv6 pair as `type: text`; the one about TLS is taken apart too. */
export function tlvsOf(header: Uint8Array): string[] {
  const addresses = { 0x00: 0, 0x11: 12, 0x21: 36 }[header[13] ?? -1];
  assert(addresses !== undefined, header.toHex());
  const show = (bytes: Uint8Array, prefix: string): string[] => {
    const fields = readTlvs(bytes);
    assert(fields !== undefined, bytes.toHex());
    return fields.flatMap(({ type, value }) => {
      const name = `${prefix}${type.toString(16).padStart(2, "0")}`;
      if (prefix === "" && type === 0x20) {
        return [`20: ${value.subarray(0, 5).toHex()}`, ...show(value.subarray(5), "20/")];
      }
      const binary = type === 0x28 || type === 0x03;
      return [`${name}: ${binary ? value.toHex() : new TextDecoder().decode(value)}`];
    });
  };
  return show(header.subarray(16 + addresses), "");
}

/** Feeds a header as it would come: in pieces that end at these places. */
export function parseInPieces(bytes: Uint8Array, cuts: readonly number[]): ParsedHeader {
  for (const cut of [...cuts].sort((a, b) => a - b)) {
    const parsed = parseHeader(bytes.subarray(0, cut));
    if (parsed.kind !== "more") return parsed;
  }
  return parseHeader(bytes);
}

/** Runs of a property, always the same ones. */
export const RUNS = { numRuns: 1000, seed: 20_260_328 } as const;

const port = fc.oneof(fc.constantFrom(0, 1, 80, 443, 65535), fc.nat(65535));
const host = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
  fc.constantFrom("::", "::1", "::ffff:192.0.2.1", "fe80::1%eth0", "255.255.255.255"),
).map((value) => typeof value === "string" ? value : formatIp(value));

/** An end of a connection. */
export const anyEndpoint: fc.Arbitrary<Endpoint> = fc.record({ host, port });

const text = fc.oneof(
  fc.constantFrom("h2", "db.example.com", "", "a\0b", "a\r\nb", "x".repeat(300), "J\u00f6rg"),
  fc.string({ unit: "binary" }),
);
const maybe = <T>(one: fc.Arbitrary<T>) => fc.option(one, { nil: undefined });

const anyCertificate: fc.Arbitrary<CertificateFacts> = fc.record({
  der: fc.oneof(
    fc.uint8Array({ maxLength: 64 }),
    fc.integer({ min: 3500, max: 4200 }).map((length) => new Uint8Array(length)),
    fc.constantFrom(70_000, 1_000_000).map((length) => new Uint8Array(length)),
  ),
  commonName: maybe(text),
  resumed: fc.boolean(),
});

/** What is known of TLS, or a peer would like us to believe. */
export const anyTls: fc.Arbitrary<TlsFacts> = fc.record({
  protocol: fc.constantFrom("TLSv1.2", "TLSv1.3"),
  alpn: maybe(text),
  serverName: maybe(text),
  cipher: maybe(text),
  keyAlgorithm: maybe(text),
  signatureAlgorithm: maybe(text),
  certificate: maybe(anyCertificate),
});

/** A connection. */
export const anyConnection: fc.Arbitrary<ConnectionFacts> = fc.record({
  source: fc.option(anyEndpoint, { nil: undefined, freq: 10 }),
  destination: fc.option(anyEndpoint, { nil: undefined, freq: 10 }),
  tls: maybe(anyTls),
});
