/**
 * Listening on a TCP address, and what all that listens has in common.
 *
 * @module
 */

import type { HostPort } from "../config/config.ts";
import { formatAddress } from "../config/address.ts";
import type { Channel } from "../channel.ts";
import { openChannel } from "./open.ts";
import { bindAll, JoinedListener } from "./listen_all.ts";
import { HINTS, ListenError, type ListenReason } from "./listen_error.ts";
import type { NativeTcp } from "./native.ts";
import { codeOf, formatNetAddr, isLookupFailure, missingGrant, wordsOf } from "./system.ts";

/** How many connections may wait to be accepted; the kernel has a limit of its own (`somaxconn`). */
const BACKLOG = 4096;

/**
 * What accepting says of a connection that ended while it was queued. ENOTCONN: the peer has reset it,
 * and Deno finds no address any more. The rest is what accept(2) may hand on from the network, where
 * the next connection is a new chance.
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
 * Whether accepting failed over who it was: over a UNIX socket, somebody whose own socket is bound to a
 * name that is no UTF-8. Deno has no way to show that, drops the connection and says so.
 */
export function isUnnamed(error: unknown): boolean {
  return error instanceof Deno.errors.InvalidData;
}

/** No connection could be accepted this time. The message is the system's. */
export class AcceptError extends Error {
  /** The name of the class. */
  override readonly name = "AcceptError";
  /** It was only that one peer, who was gone before its turn; the listener itself is fine. */
  readonly peerGone: boolean;
  /** It was only that one peer, whose address cannot be told; the listener itself is fine. */
  readonly peerUnnamed: boolean;

  /** Wraps the system's own error. */
  constructor(cause: unknown) {
    super(wordsOf(cause), { cause });
    this.peerGone = PEER_GONE.includes(codeOf(cause));
    this.peerUnnamed = isUnnamed(cause);
  }
}

/** A listening socket. */
export interface SocketListener {
  /** What it is bound to: `host:port`, with the port that the system gave for 0, or `unix:/path`. */
  readonly address: string;
  /**
   * The next connection.
   *
   * @throws {AcceptError} when that failed or the listener was closed.
   */
  accept(): Promise<Channel>;
  /**
   * Whether whoever looks for it finds it, where it can be lost: the file of a UNIX socket may be removed,
   * and then nobody can connect any more. Never throws.
   */
  inPlace?(): boolean;
  /**
   * Stop listening. The port is free, and the file of a UNIX socket gone, once a pending `accept` has
   * rejected, which is a turn of the event loop later. Connections that wait to be accepted are reset.
   * Never throws.
   */
  close(): void;
}

/** A listening TCP socket. */
export interface TcpListener extends SocketListener {
  /** The port that it is bound to. */
  readonly port: number;
}

/** Settings of {@linkcode listenTcp}. */
export type ListenOptions = {
  /** Opens the socket; `Deno.listen` unless a test puts itself in between. */
  readonly listen?: (options: Deno.TcpListenOptions) => Deno.TcpListener;
  /** Carries connections by native handles. */
  readonly native?: NativeTcp | undefined;
};

/**
 * Listen. An empty host is every interface: `[::]`, which takes IPv4 as well (unless Linux runs with
 * `net.ipv6.bindv6only=1`), or `0.0.0.0` on a system without IPv6. `localhost` is both loopback addresses.
 *
 * @throws {ListenError} when the address cannot be had.
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
    return wrap((options.listen ?? Deno.listen)(bind), options.native);
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
    const message = `Cannot listen on "${formatAddress(address)}": ${grant ?? wordsOf(error)}`;
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

function wrap(listener: Deno.TcpListener, native: NativeTcp | undefined): TcpListener {
  let closed = false;
  return {
    address: formatNetAddr(listener.addr),
    port: listener.addr.port,
    async accept() {
      try {
        return openChannel(await listener.accept(), native);
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
