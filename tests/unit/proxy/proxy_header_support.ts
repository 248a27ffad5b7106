/**
 * Settings and verdicts for the tests of PROXY headers on accepted connections.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type IpPattern, parseIpRule } from "../../../src/acl/ip.ts";
import type { Conn } from "../../../src/net/conn.ts";
import type {
  AcceptedHeader,
  HeaderLimits,
  HeaderRefusal,
} from "../../../src/proxy/proxy_header.ts";
import { words } from "../../support/tls/ends.ts";
import type { FakeChannel } from "./fake_conn.ts";

/** Networks of the config. */
export function networks(...rules: readonly string[]): readonly IpPattern[] {
  return rules.map((rule) => {
    const parsed = parseIpRule(rule);
    assert(parsed.ok && parsed.value.kind === "ip", rule);
    return parsed.value;
  });
}

/** The network of {@linkcode FakeChannel}, and loopback. */
export function settings(more: Partial<HeaderLimits> = {}): HeaderLimits {
  return {
    trusted: networks("192.0.2.0/24", "127.0.0.0/8"),
    timeout: 30_000,
    signal: new AbortController().signal,
    ...more,
  };
}

/** A header, and the client that it names. */
export const LINE = "PROXY TCP4 198.51.100.9 203.0.113.1 56324 443\r\n";
/** See {@linkcode LINE}. */
export const CLIENT = "198.51.100.9:56324";

/** A connection that must be taken. */
export function taken(result: AcceptedHeader): Extract<AcceptedHeader, { kind: "accepted" }> {
  assert(result.kind === "accepted", `refused: ${"message" in result ? result.message : ""}`);
  return result;
}

/** Refused, closed, and nothing left behind. */
export function assertRefused(
  conn: FakeChannel,
  result: AcceptedHeader,
  reason: HeaderRefusal,
  message: RegExp,
): void {
  assert(result.kind === "refused", "it was taken");
  assert.equal(result.reason, reason, result.message);
  assert.match(result.message, message);
  assert.match(result.message, /^Cannot take the PROXY header: .*[^.]$/);
  assert.equal(conn.closed, true);
  assert.equal(conn.pending, 0);
  assert.equal(conn.written, "");
}

/** One read, as text. */
export async function readText(conn: Conn): Promise<string | null> {
  const bytes = await conn.read();
  return bytes === null ? null : words(bytes);
}
