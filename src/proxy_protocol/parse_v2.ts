/**
 * Version 2 of the PROXY protocol, which is binary (section 2.2).
 *
 * @module
 */

import { crc32c } from "./crc32c.ts";
import { endpoint, type EndpointPair } from "./endpoint.ts";
import { COMMAND, FAMILY, FIXED_LENGTH, MAX_HEADER, TLV, TRANSPORT, VERSION_2 } from "./format.ts";
import type { ParsedHeader } from "./parse.ts";
import { readTlvs, type Tlv, tlvFault } from "./tlv.ts";

/** Indexed by code. */
const FAMILIES = [FAMILY.unspecified, FAMILY.inet, FAMILY.inet6, FAMILY.unix] as const;

function malformed(reason: string): ParsedHeader {
  return { kind: "malformed", reason };
}

/**
 * Parses a header; `bytes` begin with the signature. Errors are found in the order of the bytes.
 */
export function parseBinary(bytes: Uint8Array): ParsedHeader {
  const [versionAndCommand, familyAndTransport, high, low] = bytes.subarray(12, FIXED_LENGTH);
  if (versionAndCommand === undefined) return { kind: "more" };
  if ((versionAndCommand & 0xf0) !== VERSION_2) {
    return malformed(`the version is ${versionAndCommand >> 4}, not 2`);
  }
  const command = versionAndCommand & 0xf;
  if (command !== COMMAND.local && command !== COMMAND.proxy) {
    return malformed(`there is no command ${command}`);
  }
  if (familyAndTransport === undefined) return { kind: "more" };
  // With LOCAL the rest of the header is to be ignored.
  const local = command === COMMAND.local;
  const family = FAMILIES[familyAndTransport >> 4];
  const transport = familyAndTransport & 0xf;
  if (!local && family === undefined) {
    return malformed(`there is no address family ${familyAndTransport >> 4}`);
  }
  if (!local && transport > TRANSPORT.datagram) {
    return malformed(`there is no transport ${transport}`);
  }
  if (high === undefined || low === undefined) return { kind: "more" };
  const length = FIXED_LENGTH + high * 256 + low;
  if (length > MAX_HEADER) {
    return malformed(`it is ${length} bytes long, ${MAX_HEADER} is the most that is taken`);
  }
  if (bytes.length < length) return { kind: "more" };
  const header = bytes.subarray(0, length);
  if (local || family === undefined || family.code === 0 || transport === TRANSPORT.unspecified) {
    return { kind: "header", length, proxied: undefined };
  }
  const tlvStart = FIXED_LENGTH + family.length;
  if (length < tlvStart) return malformed(`it is ${length} bytes long: the addresses do not fit`);
  const tlvs = readTlvs(header.subarray(tlvStart));
  const fault = tlvFault(tlvs) ?? checksumFault(header, tlvStart, tlvs ?? []);
  if (fault !== undefined) return malformed(fault);
  // A datagram or UNIX socket behind the sender is valid, but has no TCP address that could replace
  // the sender's own.
  const proxied = transport === TRANSPORT.stream ? readAddresses(header, family) : undefined;
  return { kind: "header", length, proxied };
}

function readAddresses(
  header: Uint8Array,
  family: typeof FAMILIES[number],
): EndpointPair | undefined {
  if (family !== FAMILY.inet && family !== FAMILY.inet6) return undefined;
  const size = (family.length - 4) / 2;
  const view = new DataView(header.buffer, header.byteOffset + FIXED_LENGTH, family.length);
  const address = (at: number) => header.subarray(FIXED_LENGTH + at, FIXED_LENGTH + at + size);
  return {
    source: endpoint(address(0), view.getUint16(2 * size)),
    destination: endpoint(address(size), view.getUint16(2 * size + 2)),
  };
}

function checksumFault(
  header: Uint8Array,
  tlvStart: number,
  tlvs: readonly Tlv[],
): string | undefined {
  const sum = tlvs.find(({ type }) => type === TLV.crc32c);
  if (sum === undefined) return undefined;
  // Always a copy; `slice` of a Node `Buffer` would share the memory.
  const zeroed = new Uint8Array(header);
  const at = tlvStart + sum.offset;
  const declared = new DataView(zeroed.buffer).getUint32(at);
  zeroed.fill(0, at, at + 4);
  return crc32c(zeroed) === declared ? undefined : "the checksum does not fit";
}
