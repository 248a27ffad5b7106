import assert from "node:assert/strict";
import { CertificateError } from "../../src/x509/certificate.ts";
import { parseCertificateList } from "../../src/x509/crl.ts";
import { DerReader, TAG } from "../../src/x509/der.ts";
import { certificateIssuer, crlEntry, deltaCrlIndicator, makeCrl } from "../support/crl.ts";
import * as der from "../support/der.ts";
import { makeCa, makeLeaf } from "../support/pki.ts";
import { Prng } from "../support/prng.ts";

const ca = makeCa({ subject: "crl CA" });
const revoked = [makeLeaf({}, ca), { serial: 5, reason: 1 }, { serial: "00ff", reason: 6 }];

const SEEDS = [
  makeCrl(ca, { revoked }),
  makeCrl(ca, { version: 1, revoked: [1, 2, 3] }),
  makeCrl(ca, { extra: [deltaCrlIndicator(1)] }),
  makeCrl(ca, { revoked: [{ serial: 1, extensions: [certificateIssuer("other")] }] }),
].map((made) => made.der);

/** Bytes with one to four of: an octet changed, cut out, put in, repeated; the end cut off. */
function mutate(bytes: Uint8Array, random: Prng): Uint8Array {
  let result = bytes;
  for (let n = 1 + random.int(4); n > 0; n--) {
    const at = random.int(result.length + 1);
    const [head, tail] = [result.subarray(0, at), result.subarray(at)];
    switch (random.int(5)) {
      case 0:
        result = der.concat(head, Uint8Array.of(random.int(256)), tail.subarray(1));
        break;
      case 1:
        result = der.concat(head, tail.subarray(1 + random.int(4)));
        break;
      case 2:
        result = der.concat(head, Uint8Array.of(random.int(256)), tail);
        break;
      case 3:
        result = der.concat(head, tail.subarray(0, random.int(40)), tail);
        break;
      default:
        result = head;
    }
  }
  return result;
}

Deno.test({
  name: "whatever the bytes, the parser throws nothing but its own error",
  permissions: "none",
  fn: () => {
    const random = new Prng(1);
    let refused = 0;
    for (let i = 0; i < 20_000; i++) {
      const bytes = mutate(random.pick(SEEDS), random);
      try {
        const { serials, entries } = parseCertificateList(bytes);
        assert(serials.size <= entries);
      } catch (error) {
        assert(error instanceof CertificateError, `${bytes.toHex()}: ${error}`);
        assert.notEqual(error.message, "");
        refused++;
      }
    }
    assert(refused > 10_000, `${refused}`);
  },
});

Deno.test("every list cut short is refused", () => {
  for (const seed of SEEDS) {
    for (let length = 0; length < seed.length; length++) {
      assert.throws(() => parseCertificateList(seed.subarray(0, length)), CertificateError);
    }
  }
});

Deno.test("random lists: each number that was put in is found, and no other", () => {
  const random = new Prng(2);
  for (let i = 0; i < 200; i++) {
    const numbers = Array.from(
      { length: random.int(50) },
      () => random.int(2 ** 32) * 2 ** (8 * random.int(3)),
    );
    const list = parseCertificateList(makeCrl(ca, { revoked: numbers }).der);
    const wanted = numbers.map((number) => {
      const hex = number.toString(16);
      return hex.padStart(hex.length + hex.length % 2, "0");
    });
    assert.deepEqual([...list.serials], [...new Set(wanted)]);
    assert.equal(list.entries, numbers.length);
  }
});

Deno.test("a list may be longer than any certificate: 100,000 entries, each found", () => {
  const count = 100_000;
  const entry = crlEntry({ serial: "010000000000", reason: 1 });
  const serialAt = entry.toHex().indexOf("010000000000") / 2;
  const entries = new Uint8Array(entry.length * count);
  const view = new DataView(entries.buffer);
  for (let i = 0; i < count; i++) {
    entries.set(entry, i * entry.length);
    view.setUint32(i * entry.length + serialAt + 2, i);
  }
  const list = parseCertificateList(makeCrl(ca, { entries: der.seq(entries) }).der);
  assert.equal(list.entries, count);
  assert.equal(list.serials.size, count);
  for (let i = 0; i < count; i++) {
    assert(list.serials.has(`0100${i.toString(16).padStart(8, "0")}`));
  }
});

Deno.test("lengths of three and four octets are read where there are so many octets", () => {
  const octets = (count: number) => new DerReader(der.octet(new Uint8Array(count)));
  assert.equal(octets(0x10000).next("x", TAG.octetString).content.length, 0x10000);
  assert.equal(octets(0x1000000).next("x", TAG.octetString).content.length, 0x1000000);
  const refused = (header: string, message: RegExp) => {
    const bytes = der.concat(der.raw(header), new Uint8Array(0x10000));
    assert.throws(() => new DerReader(bytes).next("x"), message);
  };
  refused("048300ffff", /more bytes than needed/);
  refused("048400010000", /more bytes than needed/);
  refused("0483010001", /^CertificateError: x is cut off$/);
  refused("0484ffffffff", /x is cut off/);
  refused("04850000010000", /x is longer than/);
  assert.throws(() => new DerReader(der.raw("04830000ff")).next("x"), /x is longer than 65535/);
});
