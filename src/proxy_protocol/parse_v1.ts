/**
 * Version 1 of the PROXY protocol, a line of text (section 2.1).
 *
 * @module
 */

import { parseIp } from "../util/ip.ts";
import { endpoint, isPort } from "./endpoint.ts";
import { MAX_LINE } from "./format.ts";
import type { ParsedHeader } from "./parse.ts";

const CR = 0x0d;
const LF = 0x0a;

/** What is wrong with a line. */
class LineFault extends Error {}

/** Parses a line; `bytes` begin with `PROXY `. */
export function parseLine(bytes: Uint8Array): ParsedHeader {
  const line = bytes.subarray(0, MAX_LINE);
  const end = line.findIndex((byte) => byte === CR || byte === LF);
  const length = end + 2;
  if (end === -1 ? line.length === MAX_LINE : length > MAX_LINE) {
    return { kind: "malformed", reason: `the line does not end within ${MAX_LINE} bytes` };
  }
  if (end === -1 || (line[end] === CR && line.length < length)) return { kind: "more" };
  if (line[end] !== CR || line[end + 1] !== LF) {
    return { kind: "malformed", reason: "the line does not end with CR and LF" };
  }
  try {
    // Latin-1: one byte is one character, and non-ASCII matches nothing below.
    const words = String.fromCharCode(...line.subarray(0, end)).split(" ");
    return { kind: "header", length, proxied: readWords(words) };
  } catch (error) {
    if (!(error instanceof LineFault)) throw error;
    return { kind: "malformed", reason: error.message };
  }
}

function readWords([, family = "", ...words]: readonly string[]) {
  // The specification says to ignore the rest of the line.
  if (family === "UNKNOWN") return undefined;
  if (family !== "TCP4" && family !== "TCP6") {
    throw new LineFault(`"${family}" is not TCP4, TCP6 or UNKNOWN`);
  }
  const [from = "", to = "", fromPort = "", toPort = ""] = words;
  if (words.length !== 4) {
    throw new LineFault("there are not exactly two addresses and two ports");
  }
  const length = family === "TCP4" ? 4 : 16;
  return {
    source: endpoint(readAddress(from, length), readPort(fromPort)),
    destination: endpoint(readAddress(to, length), readPort(toPort)),
  };
}

function readAddress(text: string, length: number): Uint8Array {
  const bytes = parseIp(text);
  if (bytes?.length === length) return bytes;
  throw new LineFault(`"${text}" is not an ${length === 4 ? "IPv4" : "IPv6"} address`);
}

function readPort(text: string): number {
  const port = Number(text);
  if (/^(0|[1-9]\d{0,4})$/.test(text) && isPort(port)) return port;
  throw new LineFault(`"${text}" is not a port`);
}
