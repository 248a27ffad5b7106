import assert from "node:assert/strict";
import { Records } from "../../../src/tls/transport_stream.ts";

/** A record with so many octets. */
const record = (length: number) =>
  Uint8Array.of(23, 3, 3, length >> 8, length & 0xff, ...new Uint8Array(length));

for (const lengths of [[0], [1], [255, 256, 257], [16_640, 0, 1], [65_535]]) {
  for (const step of [1, 2, 5, 7, 1000, 100_000]) {
    Deno.test(`records of ${lengths} octets in pieces of ${step} are whole at their ends only`, () => {
      const stream = lengths.flatMap((length) => [...record(length)]);
      const ends = new Set<number>();
      let end = 0;
      for (const length of lengths) ends.add(end += 5 + length);
      const records = new Records();
      assert.ok(records.whole);
      for (let at = 0; at < stream.length; at += step) {
        const piece = Uint8Array.from(stream.slice(at, at + step));
        records.pass(piece);
        assert.equal(records.whole, ends.has(at + piece.length), `at ${at + piece.length}`);
      }
      assert.ok(records.whole);
    });
  }
}
