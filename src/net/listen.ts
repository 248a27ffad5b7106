/**
 * Listens on a TCP address, or on every address of `localhost` as if they were one, with the types
 * that UNIX sockets share.
 *
 * @module
 */

import type { HostPort, NonEmpty } from "../config/config.ts";
import { formatAddress, hostsToListenOn } from "../config/address.ts";
import type { Conn } from "./conn.ts";
import {
  AcceptError,
  HINTS,
  isLookupFailure,
  ListenError,
  type ListenReason,
  missingGrant,
} from "./errors.ts";
import { type AdoptTcp, formatNetAddr, openTcp } from "./socket_conn.ts";
import { codeOf, messageOf } from "../util/errors.ts";

/** How many connections may wait to be accepted; the kernel caps it (`somaxconn`). */
const BACKLOG = 4096;

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

/** How many times to look for a port that is free on all addresses. */
const TRIES = 16;

/**
 * Binds each address of the host, all to one port: for port 0, to the port that the first address
 * was given. An address that this machine does not have is left out as long as another one remains.
 *
 * @param open binds one address; throws {@linkcode ListenError}.
 * @param close releases one.
 * @throws {ListenError} of the first address that cannot be bound; then none is bound.
 */
export function bindAll<T extends { readonly port: number }>(
  { host, port }: HostPort,
  open: (address: HostPort) => T,
  close: (bound: T) => void,
): NonEmpty<T> {
  const hosts = hostsToListenOn(host);
  for (let left = TRIES;; left--) {
    const bound: T[] = [];
    let missing: unknown;
    try {
      for (const one of hosts) {
        try {
          bound.push(open({ host: one, port: bound[0]?.port ?? port }));
        } catch (error) {
          if (hosts.length === 1 || !isAbsent(error)) throw error;
          missing ??= error;
        }
      }
      const [first, ...rest] = bound;
      if (first === undefined) throw missing;
      return [first, ...rest];
    } catch (error) {
      for (const one of bound) close(one);
      // The port that the first address was given is taken on another one: try again.
      const taken = error instanceof ListenError && error.reason === "address in use";
      if (port !== 0 || bound.length === 0 || !taken || left <= 1) throw error;
    }
  }
}

function isAbsent(error: unknown): boolean {
  return error instanceof ListenError &&
    (error.reason === "address not available" || codeOf(error.cause) === "EAFNOSUPPORT");
}

/** Formats several addresses for the log, separated by commas. */
export function formatAddresses(addresses: readonly (HostPort | string)[]): string {
  return addresses
    .map((address) => typeof address === "string" ? address : formatAddress(address))
    .join(",");
}

/** The outcome of one listener's `accept`. */
type Arrival = { readonly conn: Conn } | { readonly error: unknown };

/** Several listeners as one. */
class JoinedListener implements TcpListener {
  readonly #listeners: NonEmpty<TcpListener>;
  readonly #pending = new Set<TcpListener>();
  readonly #arrived: Arrival[] = [];
  #wake = () => {};
  #closed = false;

  /** Owns the listeners from now on; they share one port. */
  constructor(listeners: NonEmpty<TcpListener>) {
    this.#listeners = listeners;
  }

  /** All addresses, separated by commas. */
  get address(): string {
    return formatAddresses(this.#listeners.map(({ address }) => address));
  }

  /** The shared port. */
  get port(): number {
    return this.#listeners[0].port;
  }

  /**
   * Accepts the next connection from any listener. Every listener has one `accept` pending, so up
   * to one connection for each of the other listeners waits here instead of in the kernel's queue.
   */
  async accept(): Promise<Conn> {
    for (const listener of this.#listeners) {
      if (!this.#pending.has(listener)) this.#acceptFrom(listener);
    }
    // Not `Promise.race`: every connection would leave a reaction on the pending promise of an idle
    // address.
    while (this.#arrived.length === 0) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    const next = this.#arrived.shift();
    if (next === undefined) throw new Error("Cannot accept: another call is pending");
    if ("error" in next) throw next.error;
    return next.conn;
  }

  async #acceptFrom(listener: TcpListener): Promise<void> {
    this.#pending.add(listener);
    let arrival: Arrival;
    try {
      arrival = { conn: await listener.accept() };
    } catch (error) {
      arrival = { error };
    }
    if (this.#closed && "conn" in arrival) arrival.conn.close();
    this.#pending.delete(listener);
    this.#arrived.push(arrival);
    this.#wake();
  }

  /** Stops all listeners and closes the connections that wait here. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const listener of this.#listeners) listener.close();
    for (const arrival of this.#arrived.splice(0)) {
      if ("conn" in arrival) arrival.conn.close();
    }
  }
}
