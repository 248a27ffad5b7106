/**
 * What several scenarios need besides daemons and peers: addresses that nobody else has, foreign
 * clients, and the log seen as a whole.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { TestDaemon } from "./daemon.ts";
import { ask, type ClientOptions, sh } from "./peers.ts";

/** Test files that run side by side share a process, but not their modules: chance keeps them apart. */
const [a = 0, b = 0, c = 0] = crypto.getRandomValues(new Uint8Array(3));
const OWN_HOST = `127.${1 + a % 250}.${b}.${1 + c % 250}`;

let addresses = 0;

/**
 * A loopback address with a port that no other test uses: for what must be known before it is bound,
 * or bound twice. Linux answers on all of 127.0.0.0/8.
 */
export function ownAddress(): string {
  return `${OWN_HOST}:${24_000 + ++addresses}`;
}

/** Host and port of an address. */
export function split(address: string): { readonly hostname: string; readonly port: number } {
  const colon = address.lastIndexOf(":");
  return { hostname: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
}

/** Whether a connection to the address is refused, which is to say that nobody listens. */
export async function refuses(address: string): Promise<boolean> {
  try {
    using _conn = await Deno.connect(split(address));
    return false;
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused) return true;
    // The listener was there when the connection began, and was closed before it was made.
    if (error instanceof Deno.errors.ConnectionReset) return false;
    throw error;
  }
}

/** What `curl` says of a URL; `--silent --show-error` and a limit of 10 s besides the arguments. */
export function curl(
  args: string,
  cwd: string,
): Promise<{ code: number; stdout: string; stderr: string }> {
  return sh(`curl --silent --show-error --max-time 10 ${args}`, { cwd });
}

/** The lines that the log has at this level. */
export function linesAt(daemon: TestDaemon, level: "DEBUG" | "INFO" | "WARN" | "ERROR"): string[] {
  return daemon.lines.filter(({ fields }) => fields.level === level).map(({ raw }) => raw);
}

/** How many lines have this message. */
export function countLog(daemon: TestDaemon, message: string): number {
  return daemon.lines.filter(({ fields }) => fields.msg === message).length;
}

/** No stack trace, no names of JavaScript's errors. */
export function assertPlain(text: string): void {
  assert.doesNotMatch(text, /^\s+at |\.ts:\d|NotCapable|TypeError|Uncaught|internal error/m, text);
}

/** What {@linkcode ask} gets for an answer; empty where the connection is refused, in whatever way. */
export async function attempt(options: ClientOptions, message = "hello"): Promise<string> {
  try {
    return await ask(options, message);
  } catch {
    return "";
  }
}
