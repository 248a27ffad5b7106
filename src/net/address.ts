/**
 * Listens on, and connects to, a TCP or UNIX address.
 *
 * @module
 */

import type { Conn } from "./conn.ts";
import type { Address } from "../config/config.ts";
import { type DialOptions, dialTcp } from "./dial.ts";
import { type ListenOptions, listenTcp, type SocketListener } from "./listen.ts";
import { dialUnix, listenUnix } from "./unix.ts";

/** Settings of {@linkcode listen}. */
export type SocketOptions = Pick<ListenOptions, "adopt"> & {
  /** Permission bits of a UNIX socket; ignored for TCP. */
  readonly socketMode: number;
};

/**
 * Listens on a TCP or UNIX address.
 *
 * @throws {ListenError} when the address cannot be bound.
 */
export async function listen(address: Address, options: SocketOptions): Promise<SocketListener> {
  switch (address.kind) {
    case "tcp":
      return listenTcp(address, options);
    case "unix":
      return await listenUnix(address, options.socketMode);
    default:
      return address satisfies never;
  }
}

/**
 * Connects to a TCP or UNIX address.
 *
 * @throws {DialError} when the connection fails; nothing is left open then.
 */
export function dial(address: Address, options: DialOptions): Promise<Conn> {
  switch (address.kind) {
    case "tcp":
      return dialTcp(address, options);
    case "unix":
      return dialUnix(address, options);
    default:
      return address satisfies never;
  }
}
