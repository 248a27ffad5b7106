/**
 * A plain connection as a {@linkcode Channel}: TCP, or a UNIX socket.
 *
 * @module
 */

import {
  type Channel,
  ChannelError,
  type ChannelFault,
  copyOf,
  pumpByReading,
  type RemoteAddress,
  type Take,
} from "../channel.ts";
import { codeOf, formatNetAddr, formatUnixAddr, wordsOf } from "./system.ts";

/**
 * Sizes of the read buffer, in bytes. It starts small, so that idle connections hold little memory.
 */
const MIN_BUFFER = 4 * 1024;
const MAX_BUFFER = 64 * 1024;
const BUFFER_STEP = 4;

/** What TCP and UNIX connections have in common. */
export abstract class PlainChannel implements Channel {
  /** The peer's address. */
  readonly remote: RemoteAddress;
  /** Our own address. */
  readonly local: RemoteAddress;
  readonly #conn: Deno.Conn;
  #buffer = new Uint8Array(0);
  #bufferSize = MIN_BUFFER;
  #broken: ChannelError | undefined;
  #closed = false;

  /** Owns `conn` from now on. */
  constructor(conn: Deno.Conn, remote: RemoteAddress, local: RemoteAddress) {
    this.#conn = conn;
    this.remote = remote;
    this.local = local;
  }

  /**
   * Returns the next bytes, or `null` at the peer's FIN. The buffer grows and shrinks with the
   * traffic.
   *
   * After ECONNRESET the system reports an end of file, as if the peer had closed cleanly. Here a
   * connection that was reset stays reset, and data that arrived before the reset can still be
   * read.
   */
  async read(): Promise<Uint8Array | null> {
    if (this.#buffer.length !== this.#bufferSize) this.#buffer = new Uint8Array(this.#bufferSize);
    const buffer = this.#buffer;
    let count: number | null;
    try {
      count = await this.#conn.read(buffer);
    } catch (error) {
      throw this.#fail("read", error);
    }
    if (count === null) {
      if (this.#broken !== undefined) throw this.#broken;
      return null;
    }
    if (count === buffer.length) {
      this.#bufferSize = Math.min(MAX_BUFFER, buffer.length * BUFFER_STEP);
    } else if (count * 2 * BUFFER_STEP < buffer.length) {
      // The factor of two keeps traffic near the threshold from reallocating on every read.
      this.#bufferSize = Math.max(MIN_BUFFER, buffer.length / BUFFER_STEP);
    }
    return buffer.subarray(0, count);
  }

  /** Reads until the end. */
  pump(take: Take): Promise<void> {
    return pumpByReading(this, take);
  }

  /** Sends a copy of all of `data`: the bytes may be on loan from another channel's `pump`. */
  async write(data: Uint8Array): Promise<void> {
    const bytes = copyOf(data);
    for (let sent = 0; sent < bytes.length;) {
      try {
        sent += await this.#conn.write(sent === 0 ? bytes : bytes.subarray(sent));
      } catch (error) {
        throw this.#fail("write", error);
      }
    }
  }

  /**
   * Sends FIN. This may succeed on a connection that the peer has reset: the system does not report
   * it.
   */
  async closeWrite(): Promise<void> {
    try {
      await this.#conn.closeWrite();
    } catch (error) {
      throw this.#fail("end the connection", error);
    }
  }

  /** Closes the socket: sends FIN, or RST where bytes from the peer were left unread. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#buffer = new Uint8Array(0);
    try {
      this.#conn.close();
    } catch (error) {
      // It was closed already, which is the result we want.
      this.#fail("close", error);
    }
  }

  /** The same as {@linkcode close}: the runtime's public interface has no way to send RST. */
  reset(): void {
    this.close();
  }

  #fail(action: string, error: unknown): ChannelError {
    const fault = this.#closed ? "closed" : faultOf(error);
    const what = fault === "closed" ? "the connection was closed" : wordsOf(error);
    const failure = new ChannelError(fault, `Cannot ${action}: ${what}`, { cause: error });
    // After EPIPE an end of file is genuine: the peer's FIN arrived before its reset.
    if (fault !== "closed" && codeOf(error) !== "EPIPE") this.#broken ??= failure;
    return failure;
  }
}

/** A plain TCP connection, with TCP_NODELAY and keep-alive. */
export class TcpChannel extends PlainChannel {
  /** Owns `conn` from now on. */
  constructor(conn: Deno.TcpConn) {
    super(conn, formatNetAddr(conn.remoteAddr), formatNetAddr(conn.localAddr));
    try {
      conn.setNoDelay(true);
      conn.setKeepAlive(true);
    } catch {
      // Some systems refuse on a connection that is already broken; the first read reports that.
    }
  }
}

/**
 * A connection over a UNIX socket. The peer is on this machine, so neither TCP_NODELAY nor
 * keep-alive applies.
 */
export class UnixChannel extends PlainChannel {
  /** Owns `conn` from now on. */
  constructor(conn: Deno.UnixConn) {
    super(conn, formatUnixAddr(conn.remoteAddr), formatUnixAddr(conn.localAddr));
  }
}

/**
 * ETIMEDOUT means that keep-alive or retransmission gave up: the peer is gone, as after a reset.
 */
function faultOf(error: unknown): ChannelFault {
  switch (codeOf(error)) {
    case "ECONNRESET":
    case "ECONNABORTED":
    case "EPIPE":
    case "ETIMEDOUT":
      return "reset";
    default:
      return "other";
  }
}
