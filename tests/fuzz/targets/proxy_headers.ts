/**
 * The first bytes of a connection where PROXY headers are expected, both versions.
 *
 * Claims: any beginning of the input is understood as the input is, or as not yet enough; a second
 * reader, written from the specification, finds the same addresses; what is written of them is read as
 * the same again.
 *
 * @module
 */

import assert from "node:assert/strict";
import { parseIp, unmapIp } from "../../../src/util/ip.ts";
import type { EndpointPair } from "../../../src/proxy_protocol/endpoint.ts";
import { crc32c } from "../../../src/proxy_protocol/crc32c.ts";
import { encodeHeader } from "../../../src/proxy_protocol/encode.ts";
import type { ParsedHeader } from "../../../src/proxy_protocol/parse.ts";
import { concat } from "../../support/der.ts";
import type { Code } from "../instrument.ts";
import { havoc } from "../mutate.ts";
import type { MutationContext, Target } from "../target.ts";

/** The longest header that is taken: `MAX_HEADER`. */
const MAX_HEADER = 4_096;
const SIGNATURE = Uint8Array.fromHex("0d0a0d0a000d0a515549540a");
const CRC = 0x03;

/** A header is read from its beginning each time more of it came: at most 4096 bytes of it. */
export const proxyHeaders: Target = {
  name: "proxy_headers",
  about: "PROXY protocol headers, versions 1 and 2; read alike by a second reader",
  boundedRuns: 150_000,
  maxLength: 6_000,
  maxSteps: (length) => 1_000 + 20 * Math.min(length, MAX_HEADER),
  seeds() {
    const text = (line: string) => new TextEncoder().encode(line);
    const pairs = [["192.0.2.1", "198.51.100.2"], ["2001:db8::1", "2001:db8::2"]] as const;
    const tls = {
      protocol: "TLSv1.3",
      alpn: "h2",
      serverName: "a.example",
      cipher: "TLS_AES_128_GCM_SHA256",
      certificate: { der: new Uint8Array(40).fill(0x30), commonName: "a", resumed: false },
    };
    const made = pairs.flatMap(([from, to]) => {
      const facts = {
        source: { host: from, port: 40_000 },
        destination: { host: to, port: 443 },
        tls,
      };
      return (["v1", "v2", "v2-tls"] as const).flatMap((version) =>
        [false, true].map((checksum) => encodeHeader(version, facts, { checksum }).bytes)
      );
    });
    const unix = concat(SIGNATURE, Uint8Array.of(0x21, 0x31, 0, 216), new Uint8Array(216));
    return [
      ...made,
      unix,
      encodeHeader("v2", { source: undefined, destination: undefined }).bytes,
      text("PROXY UNKNOWN\r\n"),
      text("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\nGET / HTTP/1.1\r\n"),
      text("PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n"),
    ];
  },
  mutate: change,
  run(code, input) {
    const parsed = code.parseHeader(input);
    return { accepted: parsed.kind === "header", claims: () => check(code, input, parsed) };
  },
};

/** Changes bytes; every other time puts the length of version 2, and sometimes its checksum, right. */
function change(input: Uint8Array, context: MutationContext): Uint8Array {
  const { random } = context;
  const bytes = havoc(input, context).slice();
  if (bytes.length < 16 || bytes.length > 4_096 || random.oneIn(2)) return bytes;
  if (SIGNATURE.some((byte, i) => bytes[i] !== byte)) return bytes;
  const view = new DataView(bytes.buffer);
  view.setUint16(14, bytes.length - 16);
  const addresses = [0, 12, 36, 216][(bytes[13] ?? 0) >> 4] ?? 0;
  for (let at = 16 + addresses; at + 3 <= bytes.length && random.oneIn(2);) {
    const size = view.getUint16(at + 1);
    if (bytes[at] === CRC && size === 4 && at + 7 <= bytes.length) {
      view.setUint32(at + 3, 0);
      view.setUint32(at + 3, crc32c(bytes));
      break;
    }
    at += 3 + size;
  }
  return bytes;
}

function check(code: Code, input: Uint8Array, parsed: ParsedHeader): void {
  for (const length of new Set([0, 1, 6, 12, 15, 16, input.length >> 1, input.length - 1])) {
    if (length < 0 || length >= input.length) continue;
    const before = code.parseHeader(input.subarray(0, length));
    if (before.kind === "more") continue;
    assert.deepEqual(before, parsed, `after ${length} of ${input.length} bytes`);
  }
  if (parsed.kind !== "header") return;
  const { length, proxied } = parsed;
  assert.ok(length > 0 && length <= Math.min(input.length, MAX_HEADER), `length ${length}`);
  assert.deepEqual(code.parseHeader(input.subarray(0, length)), parsed, "without what follows");
  assert.equal(code.parseHeader(input.subarray(0, length - 1)).kind, "more", "a byte less");
  assert.deepEqual(second(input.subarray(0, length)), proxied && packed(proxied), "second reader");
  if (proxied === undefined) return;
  for (const version of ["v1", "v2"] as const) {
    const { bytes } = code.encodeHeader(version, proxied);
    assert.deepEqual(code.parseHeader(bytes), { kind: "header", length: bytes.length, proxied });
  }
}

/** Addresses and ports in numbers. */
type Packed = { readonly from: string; readonly to: string; readonly ports: readonly number[] };

function packed({ source, destination }: EndpointPair): Packed {
  const address = (host: string) => unmapIp(parseIp(host) ?? new Uint8Array()).toHex();
  return {
    from: address(source.host),
    to: address(destination.host),
    ports: [source.port, destination.port],
  };
}

/** A header as the specification's own example code reads it, which trusts that it is sound. */
function second(header: Uint8Array): Packed | undefined {
  if (header[0] === 0x50) {
    const line = new TextDecoder().decode(header.subarray(0, -2));
    const [, family, from = "", to = "", ...ports] = line.split(" ");
    if (family === "UNKNOWN") return undefined;
    const bytes = (host: string) =>
      unmapIp(Uint8Array.from(family === "TCP4" ? dotted(host) : grouped(host)));
    return { from: bytes(from).toHex(), to: bytes(to).toHex(), ports: ports.map(Number) };
  }
  const view = new DataView(header.buffer, header.byteOffset, header.length);
  const size = { 0x11: 4, 0x21: 16 }[view.getUint8(13)];
  if ((view.getUint8(12) & 0xf) !== 1 || size === undefined) return undefined;
  const address = (at: number) => unmapIp(header.subarray(at, at + size)).toHex();
  const ports = 16 + 2 * size;
  return {
    from: address(16),
    to: address(16 + size),
    ports: [view.getUint16(ports), view.getUint16(ports + 2)],
  };
}

function dotted(host: string): number[] {
  return host.split(".").map(Number);
}

/** RFC 4291 section 2.2, all three forms. */
function grouped(host: string): number[] {
  const side = (text: string) =>
    text === "" ? [] : text.split(":").flatMap((part) => {
      if (part.includes(".")) return dotted(part);
      const value = Number.parseInt(part, 16);
      return [value >> 8, value & 0xff];
    });
  const [head = "", tail] = host.split("::");
  if (tail === undefined) return side(head);
  const [before, after] = [side(head), side(tail)];
  return [...before, ...new Array<number>(16 - before.length - after.length).fill(0), ...after];
}
