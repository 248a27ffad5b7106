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

export { dial, listen, type SocketOptions } from "./address.ts";
export { type AdoptTcp, openTcp, TcpConn, UnixConn } from "./socket_conn.ts";
export { DialError, type DialOptions, type DialReason, dialTcp } from "./dial.ts";
export {
  AcceptError,
  type ListenOptions,
  listenTcp,
  type SocketListener,
  type TcpListener,
} from "./listen.ts";
export { ListenError, type ListenReason } from "./listen_error.ts";
export { Resolver, type ResolverOptions } from "./resolve.ts";
