/**
 * Parses PROXY headers, both versions, from the first bytes of a connection, which may arrive in
 * pieces of any size.
 *
 * Strict: a header that two parsers could read differently is rejected or yields no address.
 * Bounded: bytes that cannot become a header of {@linkcode MAX_HEADER} bytes are rejected as soon
 * as that shows.
 *
 * @module
 */

import type { EndpointPair } from "./endpoint.ts";
import { SIGNATURE_V1, SIGNATURE_V2 } from "./format.ts";
import { parseLine } from "./parse_v1.ts";
import { parseBinary } from "./parse_v2.ts";

/** What the bytes received so far are. */
export type ParsedHeader =
  /** An incomplete header. */
  | { readonly kind: "more" }
  /** A header, perhaps followed by other bytes. */
  | {
    readonly kind: "header";
    /** Length of the header, in bytes. */
    readonly length: number;
    /** `undefined`: it names no TCP connection, and the sender's own addresses apply. */
    readonly proxied: EndpointPair | undefined;
  }
  /** Not a PROXY header. */
  | { readonly kind: "absent" }
  /** It starts like a header; `reason` is for people and quotes the peer. */
  | { readonly kind: "malformed"; readonly reason: string };

/** Whether `bytes` begin with the signature; `part` when they end before it does. */
function begins(bytes: Uint8Array, signature: readonly number[]): "whole" | "part" | "no" {
  const seen = signature.slice(0, bytes.length);
  if (seen.some((byte, index) => byte !== bytes[index])) return "no";
  return seen.length === signature.length ? "whole" : "part";
}

/** Parses everything received so far. Never throws. */
export function parseHeader(bytes: Uint8Array): ParsedHeader {
  const line = begins(bytes, SIGNATURE_V1);
  if (line === "whole") return parseLine(bytes);
  const binary = begins(bytes, SIGNATURE_V2);
  if (binary === "whole") return parseBinary(bytes);
  return { kind: line === "part" || binary === "part" ? "more" : "absent" };
}
