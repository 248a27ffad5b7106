/**
 * Listening on, and connecting to, an address of either kind.
 *
 * @module
 */

import type { Channel } from "../channel.ts";
import type { Address } from "../config/config.ts";
import { type DialOptions, dialTcp } from "./dial.ts";
import { type ListenOptions, listenTcp, type SocketListener } from "./listen.ts";
import { dialUnix, listenUnix } from "./unix.ts";

/** Settings of {@linkcode listen}. */
export type SocketOptions = Pick<ListenOptions, "native"> & {
  /** Permission bits of a UNIX socket; says nothing for TCP. */
  readonly socketMode: number;
};

/**
 * Listen.
 *
 * @throws {ListenError} when the address cannot be had.
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
 * Connect.
 *
 * @throws {DialError} when there is no connection; then nothing stays open.
 */
export function dial(address: Address, options: DialOptions): Promise<Channel> {
  switch (address.kind) {
    case "tcp":
      return dialTcp(address, options);
    case "unix":
      return dialUnix(address, options);
    default:
      return address satisfies never;
  }
}
