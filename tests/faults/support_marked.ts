/**
 * Channels whose calls are places for faults: `plain.read`, `wire.write`, `tls.close` and so on.
 * Plain is the side without TLS; of the other one the wire is below the engine and tls above it.
 *
 * @module
 */

import type { Channel } from "../../src/channel.ts";

/** Passes a place: gives nothing where the call may go on, else fails it. */
export type Pass = (place: string) => Promise<never> | undefined;

const names = new WeakMap<Channel, "wire" | "tls">();

/** What the channel turned out to be. */
export function become(channel: Channel, name: "wire" | "tls"): void {
  names.set(channel, name);
}

// deno-lint-ignore no-explicit-any -- any function at all
type Take = (...args: any[]) => Promise<void> | undefined;

/** Puts a place before each call of this very channel, and into what it calls back. */
export function mark<C extends Channel>(channel: C, pass: Pass): C {
  const at = (method: string) => pass(`${names.get(channel) ?? "plain"}.${method}`);
  for (const method of ["read", "write", "closeWrite"] as const) {
    const real: (...args: never[]) => unknown = channel[method].bind(channel);
    const value = (...args: never[]) => at(method) ?? real(...args);
    Object.defineProperty(channel, method, { value });
  }
  // A channel that hands on what comes by calling back: each chunk is a place, as each read is.
  const pump: unknown = Reflect.get(channel, "pump");
  if (typeof pump === "function") {
    const value = (take: Take) =>
      at("pump") ?? pump.call(channel, (...chunk: unknown[]) => at("read") ?? take(...chunk));
    Object.defineProperty(channel, "pump", { value });
  }
  const close = channel.close.bind(channel);
  const value = () => {
    // What fails is the call, not the closing: that would be a leak by definition.
    close();
    void at("close");
  };
  Object.defineProperty(channel, "close", { value });
  return channel;
}
