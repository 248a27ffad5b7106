/**
 * The one shape of everything that carries bytes: a plain connection is a `Channel`, and so is TLS
 * over one. Reading is pulled, so flow control is simply that nobody reads what nobody has
 * written on.
 *
 * @module
 */

/**
 * One end of a connection as the log shows it: `host:port` (`[host]:port` for IPv6), or `unix:` and the
 * path of a socket; `unix:@` where that end has none, as who connects to one has not. A path is the word
 * of whoever bound it.
 */
export type RemoteAddress = string;

/**
 * Takes one chunk of what comes. The bytes are only valid until it returns, but may be handed to
 * another channel's `write`. Where it returns a promise, no more comes until that resolves.
 */
export type Take = (bytes: Uint8Array) => Promise<void> | undefined;

/**
 * A two-way byte stream with independent halves.
 *
 * At most one `read` or `pump` and one `write` are in progress at a time; `close` may be called at
 * any time and more than once, and settles both.
 */
export interface Channel {
  /** Who is at the other end. */
  readonly remote: RemoteAddress;
  /** Our own end: what was connected to, for a connection that was accepted. */
  readonly local: RemoteAddress;
  /**
   * The next bytes, or `null` once the peer has ended its half. The array is only valid until the
   * next `read`: channels reuse their buffers.
   *
   * @throws {ChannelError} when the connection broke or was closed.
   */
  read(): Promise<Uint8Array | null>;
  /**
   * Hands everything that comes to `take`, without a promise for each chunk; resolves once the peer
   * has ended its half. Where `take` throws or its promise rejects, this rejects with the same, and
   * what had not been taken can still be read.
   *
   * @throws {ChannelError} when the connection broke or was closed.
   */
  pump(take: Take): Promise<void>;
  /**
   * Send all of `data`: `undefined` where the kernel took it at once, else a promise that resolves
   * when it has, and `data` must not change before.
   *
   * @throws {ChannelError} when the connection broke or was closed; by a promise that rejects.
   */
  write(data: Uint8Array): Promise<void> | undefined;
  /**
   * End our half: the peer sees an end of file after everything written before. Reading goes on.
   *
   * @throws {ChannelError} when the connection broke or was closed.
   */
  closeWrite(): Promise<void>;
  /** Drop the connection, both halves, at once. Never throws. */
  close(): void;
  /**
   * Drop the connection so that the peer can tell it from an end in good order: by RST, where there is
   * one (TCP by native handles). What was written and has not arrived yet is lost. Never throws.
   */
  reset(): void;
  /** The peer has ended TLS by FIN alone, without close_notify, and that was taken for an end. */
  readonly endedWithoutNotify?: boolean | undefined;
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

/** The bytes, the caller's to keep. (What `slice` gives of a Node buffer is still the same memory.) */
export function copyOf(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}

/** `pump` for a channel that has no better way than one `read` after the other. */
export async function pumpByReading(channel: Pick<Channel, "read">, take: Take): Promise<void> {
  for (;;) {
    const bytes = await channel.read();
    if (bytes === null) return;
    const taken = take(bytes);
    if (taken !== undefined) await taken;
  }
}
