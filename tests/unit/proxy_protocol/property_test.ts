import assert from "node:assert/strict";
import fc from "fast-check";
import { encodeHeader } from "../../../src/proxy_protocol/encode.ts";
import { endpoint, hostBytes, packPair } from "../../../src/proxy_protocol/endpoint.ts";
import { type ParsedHeader, parseHeader } from "../../../src/proxy_protocol/parse.ts";
import {
  anyConnection,
  hex,
  octets,
  parseInPieces,
  RUNS,
  SIGNATURE,
  tlvsOf,
} from "../../support/proxy_protocol.ts";

const PURE = { permissions: "none" } as const;
const VERSIONS = ["v1", "v2", "v2-tls"] as const;

const anyHeader = fc.record({
  version: fc.constantFrom(...VERSIONS),
  facts: anyConnection,
  checksum: fc.boolean(),
});
const cuts = fc.array(fc.nat(4200), { maxLength: 20 });

/** An end as the receiver should see it. */
function plain(end: { host: string; port: number }) {
  return endpoint(hostBytes(end.host) ?? new Uint8Array(), end.port);
}

Deno.test("what is written is read as it was, in any pieces, and nothing behind it", PURE, () => {
  fc.assert(
    fc.property(anyHeader, cuts, fc.uint8Array(), ({ version, facts, checksum }, cuts, rest) => {
      const { bytes } = encodeHeader(version, facts, { checksum });
      const { source, destination } = facts;
      const known = packPair(source, destination) !== undefined;
      const expected: ParsedHeader = {
        kind: "header",
        length: bytes.length,
        proxied: known && source !== undefined && destination !== undefined
          ? { source: plain(source), destination: plain(destination) }
          : undefined,
      };
      const stream = Uint8Array.of(...bytes, ...rest);
      assert.deepEqual(parseInPieces(stream, cuts), expected);
      assert(bytes.length <= (version === "v1" ? 107 : 4096));
    }),
    RUNS,
  );
});

Deno.test("what a peer has named is in the header exactly, or not at all", PURE, () => {
  fc.assert(
    fc.property(anyConnection, (facts) => {
      const { bytes, omitted } = encodeHeader("v2-tls", facts);
      const fields = tlvsOf(bytes);
      for (
        const [type, name, text] of [
          ["01", "alpn", facts.tls?.alpn],
          ["02", "serverName", facts.tls?.serverName],
          ["20/22", "commonName", facts.tls?.certificate?.commonName],
          ["20/23", "cipher", facts.tls?.cipher],
        ] as const
      ) {
        const found = fields.filter((field) => field.startsWith(`${type}: `));
        const sent = text !== undefined && !omitted.includes(name);
        assert.equal(found.length, sent ? 1 : 0);
        // A byte order mark is lost on the way back here, not in the header.
        if (sent) assert.equal(found[0], `${type}: ${text.replace(/^\ufeff/, "")}`);
      }
    }),
    RUNS,
  );
});

/** Never more than is there, never longer than the limits, the same in any pieces. */
function assertSound(bytes: Uint8Array, cuts: readonly number[]): ParsedHeader {
  const parsed = parseHeader(bytes);
  if (parsed.kind === "header") {
    assert(parsed.length <= bytes.length && parsed.length <= 4096 && parsed.length >= 15);
  }
  if (parsed.kind === "more") assert(bytes.length < 4096);
  if (parsed.kind === "more" && bytes[0] === 0x50) assert(bytes.length < 107);
  assert.deepEqual(parseInPieces(bytes, cuts.filter((cut) => cut <= bytes.length)), parsed);
  return parsed;
}

const mutation = fc.record({
  at: fc.nat(),
  near: fc.boolean(),
  kind: fc.constantFrom("set", "flip", "insert", "delete", "truncate"),
  byte: fc.oneof(fc.nat(255), fc.constantFrom(0x0d, 0x0a, 0x20, 0x00, 0xff)),
});

function mutate(
  bytes: Uint8Array,
  { at, near, kind, byte }: { at: number; near: boolean; kind: string; byte: number },
): Uint8Array {
  const all = [...bytes];
  const index = at % (near ? Math.min(60, all.length) : all.length || 1);
  if (kind === "set") all[index] = byte;
  if (kind === "flip") all[index] = (all[index] ?? 0) ^ (1 << (byte & 7));
  if (kind === "insert") all.splice(index, 0, byte);
  if (kind === "delete") all.splice(index, 1);
  if (kind === "truncate") all.length = index;
  return Uint8Array.from(all);
}

Deno.test("headers that were damaged never throw, nor pass for longer than they are", PURE, () => {
  const seen = new Map<string, number>();
  fc.assert(
    fc.property(
      anyHeader,
      fc.array(mutation, { minLength: 1, maxLength: 4 }),
      cuts,
      fc.uint8Array({ maxLength: 200 }),
      ({ version, facts, checksum }, mutations, cuts, rest) => {
        let { bytes }: { bytes: Uint8Array } = encodeHeader(version, facts, { checksum });
        for (const one of mutations) if (bytes.length > 0) bytes = mutate(bytes, one);
        const { kind } = assertSound(Uint8Array.of(...bytes, ...rest), cuts);
        seen.set(kind, (seen.get(kind) ?? 0) + 1);
      },
    ),
    { ...RUNS, numRuns: 2000 },
  );
  // The property means nothing where all of them are refused for the same thing.
  for (const kind of ["more", "header", "absent", "malformed"]) {
    assert((seen.get(kind) ?? 0) > 20, `${kind}: ${seen.get(kind)}`);
  }
});

Deno.test("a bit that is flipped under a checksum is found", PURE, () => {
  const known = anyHeader.filter(({ facts, version }) =>
    version !== "v1" && packPair(facts.source, facts.destination) !== undefined
  );
  fc.assert(
    fc.property(known, fc.nat(), fc.nat(7), ({ version, facts }, at, bit) => {
      const { bytes } = encodeHeader(version, facts, { checksum: true });
      // Behind family and command, which say whether there is a checksum at all.
      const index = 14 + at % (bytes.length - 14);
      const damaged = Uint8Array.from(bytes);
      damaged[index] = (damaged[index] ?? 0) ^ (1 << bit);
      const parsed = parseHeader(damaged);
      // The type of the checksum itself is the one thing that it cannot keep.
      const addresses = bytes[13] === 0x11 ? 12 : 36;
      if (index === 16 + addresses) return;
      assert(parsed.kind === "malformed" || parsed.kind === "more", parsed.kind);
    }),
    RUNS,
  );
});

Deno.test("noise, with a beginning and without, is no way in", PURE, () => {
  const start = fc.constantFrom(
    ...["", "PROXY ", "PROXY TCP4 ", "PROXY UNKNOWN ", "PROXY TCP6 ::1 "].map(octets),
    ...["", "21", "2111", "211100", "2121", "2000", "2131"].map((more) => hex(SIGNATURE + more)),
  );
  const noise = fc.oneof(
    fc.uint8Array({ maxLength: 400 }),
    fc.string({ maxLength: 120 }).map(octets),
  );
  fc.assert(
    fc.property(start, noise, cuts, (start, noise, cuts) => {
      const parsed = assertSound(Uint8Array.of(...start, ...noise), cuts);
      if (start.length === 0 && noise.length > 0 && ![0x0d, 0x50].includes(noise[0] ?? 0)) {
        assert.equal(parsed.kind, "absent");
      }
    }),
    { ...RUNS, numRuns: 3000 },
  );
});
