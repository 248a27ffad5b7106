/**
 * Plain TCP and UNIX sockets: connections, dialling, listening, and readable errors.
 *
 * What Deno 2.9 does, found by experiment:
 * - `0.0.0.0` and a missing host name listen on IPv4 only; an empty one is an error. `::` takes
 *   both families unless Linux runs with `net.ipv6.bindv6only=1`, and shows IPv4 peers as
 *   `::ffff:a.b.c.d`.
 * - Listening sockets have `SO_REUSEADDR`: a port can be bound again at once, even while
 *   connections to it are open.
 * - `Deno.connect` honours its `signal` in every phase, even in a name look-up that hangs, and
 *   leaves no socket behind.
 * - Once an operation has reported ECONNRESET, the next read reports end of file and `closeWrite`
 *   succeeds.
 * - Out of file descriptors, `accept` throws on every call, and recovers by itself.
 *
 * @module
 */

import type { Conn } from "./conn.ts";
import type { Address } from "../config/config.ts";
import { type DialOptions, dialTcp } from "./dial.ts";
import { type ListenOptions, listenTcp, type SocketListener } from "./listen.ts";
import { dialUnix, listenUnix } from "./unix.ts";

export { type AdoptTcp, openTcp, TcpConn, UnixConn } from "./socket_conn.ts";
export { type DialOptions, dialTcp } from "./dial.ts";
export {
  AcceptError,
  DialError,
  type DialReason,
  ListenError,
  type ListenReason,
} from "./errors.ts";
export { type ListenOptions, listenTcp, type SocketListener, type TcpListener } from "./listen.ts";
export { Resolver, type ResolverOptions } from "./resolve.ts";

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
