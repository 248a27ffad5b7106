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

/** Sizes of the read buffer, in bytes: it starts small, and quiet connections keep it so. */
const MIN_BUFFER = 4 * 1024;
const MAX_BUFFER = 64 * 1024;
const BUFFER_STEP = 4;

/** What every kind of plain connection has in common. */
export abstract class PlainChannel implements Channel {
  /** The peer's address. */
  readonly remote: RemoteAddress;
  /** Our own. */
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
   * The next bytes, in a buffer that grows and shrinks with the traffic, or `null` at the peer's FIN.
   *
   * After ECONNRESET the system reports an end of file, as if the peer had ended in good order; here a
   * connection that was reset stays so, and data that had arrived before can still be read.
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
      // The factor of two keeps traffic around the border from allocating at every turn.
      this.#bufferSize = Math.max(MIN_BUFFER, buffer.length / BUFFER_STEP);
    }
    return buffer.subarray(0, count);
  }

  /** Reads until the end. */
  pump(take: Take): Promise<void> {
    return pumpByReading(this, take);
  }

  /** Sends all of `data`, of a copy: the bytes may be lent by the pump of another channel. */
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

  /** Sends FIN. On a connection that the peer has reset this may succeed: the system does not tell. */
  async closeWrite(): Promise<void> {
    try {
      await this.#conn.closeWrite();
    } catch (error) {
      throw this.#fail("end the connection", error);
    }
  }

  /** Closes the socket: FIN, or RST where bytes of the peer were left unread. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#buffer = new Uint8Array(0);
    try {
      this.#conn.close();
    } catch (error) {
      // Then it was not open any more, which is all that was wanted.
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
    // After EPIPE an end of file is the peer's own: a FIN came before the reset.
    if (fault !== "closed" && codeOf(error) !== "EPIPE") this.#broken ??= failure;
    return failure;
  }
}

/** A plain TCP connection. Sends small writes at once and keeps quiet connections alive. */
export class TcpChannel extends PlainChannel {
  /** Owns `conn` from now on. */
  constructor(conn: Deno.TcpConn) {
    super(conn, formatNetAddr(conn.remoteAddr), formatNetAddr(conn.localAddr));
    try {
      conn.setNoDelay(true);
      conn.setKeepAlive(true);
    } catch {
      // Some systems refuse on a connection that is broken already; the first read says so.
    }
  }
}

/**
 * A connection over a UNIX socket. Its peer is on this machine: there are no packets to hold back, and
 * no end that vanishes unseen.
 */
export class UnixChannel extends PlainChannel {
  /** Owns `conn` from now on. */
  constructor(conn: Deno.UnixConn) {
    super(conn, formatUnixAddr(conn.remoteAddr), formatUnixAddr(conn.localAddr));
  }
}

/** ETIMEDOUT: keep-alive or retransmission gave up; the peer is gone, as after a reset. */
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
