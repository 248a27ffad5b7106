/**
 * Listens on every address of `localhost` as if they were one.
 *
 * @module
 */

import type { Conn } from "./conn.ts";
import { formatAddress, hostsToListenOn } from "../config/address.ts";
import type { HostPort, NonEmpty } from "../config/config.ts";
import type { TcpListener } from "./listen.ts";
import { ListenError } from "./listen_error.ts";
import { codeOf } from "../util/errors.ts";

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
export class JoinedListener implements TcpListener {
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
      if (!this.#pending.has(listener)) this.#ask(listener);
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

  async #ask(listener: TcpListener): Promise<void> {
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
