/**
 * Addresses in the config, `host:port`, `[v6]:port`, `:port` and `unix:/path`, and server names.
 *
 * @module
 */

import type { Address, HostPort, UnixAddress } from "./config.ts";
import { dnsNameFault, parseIp, unmapIp } from "../util/ip.ts";
import type { Parsed } from "../util/text.ts";

/**
 * What an address is used for. A `listen` address may omit the host and use port 0; a `target` may
 * not.
 */
export type AddressRole = "listen" | "target";

const EXAMPLE = "127.0.0.1:8080";

function refuse(reason: string): Parsed<never> {
  return { ok: false, reason };
}

/** Splits `host:port` or `[v6]:port` without validating the parts. */
function split(text: string, role: AddressRole): Parsed<{ host: string; port: string }> {
  if (text.startsWith("[")) {
    const [, host, port] = /^\[([^\]]*)\]:([^:\]]*)$/.exec(text) ?? [];
    if (host === undefined || port === undefined) {
      return refuse('must be an IPv6 address in brackets and a port, such as "[::1]:8080"');
    }
    if (host.includes("%")) return refuse("IPv6 zones are not supported: leave out the %");
    if (!host.includes(":") || parseIp(host) === undefined) {
      return refuse("what stands in brackets must be an IPv6 address");
    }
    return { ok: true, value: { host, port } };
  }
  const colon = text.lastIndexOf(":");
  if (colon === -1) {
    if (/^\d+$/.test(text)) {
      return refuse(`must be host:port: write "${role === "listen" ? "" : "127.0.0.1"}:${text}"`);
    }
    return refuse(`the port is missing: must be host:port, such as "${EXAMPLE}"`);
  }
  const host = text.slice(0, colon);
  if (host.includes(":")) {
    return refuse('an IPv6 address goes in brackets, with a port after it, such as "[::1]:8080"');
  }
  return { ok: true, value: { host, port: text.slice(colon + 1) } };
}

function hostFault(host: string, role: AddressRole): string | undefined {
  const ip = parseIp(host);
  if (role === "target" && ip !== undefined && unmapIp(ip).every((byte) => byte === 0)) {
    return "a target is one host, not every interface: write 127.0.0.1 for this machine";
  }
  if (ip !== undefined) return undefined;
  if (host === "*") return 'for every interface, write ":" and the port alone';
  // The trailing dot of an absolute name is allowed: it stops the resolver from trying its search
  // list.
  return dnsNameFault(host.length > 1 ? host.replace(/\.$/, "") : host, { underscores: true });
}

function portFault(port: string, role: AddressRole): string | undefined {
  const lowest = role === "listen" ? 0 : 1;
  if (port === "") return `the port is missing: must be host:port, such as "${EXAMPLE}"`;
  if (!/^\d+$/.test(port)) return "the port must be a decimal number";
  if (port.length > 1 && port.startsWith("0")) return "the port must not start with a zero";
  const value = Number(port);
  return value < lowest || value > 65535 ? `the port must be ${lowest} to 65535` : undefined;
}

/**
 * Maximum length of a UNIX socket path: `sun_path` has 108 bytes including the terminating zero.
 */
const MAX_SOCKET_PATH = 107;

function parseUnix(text: string): Parsed<UnixAddress> {
  const path = text.slice("unix:".length);
  if (path.startsWith("//")) {
    return refuse('the path follows the colon at once: write it as in "unix:/run/app.sock"');
  }
  if (path.startsWith("@")) return refuse("abstract sockets are not supported: name a path");
  if (!path.startsWith("/")) {
    return refuse('the path must be absolute, as in "unix:/run/app.sock"');
  }
  if (path.endsWith("/")) return refuse("must be the path of a socket, not of a directory");
  if (/\p{Cc}|\p{Cs}/u.test(path)) {
    return refuse("a path has no control characters or line ends");
  }
  if (new TextEncoder().encode(path).length > MAX_SOCKET_PATH) {
    return refuse(`the path of a UNIX socket has at most ${MAX_SOCKET_PATH} bytes`);
  }
  return { ok: true, value: { kind: "unix", path } };
}

/**
 * Parses `host:port`, `[v6]:port`, `unix:/path` or, to listen, `:port` (every interface; the host
 * is empty). A host is an IP address or a DNS name, and is kept as written, without brackets.
 */
export function parseAddress(text: string, role: AddressRole): Parsed<Address> {
  if (text === "") return refuse(`must be host:port, such as "${EXAMPLE}"`);
  if (text.startsWith("unix:")) return parseUnix(text);
  if (text.includes("://")) return refuse(`must be host:port without a scheme or path`);
  if (/\s/.test(text)) return refuse("an address has no spaces or line ends");
  const parts = split(text, role);
  if (!parts.ok) return parts;
  const { host, port } = parts.value;
  if (host === "" && role === "target") {
    return refuse(`a target needs a host, such as "${EXAMPLE}"`);
  }
  const fault = (host === "" ? undefined : hostFault(host, role)) ?? portFault(port, role);
  return fault === undefined
    ? { ok: true, value: { kind: "tcp", host, port: Number(port) } }
    : refuse(fault);
}

