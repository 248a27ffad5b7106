/**
 * Looking at a connection's first bytes before it is decided what to do with it.
 *
 * @module
 */

import { type Channel, ChannelError, type RemoteAddress, type Take } from "../channel.ts";

/** What came of waiting for a first byte. */
export type FirstBytes =
  | {
    readonly kind: "came";
    /** The connection with those bytes still to be read. */
    readonly channel: Channel;
  }
  /** The peer left without a single byte: it ended the connection or reset it. */
  | { readonly kind: "left" }
  | { readonly kind: "timeout" }
  /** By `signal`. */
  | { readonly kind: "cut" };

/**
 * Waits for the first bytes of a connection, which it owns from now on: it is closed unless some came.
 * `timeout` is milliseconds from now.
 *
 * @throws {ChannelError} when the connection failed otherwise.
 */
export async function firstBytes(
  accepted: Channel,
  { timeout, signal }: { readonly timeout: number; readonly signal: AbortSignal },
): Promise<FirstBytes> {
  let stopped: FirstBytes | undefined;
  const stop = (by: FirstBytes) => {
    stopped ??= by;
    // Settles the read.
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
      // A channel reuses its buffers, so this is a copy.
      const channel = new ReadAhead(accepted, accepted.remote, new Uint8Array(bytes));
      return { kind: "came", channel };
    }
    accepted.close();
    return { kind: "left" };
  } catch (error) {
    if (stopped !== undefined) return stopped;
    accepted.close();
    if (error instanceof ChannelError && error.fault === "reset") return { kind: "left" };
    throw error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", cut);
  }
}

/** A connection whose first bytes were read already. */
export class ReadAhead implements Channel {
  /** See {@linkcode Channel}; behind a PROXY header the client. */
  readonly remote: RemoteAddress;
  /** See {@linkcode Channel}; where the sender of a PROXY header connected to. */
  readonly local: RemoteAddress;
  readonly #inner: Channel;
  /** What was read and not taken yet. */
  #rest: Uint8Array | undefined;

  /** Owns `inner` from now on; `rest` is what it has to say first. */
  constructor(inner: Channel, remote: RemoteAddress, rest: Uint8Array) {
    this.#inner = inner;
    this.remote = remote;
    this.local = inner.local;
    this.#rest = rest.length === 0 ? undefined : rest;
  }

  /** What was read already first. */
  read(): Promise<Uint8Array | null> {
    const rest = this.#rest;
    if (rest === undefined) return this.#inner.read();
    this.#rest = undefined;
    return Promise.resolve(rest);
  }

  /** What was read already first. */
  async pump(take: Take): Promise<void> {
    const rest = this.#rest;
    this.#rest = undefined;
    const taken = rest === undefined ? undefined : take(rest);
    if (taken !== undefined) await taken;
    await this.#inner.pump(take);
  }

  /** See {@linkcode Channel}. */
  write(data: Uint8Array): Promise<void> | undefined {
    return this.#inner.write(data);
  }

  /** See {@linkcode Channel}. */
  closeWrite(): Promise<void> {
    return this.#inner.closeWrite();
  }

  /** See {@linkcode Channel}. */
  close(): void {
    this.#rest = undefined;
    this.#inner.close();
  }
  /** See {@linkcode Channel}. */
  reset(): void {
    this.#rest = undefined;
    this.#inner.reset();
  }
}
