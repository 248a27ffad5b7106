/**
 * IP addresses in rules and certificates. An IPv4-mapped IPv6 address is treated as the IPv4
 * address (RFC 4291 section 2.5.5.2).
 *
 * @module
 */

import { parseIp, unmapIp } from "../util/ip.ts";
import { formatIp } from "../identity.ts";
import type { ParsedRule } from "./rule.ts";

/** A network: 4 or 16 bytes, of which the first `bits` bits are compared; the others are 0. */
export type IpPattern = { readonly bytes: readonly number[]; readonly bits: number };

/** Number of bits in front of the IPv4 address in an IPv4-mapped IPv6 address. */
const MAPPED_BITS = 96;

function network(bytes: Uint8Array, bits: number): number[] {
  return Array.from(bytes, (byte, i) => {
    const left = Math.min(8, Math.max(0, bits - 8 * i));
    return byte & (0xff << (8 - left)) & 0xff;
  });
}

/**
 * Parses a rule: an address, or a network such as `10.0.0.0/8` whose bits after the prefix are 0.
 */
export function parseIpRule(text: string): ParsedRule {
  const refuse = (reason: string): ParsedRule => ({ ok: false, reason });
  const [host = "", length, ...rest] = text.split("/");
  const written = parseIp(host);
  if (written === undefined || rest.length > 0) {
    return refuse('must be an IP address or a network, such as "10.1.2.3" or "10.0.0.0/8"');
  }
  const whole = written.length * 8;
  if (length !== undefined && (!/^(0|[1-9]\d{0,2})$/.test(length) || Number(length) > whole)) {
    return refuse(`the prefix length must be a number from 0 to ${whole}`);
  }
  let bits = length === undefined ? whole : Number(length);
  const bytes = unmapIp(written);
  if (bytes.length < written.length) {
    if (bits < MAPPED_BITS) {
      return refuse(
        `the prefix length of a mapped IPv4 address must be ${MAPPED_BITS} or more: write the ` +
          "IPv4 network",
      );
    }
    bits -= MAPPED_BITS;
  }
  const base = network(bytes, bits);
  if (base.some((byte, i) => byte !== bytes[i])) {
    return refuse(
      `the bits after the prefix must be 0: write "${formatIp(Uint8Array.from(base))}/${bits}"`,
    );
  }
  return { ok: true, value: { kind: "ip", bytes: base, bits } };
}

/** Key that is equal for addresses in the same network of `bits` bits. */
function networkKey(bytes: Uint8Array, bits: number): string {
  return String.fromCharCode(...network(bytes, bits));
}

/**
 * The addresses of one peer, indexed so that each rule costs one look-up, however many addresses
 * there are.
 */
export class Addresses {
  readonly #addresses: readonly { readonly value: Uint8Array; readonly bytes: Uint8Array }[];
  /** One table for each combination of address length and prefix length. */
  readonly #tables = new Map<string, ReadonlyMap<string, Uint8Array>>();

  /** `values` are the addresses as they stand in the certificate, 4 or 16 bytes each. */
  constructor(values: readonly Uint8Array[]) {
    this.#addresses = values.map((value) => ({ value, bytes: unmapIp(value) }));
  }

  /** The first address in the network, as it stands in the certificate. */
  find({ bytes, bits }: IpPattern): Uint8Array | undefined {
    if (this.#addresses.length === 0) return undefined;
    const name = `${bytes.length}/${bits}`;
    const table = this.#tables.get(name) ?? this.#make(bytes.length, bits);
    this.#tables.set(name, table);
    return table.get(String.fromCharCode(...bytes));
  }

  #make(length: number, bits: number): ReadonlyMap<string, Uint8Array> {
    const table = new Map<string, Uint8Array>();
    for (const { value, bytes } of this.#addresses) {
      if (bytes.length !== length) continue;
      const key = networkKey(bytes, bits);
      if (!table.has(key)) table.set(key, value);
    }
    return table;
  }
}
