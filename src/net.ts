/**
 * Plain TCP and UNIX sockets: connections as channels, dialling and listening, with the system's errors
 * put into words.
 *
 * What Deno 2.9 does, found by experiment:
 * - `0.0.0.0` and a missing host name listen on IPv4 only; an empty one is an error. `::` takes both
 *   families unless Linux runs with `net.ipv6.bindv6only=1`, and shows IPv4 peers as `::ffff:a.b.c.d`.
 * - Listening sockets have `SO_REUSEADDR`: a port is free again at once, whatever is still open.
 * - `Deno.connect` gives up on its `signal` in every phase, a name look-up that hangs included, and
 *   leaves no socket behind.
 * - Once an operation has reported ECONNRESET the next read says end of file, and `closeWrite` succeeds.
 * - Out of file descriptors, `accept` throws each time it is called and recovers by itself.
 *
 * @module
 */

export { dial, listen, type SocketOptions } from "./net/address.ts";
export { TcpChannel, UnixChannel } from "./net/channel.ts";
export { type NativeTcp, nativeTcp } from "./net/native.ts";
export { DialError, type DialOptions, type DialReason, dialTcp } from "./net/dial.ts";
export {
  AcceptError,
  type ListenOptions,
  listenTcp,
  type SocketListener,
  type TcpListener,
} from "./net/listen.ts";
export { ListenError, type ListenReason } from "./net/listen_error.ts";
export { Resolver, type ResolverOptions } from "./net/resolve.ts";
