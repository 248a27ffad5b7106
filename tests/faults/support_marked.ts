/**
 * Channels whose calls are places for faults: `plain.read`, `wire.write`, `tls.close` and so on.
 * Plain is the side without TLS; of the other one the wire is below the engine and tls above it.
 *
 * @module
 */

import type { Conn } from "../../src/net/conn.ts";

/** Passes a place: gives nothing where the call may go on, else fails it. */
export type Pass = (place: string) => Promise<never> | undefined;

const names = new WeakMap<Conn, "wire" | "tls">();

/** What the channel turned out to be. */
export function become(conn: Conn, name: "wire" | "tls"): void {
  names.set(conn, name);
}

// deno-lint-ignore no-explicit-any -- any function at all
type Take = (...args: any[]) => Promise<void> | undefined;

/** Puts a place before each call of this very channel, and into what it calls back. */
export function mark<C extends Conn>(conn: C, pass: Pass): C {
  const at = (method: string) => pass(`${names.get(conn) ?? "plain"}.${method}`);
  for (const method of ["read", "write", "closeWrite"] as const) {
    const real: (...args: never[]) => unknown = conn[method].bind(conn);
    const value = (...args: never[]) => at(method) ?? real(...args);
    Object.defineProperty(conn, method, { value });
  }
  // A channel that hands on what comes by calling back: each chunk is a place, as each read is.
  const pump: unknown = Reflect.get(conn, "pipeTo");
  if (typeof pump === "function") {
    const value = (take: Take) =>
      at("pump") ?? pump.call(conn, (...chunk: unknown[]) => at("read") ?? take(...chunk));
    Object.defineProperty(conn, "pipeTo", { value });
  }
  const close = conn.close.bind(conn);
  const value = () => {
    // What fails is the call, not the closing: that would be a leak by definition.
    close();
    void at("close");
  };
  Object.defineProperty(conn, "close", { value });
  return conn;
}
