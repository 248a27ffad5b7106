/**
 * Writes PROXY headers, which carry the downstream address to the target in front of the first byte
 * of the connection.
 *
 * @module
 */

import type { ProxyProtocol } from "../config/config.ts";
import { formatIp } from "../identity.ts";
import { crc32c } from "./crc32c.ts";
import { type Endpoint, type PackedPair, packPair } from "./endpoint.ts";
import {
  COMMAND,
  FAMILY,
  FIXED_LENGTH,
  MAX_HEADER,
  SIGNATURE_V2,
  TLV,
  TLV_HEADER_LENGTH,
  TRANSPORT,
  VERSION_2,
} from "./format.ts";
import { type OmittedFact, type TlsFacts, writeTlsFacts } from "./tls_facts.ts";
import { concat, writeTlv } from "./tlv.ts";

/** The headers that can be sent; `v2-tls` is version 2 with facts about TLS and the certificate. */
export type HeaderVersion = Exclude<ProxyProtocol, "off">;

/** Facts about a connection. */
export type ConnectionFacts = {
  /** The downstream address; `undefined` where the connection did not come over TCP. */
  readonly source: Endpoint | undefined;
  /** The address that was connected to. */
  readonly destination: Endpoint | undefined;
  /** Sent only with `v2-tls`. */
  readonly tls?: TlsFacts | undefined;
};

/** How a header is written. */
export type EncodeOptions = {
  /** Adds a CRC-32C, in version 2 only; default false. */
  readonly checksum?: boolean;
};

/** A header to be sent in one write. */
export type EncodedHeader = {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Facts that were known but left out: too long, or not safe to pass on. */
  readonly omitted: readonly OmittedFact[];
};

/** Writes a header of at most 4096 bytes. */
export function encodeHeader(
  version: HeaderVersion,
  facts: ConnectionFacts,
  options: EncodeOptions = {},
): EncodedHeader {
  const pair = packPair(facts.source, facts.destination);
  switch (version) {
    case "v1":
      return { bytes: encodeLine(pair), omitted: [] };
    case "v2":
      return encodeBinary(pair, undefined, options);
    case "v2-tls":
      return encodeBinary(pair, facts.tls, options);
    // deno-coverage-ignore -- the compiler knows that nothing else comes here
    default:
      return version satisfies never;
  }
}

/** Section 2.1. Contains only numbers and addresses: no text that a peer chose. */
function encodeLine(pair: PackedPair | undefined): Uint8Array<ArrayBuffer> {
  const words = pair === undefined ? ["UNKNOWN"] : [
    pair.source.length === 4 ? "TCP4" : "TCP6",
    formatIp(pair.source),
    formatIp(pair.destination),
    pair.sourcePort,
    pair.destinationPort,
  ];
  return new TextEncoder().encode(`PROXY ${words.join(" ")}\r\n`);
}

/**
 * Section 2.2. Where the ends are not TCP or not known the command is LOCAL, as in HAProxy: every
 * receiver must accept that, while HAProxy drops a connection with any other address family.
 */
function encodeBinary(
  pair: PackedPair | undefined,
  tls: TlsFacts | undefined,
  { checksum = false }: EncodeOptions,
): EncodedHeader {
  const family = pair === undefined
    ? FAMILY.unspecified
    : pair.source.length === 4
    ? FAMILY.inet
    : FAMILY.inet6;
  const sum = checksum ? writeTlv(TLV.crc32c, new Uint8Array(4)) : new Uint8Array();
  const before = FIXED_LENGTH + family.length + sum.length;
  const { fields, omitted } = tls === undefined
    ? { fields: new Uint8Array(), omitted: [] }
    : writeTlsFacts(tls, MAX_HEADER - before);

  const bytes = concat([
    Uint8Array.from(SIGNATURE_V2),
    new Uint8Array(FIXED_LENGTH - SIGNATURE_V2.length),
    pair?.source ?? new Uint8Array(),
    pair?.destination ?? new Uint8Array(),
    new Uint8Array(pair === undefined ? 0 : 4),
    sum,
    fields,
  ]);
  const view = new DataView(bytes.buffer);
  view.setUint8(12, VERSION_2 | (pair === undefined ? COMMAND.local : COMMAND.proxy));
  const transport = pair === undefined ? TRANSPORT.unspecified : TRANSPORT.stream;
  view.setUint8(13, family.code << 4 | transport);
  view.setUint16(14, bytes.length - FIXED_LENGTH);
  if (pair !== undefined) {
    const ports = FIXED_LENGTH + family.length - 4;
    view.setUint16(ports, pair.sourcePort);
    view.setUint16(ports + 2, pair.destinationPort);
  }
  // Over the whole header, with zeros in place of the checksum.
  if (checksum) view.setUint32(FIXED_LENGTH + family.length + TLV_HEADER_LENGTH, crc32c(bytes));
  return { bytes, omitted };
}