/** The address in config syntax: IPv6 hosts in brackets, an empty host as `:port`. */
export function formatAddress(address: Address | HostPort): string {
  if ("path" in address) return `unix:${address.path}`;
  const host = address.host.includes(":") ? `[${address.host}]` : address.host;
  return `${host}:${address.port}`;
}

/** A DNS name in the form for comparisons: lower case, without the trailing dot. */
function nameKey(host: string): string {
  return host.toLowerCase().replace(/\.$/, "");
}

/**
 * Whether traffic to this host stays on this machine: 127.0.0.0/8, `::1`, IPv4-mapped loopback, and
 * `localhost`. False for an empty host (every interface) and for all other names.
 */
export function isLoopback(host: string): boolean {
  const ip = parseIp(host);
  if (ip === undefined) return nameKey(host) === "localhost";
  const bytes = unmapIp(ip);
  if (bytes.length === 4) return bytes[0] === 127;
  return bytes.every((byte, index) => byte === (index === 15 ? 1 : 0));
}

/** The addresses that a listener covers: every interface (of a family), or one address or name. */
type Coverage = {
  readonly every: boolean;
  readonly family: "v4" | "v6" | "both" | "name";
  readonly key: string;
};

function coverageOf(host: string): Coverage {
  if (host === "") return { every: true, family: "both", key: "" };
  const ip = parseIp(host);
  if (ip === undefined) return { every: false, family: "name", key: nameKey(host) };
  const bytes = unmapIp(ip);
  const every = bytes.every((byte) => byte === 0);
  const family = bytes.length === 4 ? "v4" : every ? "both" : "v6";
  return { every, family, key: bytes.join(".") };
}

/**
 * Whether a listener on this host accepts connections on every interface (of IPv4, or of both
 * families).
 */
export function isEveryInterface(host: string): boolean {
  return coverageOf(host).every;
}

function covers(wide: Coverage, other: Coverage): boolean {
  if (wide.key === other.key) return true;
  if (wide.key === "localhost") return LOOPBACKS.includes(other.key);
  // "::" covers IPv4 too; 0.0.0.0 does not cover IPv6.
  return wide.every && (wide.family === "both" || other.family !== "v6");
}

const LOOPBACKS = ["127.0.0.1", "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1"];

/**
 * The addresses to listen on for a host: both loopback addresses for `localhost`, independent of
 * any resolver (RFC 6761 section 6.3), and the host itself for all others.
 */
export function hostsToListenOn(host: string): readonly string[] {
  return nameKey(host) === "localhost" ? ["127.0.0.1", "::1"] : [host];
}

/**
 * A path as Deno normalizes it: `//`, `.` and `..` are resolved textually, without regard to
 * symlinks.
 */
function pathKey(path: string): string {
  const kept: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") kept.pop();
    else if (part !== "" && part !== ".") kept.push(part);
  }
  return kept.join("/");
}

/**
 * Whether the two cannot be listened on at the same time: the same port (other than 0, which picks
 * a new port each time) on the same host, or one of them on every interface. `localhost` counts as
 * both 127.0.0.1 and `::1`. UNIX sockets overlap if their paths are equal once normalized.
 */
export function overlaps(a: Address, b: Address): boolean {
  if (a.kind === "unix" || b.kind === "unix") {
    return a.kind === "unix" && b.kind === "unix" && pathKey(a.path) === pathKey(b.path);
  }
  if (a.port !== b.port || a.port === 0) return false;
  const [left, right] = [coverageOf(a.host), coverageOf(b.host)];
  return covers(left, right) || covers(right, left);
}

/**
 * Parses the name that a server certificate must contain: a DNS name (no wildcard, no trailing dot)
 * or an IP address, without port or brackets.
 */
export function parseServerName(text: string): Parsed<string> {
  if (text === "") return refuse('must be a DNS name or an IP address, such as "db.example.com"');
  if (parseIp(text) !== undefined) return { ok: true, value: text };
  if (/[\s/]/.test(text)) return refuse("must be a DNS name or an IP address, nothing else");
  if (/^\[.*\]$/.test(text)) return refuse("write the IPv6 address without brackets");
  if (text.includes("%")) return refuse("IPv6 zones are not supported");
  if (text.includes(":")) return refuse("must be a name or an IP address, without a port");
  if (text.endsWith(".")) return refuse("leave out the final dot");
  const fault = dnsNameFault(text, { underscores: false });
  return fault === undefined ? { ok: true, value: text } : refuse(fault);
}
