/**
 * The ends of a TCP connection as PROXY headers represent them: an IP address and a port.
 *
 * @module
 */

import type { RemoteAddress } from "../net/conn.ts";
import { formatAddress } from "../config/address.ts";
import { parseIp, unmapIp } from "../util/ip.ts";
import { formatIp } from "../identity.ts";

/** One end of a TCP connection. */
export type Endpoint = {
  /** An IP address, without brackets. */
  readonly host: string;
  /** 0 to 65535. */
  readonly port: number;
};

/** Both ends of a proxied connection. */
export type EndpointPair = {
  /** The end that connected. */
  readonly source: Endpoint;
  /** The end that was connected to. */
  readonly destination: Endpoint;
};

/** Both addresses in one family, 4 or 16 bytes each, and the ports. */
export type PackedPair = {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly sourcePort: number;
  readonly destinationPort: number;
};

/**
 * The bytes of an address, 4 or 16. IPv4-mapped IPv6 becomes IPv4, as everywhere. A zone (`%eth0`)
 * has no meaning on another machine and is dropped.
 */
export function hostBytes(host: string): Uint8Array | undefined {
  const bytes = parseIp(host.replace(/%.*$/s, ""));
  return bytes === undefined ? undefined : unmapIp(bytes);
}

/** The endpoint of an address in a header: plain IPv4 for IPv4-mapped IPv6. */
export function endpoint(address: Uint8Array, port: number): Endpoint {
  return { host: formatIp(unmapIp(address)), port };
}

/** Parses what {@linkcode formatEndpoint} writes; `undefined` where it holds no IP address. */
export function parseEndpoint(remote: RemoteAddress): Endpoint | undefined {
  const [, bracketed, plain, digits] = /^(?:\[([^[\]]*)\]|([^:[\]]*)):(\d{1,5})$/.exec(remote) ??
    [];
  const host = bracketed ?? plain ?? "";
  const port = Number(digits);
  return hostBytes(host) === undefined || !isPort(port) ? undefined : { host, port };
}

/** `host:port`, `[host]:port` for IPv6. */
export function formatEndpoint(end: Endpoint): RemoteAddress {
  return formatAddress(end);
}

/** Whether this is a port number, 0 to 65535. */
export function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 0 && port <= 0xffff;
}

const MAPPED_PREFIX = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/**
 * Puts both ends into one family, since a header has room for one: where only one end is IPv4, it
 * becomes IPv4-mapped IPv6. `undefined` where an end is not known or not an IP address.
 */
export function packPair(
  source: Endpoint | undefined,
  destination: Endpoint | undefined,
): PackedPair | undefined {
  if (source === undefined || destination === undefined) return undefined;
  const [from, to] = [hostBytes(source.host), hostBytes(destination.host)];
  if (from === undefined || to === undefined) return undefined;
  if (!isPort(source.port) || !isPort(destination.port)) return undefined;
  const same = from.length === to.length;
  const fit = (bytes: Uint8Array) =>
    same || bytes.length === 16 ? bytes : Uint8Array.of(...MAPPED_PREFIX, ...bytes);
  return {
    source: fit(from),
    destination: fit(to),
    sourcePort: source.port,
    destinationPort: destination.port,
  };
}
