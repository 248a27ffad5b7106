/**
 * A plain connection as a {@linkcode Conn}: TCP, or a UNIX socket.
 *
 * @module
 */

import {
  type Conn,
  ConnError,
  type ConnFault,
  copyOf,
  pipeByReading,
  type RemoteAddress,
  type Sink,
} from "./conn.ts";
import { codeOf, messageOf } from "../util/errors.ts";
import { formatAddress } from "../config/address.ts";

/**
 * Sizes of the read buffer, in bytes. It starts small, so that idle connections hold little memory.
 */
const MIN_BUFFER = 4 * 1024;
const MAX_BUFFER = 64 * 1024;
const BUFFER_STEP = 4;

/** What TCP and UNIX connections have in common. */
export abstract class SocketConn implements Conn {
  /** The peer's address. */
  readonly remote: RemoteAddress;
  /** Our own address. */
  readonly local: RemoteAddress;
  readonly #socket: Deno.Conn;
  #buffer = new Uint8Array(0);
  #bufferSize = MIN_BUFFER;
  #broken: ConnError | undefined;
  #closed = false;

  /** Owns `socket` from now on. */
  constructor(socket: Deno.Conn, remote: RemoteAddress, local: RemoteAddress) {
    this.#socket = socket;
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
      count = await this.#socket.read(buffer);
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
  pipeTo(take: Sink): Promise<void> {
    return pipeByReading(this, take);
  }

  /** Sends a copy of all of `data`: the bytes may be on loan from another connection's `pipeTo`. */
  async write(data: Uint8Array): Promise<void> {
    const bytes = copyOf(data);
    for (let sent = 0; sent < bytes.length;) {
      try {
        sent += await this.#socket.write(sent === 0 ? bytes : bytes.subarray(sent));
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
      await this.#socket.closeWrite();
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
      this.#socket.close();
    } catch (error) {
      // It was closed already, which is the result we want.
      this.#fail("close", error);
    }
  }

  /** The same as {@linkcode close}: the runtime's public interface has no way to send RST. */
  reset(): void {
    this.close();
  }

  #fail(action: string, error: unknown): ConnError {
    const fault = this.#closed ? "closed" : faultOf(codeOf(error));
    const what = fault === "closed" ? "the connection was closed" : messageOf(error);
    const failure = new ConnError(fault, `Cannot ${action}: ${what}`, { cause: error });
    // After EPIPE an end of file is genuine: the peer's FIN arrived before its reset.
    if (fault !== "closed" && codeOf(error) !== "EPIPE") this.#broken ??= failure;
    return failure;
  }
}

/** A plain TCP connection, with TCP_NODELAY and keep-alive. */
export class TcpConn extends SocketConn {
  /** Owns `socket` from now on. */
  constructor(socket: Deno.TcpConn) {
    super(socket, formatNetAddr(socket.remoteAddr), formatNetAddr(socket.localAddr));
    try {
      socket.setNoDelay(true);
      socket.setKeepAlive(true);
    } catch {
      // Some systems refuse on a connection that is already broken; the first read reports that.
    }
  }
}

/**
 * Carries TCP connections in another way than the runtime's public interface. Takes over `socket`;
 * returns `undefined` where that is not possible, and leaves it unchanged then.
 */
export type AdoptTcp = (socket: Deno.TcpConn) => Conn | undefined;

/** Takes over `socket`: by `adopt` where it can, else on the public interface. */
export function openTcp(socket: Deno.TcpConn, adopt?: AdoptTcp): Conn {
  try {
    return adopt?.(socket) ?? new TcpConn(socket);
  } catch (error) {
    // No other code has a connection to close.
    socket.close();
    throw error;
  }
}

/**
 * A connection over a UNIX socket. The peer is on this machine, so neither TCP_NODELAY nor
 * keep-alive applies.
 */
export class UnixConn extends SocketConn {
  /** Owns `socket` from now on. */
  constructor(socket: Deno.UnixConn) {
    super(socket, formatUnixAddr(socket.remoteAddr), formatUnixAddr(socket.localAddr));
  }
}

/**
 * The kind of failure that a code of the system (errno(3)) stands for. ETIMEDOUT means that
 * keep-alive or retransmission gave up: the peer is gone, as after a reset.
 */
export function faultOf(code: string | undefined): ConnFault {
  switch (code) {
    case "ECONNRESET":
    case "ECONNABORTED":
    case "EPIPE":
    case "ETIMEDOUT":
      return "reset";
    default:
      return "other";
  }
}

/**
 * `host:port`, with IPv4-mapped IPv6 (`::ffff:a.b.c.d`, from dual-stack listeners) as plain IPv4.
 */
export function formatNetAddr(addr: Deno.NetAddr): RemoteAddress {
  const host = addr.hostname.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, "");
  return formatAddress({ host, port: addr.port });
}

/** `unix:` and the path; `unix:@` for an unnamed end, for which Deno has `null`. */
function formatUnixAddr(addr: Deno.UnixAddr): RemoteAddress {
  const path: unknown = addr.path;
  return `unix:${typeof path === "string" && path !== "" ? path : "@"}`;
}
