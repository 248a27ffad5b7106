/**
 * The one shape of everything that carries bytes: a plain TCP connection is a `Channel`, and so is
 * TLS over one. Reading is pulled, so flow control is simply that nobody reads what nobody has
 * written on.
 *
 * @module
 */

/** A peer's end of a connection as the log shows it, `host:port` (`[host]:port` for IPv6). */
export type RemoteAddress = string;

/**
 * A two-way byte stream with independent halves.
 *
 * At most one `read` and one `write` are in progress at a time; `close` may be called at any time
 * and more than once, and settles both.
 */
export interface Channel {
  /** Who is at the other end. */
  readonly remote: RemoteAddress;
  /**
   * The next bytes, or `null` once the peer has ended its half. The array is only valid until the
   * next `read`: channels reuse their buffers.
   *
   * @throws {ChannelError} when the connection broke or was closed.
   */
  read(): Promise<Uint8Array | null>;
  /**
   * Send all of `data`; resolves when there is room for more (the bytes were handed to the kernel).
   *
   * @throws {ChannelError} when the connection broke or was closed.
   */
  write(data: Uint8Array): Promise<void>;
  /**
   * End our half: the peer sees an end of file after everything written before. Reading goes on.
   *
   * @throws {ChannelError} when the connection broke or was closed.
   */
  closeWrite(): Promise<void>;
  /** Drop the connection, both halves, at once. Never throws. */
  close(): void;
}

/** How a channel broke. `truncated`: TLS ended without close_notify (RFC 8446 section 6.1). */
export type ChannelFault = "reset" | "truncated" | "protocol" | "closed" | "other";

/** A channel broke: what happened, for the outcome and the log. */
export class ChannelError extends Error {
  /** The name of the class. */
  override readonly name = "ChannelError";
  /** The kind of failure. */
  readonly fault: ChannelFault;

  /** Says what broke; `cause` carries the engine's or the system's own error. */
  constructor(fault: ChannelFault, message: string, options?: ErrorOptions) {
    super(message, options);
    this.fault = fault;
  }
}
