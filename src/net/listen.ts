/**
 * Listens on a TCP address, with the types that UNIX sockets share.
 *
 * @module
 */

import type { HostPort } from "../config/config.ts";
import { formatAddress } from "../config/address.ts";
import type { Conn } from "./conn.ts";
import { bindAll, JoinedListener } from "./listen_all.ts";
import { HINTS, ListenError, type ListenReason } from "./listen_error.ts";
import { type AdoptTcp, openTcp } from "./socket_conn.ts";
import { formatNetAddr, isLookupFailure, missingGrant } from "./system.ts";
import { codeOf, messageOf } from "../util/errors.ts";

/** How many connections may wait to be accepted; the kernel caps it (`somaxconn`). */
const BACKLOG = 4096;

/**
 * Errors of `accept` about a connection that ended while it was queued. ENOTCONN: the peer reset
 * it, so Deno finds no address. The others are network errors that accept(2) may pass on; the next
 * connection may succeed.
 */
const PEER_GONE: readonly string[] = [
  "ENOTCONN",
  "ECONNABORTED",
  "ECONNRESET",
  "EPROTO",
  "ETIMEDOUT",
  "ENOPROTOOPT",
  "EOPNOTSUPP",
  "EHOSTDOWN",
  "EHOSTUNREACH",
  "ENETDOWN",
  "ENETUNREACH",
  "ENONET",
];

/**
 * Whether accepting failed because of the peer's address: over a UNIX socket, a peer whose own
 * socket is bound to a name that is not UTF-8. Deno cannot represent the name, drops the connection
 * and throws.
 */
export function isUnnamed(error: unknown): boolean {
  return error instanceof Deno.errors.InvalidData;
}

/** A connection could not be accepted. The message is the system's. */
export class AcceptError extends Error {
  /** The name of the class. */
  override readonly name = "AcceptError";
  /** Only this peer is affected: it left before it was accepted. The listener itself works. */
  readonly peerGone: boolean;
  /** Only this peer is affected: its address cannot be represented. The listener itself works. */
  readonly peerUnnamed: boolean;

  /** Wraps the system's own error. */
  constructor(cause: unknown) {
    super(messageOf(cause), { cause });
    this.peerGone = PEER_GONE.includes(codeOf(cause));
    this.peerUnnamed = isUnnamed(cause);
  }
}

/** A listening socket. */
export interface SocketListener {
  /**
   * The bound address: `host:port`, with the assigned port where 0 was requested, or `unix:/path`.
   */
  readonly address: string;
  /**
   * Accepts the next connection.
   *
   * @throws {AcceptError} when accepting failed or the listener was closed.
   */
  accept(): Promise<Conn>;
  /**
   * Whether clients can still find the listener. The file of a UNIX socket may have been removed or
   * replaced, and then they cannot. Absent where this cannot happen. Never throws.
   */
  inPlace?(): boolean;
  /**
   * Stops listening. The port is released, and the file of a UNIX socket removed, once a pending
   * `accept` has rejected, one turn of the event loop later. Connections that wait to be accepted
   * are reset. Never throws.
   */
  close(): void;
}

/** A listening TCP socket. */
export interface TcpListener extends SocketListener {
  /** The bound port. */
  readonly port: number;
}

/** Settings of {@linkcode listenTcp}. */
export type ListenOptions = {
  /** Opens the socket; default `Deno.listen`. Tests inject their own. */
  readonly listen?: (options: Deno.TcpListenOptions) => Deno.TcpListener;
  /** Carries accepted connections; default the public interface. */
  readonly adopt?: AdoptTcp | undefined;
};

/**
 * Listens. An empty host means every interface: `[::]`, which accepts IPv4 as well (unless Linux
 * runs with `net.ipv6.bindv6only=1`), or `0.0.0.0` on a system without IPv6. `localhost` means both
 * loopback addresses.
 *
 * @throws {ListenError} when the address cannot be bound.
 */
export function listenTcp(address: HostPort, options: ListenOptions = {}): TcpListener {
  const [first, ...rest] = bindAll(
    address,
    (one) => listenOne(one, options),
    (listener) => listener.close(),
  );
  return rest.length === 0 ? first : new JoinedListener([first, ...rest]);
}

function listenOne(address: HostPort, options: ListenOptions): TcpListener {
  const open = (host: string) => {
    const bind = { hostname: host, port: address.port, tcpBacklog: BACKLOG };
    return wrap((options.listen ?? Deno.listen)(bind), options.adopt);
  };
  try {
    if (address.host !== "") return open(address.host);
    try {
      return open("::");
    } catch (error) {
      if (!["EAFNOSUPPORT", "EADDRNOTAVAIL"].includes(codeOf(error))) throw error;
      return open("0.0.0.0");
    }
  } catch (error) {
    const grant = missingGrant(error, address);
    const reason = grant === undefined ? listenReason(error) : "not permitted";
    const message = `Cannot listen on "${formatAddress(address)}": ${grant ?? messageOf(error)}`;
    throw new ListenError(reason, `${message}${HINTS[reason] ?? ""}`, { cause: error });
  }
}

function listenReason(error: unknown): ListenReason {
  switch (codeOf(error)) {
    case "EADDRINUSE":
      return "address in use";
    case "EADDRNOTAVAIL":
      return "address not available";
    case "EACCES":
      return "permission denied";
    default:
      return isLookupFailure(error) ? "name not found" : "other";
  }
}

function wrap(listener: Deno.TcpListener, adopt: AdoptTcp | undefined): TcpListener {
  let closed = false;
  return {
    address: formatNetAddr(listener.addr),
    port: listener.addr.port,
    async accept() {
      try {
        return openTcp(await listener.accept(), adopt);
      } catch (error) {
        throw new AcceptError(error);
      }
    },
    close() {
      if (closed) return;
      closed = true;
      listener.close();
    },
  };
}
