/**
 * CRC-32C (Castagnoli), the checksum of RFC 4960 appendix B.
 *
 * @module
 */

/** Remainders for each value of four bits; the polynomial is 0x1EDC6F41, bits reversed. */
// deno-fmt-ignore
const NIBBLES: readonly number[] = [
  0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
  0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
];

/** The checksum as an unsigned 32-bit number. */
export function crc32c(bytes: Uint8Array): number {
  let rest = 0xffffffff;
  for (const byte of bytes) {
    rest ^= byte;
    rest = (rest >>> 4) ^ (NIBBLES[rest & 0xf] ?? 0);
    rest = (rest >>> 4) ^ (NIBBLES[rest & 0xf] ?? 0);
  }
  return ~rest >>> 0;
}
