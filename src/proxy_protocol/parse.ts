/**
 * Reads PROXY headers, both versions, from the first bytes of a connection, which may come in pieces
 * of any size.
 *
 * Strict: a header that two readers could take for two different things names nobody. Bounded: what
 * cannot become a header of {@linkcode MAX_HEADER} bytes is refused as soon as that shows.
 *
 * @module
 */

import type { EndpointPair } from "./endpoint.ts";
import { SIGNATURE_V1, SIGNATURE_V2 } from "./format.ts";
import { parseLine } from "./parse_v1.ts";
import { parseBinary } from "./parse_v2.ts";

/** What the bytes so far are. */
export type ParsedHeader =
  /** The beginning of a header. */
  | { readonly kind: "more" }
  /** A header, and perhaps more behind it. */
  | {
    readonly kind: "header";
    /** Of the header, in bytes. */
    readonly length: number;
    /** `undefined`: it names no TCP connection, and the sender's own addresses are the right ones. */
    readonly proxied: EndpointPair | undefined;
  }
  /** Something else altogether. */
  | { readonly kind: "absent" }
  /** It begins like a header; `reason` is for people and quotes the peer. */
  | { readonly kind: "malformed"; readonly reason: string };

/** Whether `bytes` begin with the signature: `part` where they end before it does. */
function begins(bytes: Uint8Array, signature: readonly number[]): "whole" | "part" | "no" {
  const seen = signature.slice(0, bytes.length);
  if (seen.some((byte, index) => byte !== bytes[index])) return "no";
  return seen.length === signature.length ? "whole" : "part";
}

/** Looks at everything that came so far. Never throws, whatever that is. */
export function parseHeader(bytes: Uint8Array): ParsedHeader {
  const line = begins(bytes, SIGNATURE_V1);
  if (line === "whole") return parseLine(bytes);
  const binary = begins(bytes, SIGNATURE_V2);
  if (binary === "whole") return parseBinary(bytes);
  return { kind: line === "part" || binary === "part" ? "more" : "absent" };
}
