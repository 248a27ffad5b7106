/**
 * Reads a connection's first bytes before deciding how to proceed.
 *
 * @module
 */

import { type Conn, ConnError, type RemoteAddress, type Sink } from "../net/conn.ts";

/** The outcome of waiting for the first bytes. */
export type FirstBytes =
  | {
    readonly kind: "came";
    /** The connection, which still yields those bytes. */
    readonly conn: Conn;
  }
  /** The peer ended or reset the connection without sending a byte. */
  | { readonly kind: "left" }
  | { readonly kind: "timeout" }
  /** Cancelled by `signal`. */
  | { readonly kind: "cut" };

/**
 * Waits for the first bytes of a connection, which it owns from now on and closes unless some
 * arrive. `timeout` is milliseconds from now.
 *
 * @throws {ConnError} when the connection fails otherwise.
 */
export async function firstBytes(
  accepted: Conn,
  { timeout, signal }: { readonly timeout: number; readonly signal: AbortSignal },
): Promise<FirstBytes> {
  let stopped: FirstBytes | undefined;
  const stop = (by: FirstBytes) => {
    stopped ??= by;
    // Settles the pending read.
    accepted.close();
  };
  const cut = () => stop({ kind: "cut" });
  const timer = setTimeout(() => stop({ kind: "timeout" }), timeout);
  signal.addEventListener("abort", cut, { once: true });
  if (signal.aborted) cut();
  try {
    const bytes = await accepted.read();
    if (stopped !== undefined) return stopped;
    if (bytes !== null) {
      // Copied, because a connection reuses its buffers.
      const conn = new ReadAhead(accepted, accepted.remote, new Uint8Array(bytes));
      return { kind: "came", conn };
    }
    accepted.close();
    return { kind: "left" };
  } catch (error) {
    if (stopped !== undefined) return stopped;
    accepted.close();
    if (error instanceof ConnError && error.fault === "reset") return { kind: "left" };
    throw error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", cut);
  }
}

/** A connection whose first bytes were already read. */
export class ReadAhead implements Conn {
  /** See {@linkcode Conn}; after a PROXY header, the client. */
  readonly remote: RemoteAddress;
  /** See {@linkcode Conn}; after a PROXY header, the address that its sender connected to. */
  readonly local: RemoteAddress;
  readonly #inner: Conn;
  /** Bytes that were read but not yet returned. */
  #rest: Uint8Array | undefined;

  /** Owns `inner` from now on; `rest` is returned first. */
  constructor(inner: Conn, remote: RemoteAddress, rest: Uint8Array) {
    this.#inner = inner;
    this.remote = remote;
    this.local = inner.local;
    this.#rest = rest.length === 0 ? undefined : rest;
  }

  /** Returns the bytes that were already read first. */
  read(): Promise<Uint8Array | null> {
    const rest = this.#rest;
    if (rest === undefined) return this.#inner.read();
    this.#rest = undefined;
    return Promise.resolve(rest);
  }

  /** Passes on the bytes that were already read first. */
  async pipeTo(take: Sink): Promise<void> {
    const rest = this.#rest;
    this.#rest = undefined;
    const taken = rest === undefined ? undefined : take(rest);
    if (taken !== undefined) await taken;
    await this.#inner.pipeTo(take);
  }

  /** See {@linkcode Conn}. */
  write(data: Uint8Array): Promise<void> | undefined {
    return this.#inner.write(data);
  }

  /** See {@linkcode Conn}. */
  closeWrite(): Promise<void> {
    return this.#inner.closeWrite();
  }

  /** See {@linkcode Conn}. */
  close(): void {
    this.#rest = undefined;
    this.#inner.close();
  }
  /** See {@linkcode Conn}. */
  reset(): void {
    this.#rest = undefined;
    this.#inner.reset();
  }
}
