/**
 * A plain TCP connection by its native handle, as a {@linkcode Channel}.
 *
 * @module
 */

import { getSystemErrorMap } from "node:util";
import {
  type Channel,
  ChannelError,
  type ChannelFault,
  copyOf,
  type RemoteAddress,
  type Take,
} from "../channel.ts";
import { END_OF_FILE, type Handle, type NativeTcp, type Request } from "./native.ts";
import { codeOf, formatNetAddr, wordsOf } from "./system.ts";

/** Seconds without traffic until the kernel asks whether the peer is still there. */
const KEEP_ALIVE = 60;

/** Whoever waits for what comes. */
type Reader = {
  readonly take: Take;
  readonly ended: () => void;
  readonly failed: (error: unknown) => void;
};

/** A plain TCP connection. Sends small writes at once and keeps quiet connections alive. */
export class NativeChannel implements Channel {
  /** The peer's address. */
  readonly remote: RemoteAddress;
  /** Our own. */
  readonly local: RemoteAddress;
  readonly #native: NativeTcp;
  readonly #handle: Handle;
  /** The same socket as the runtime gave it: closing it would end our half. */
  readonly #conn: Deno.TcpConn;
  /** Whether the peer has sent anything yet. */
  #heard = false;
  #reader: Reader | undefined;
  #reading = false;
  #ended = false;
  /** Reading is over. */
  #fault: ChannelError | undefined;
  /** Sending is over; what the peer sent before it broke may still be read. */
  #writeFault: ChannelError | undefined;
  #closed = false;
  /** What broke sending is also why an end of file is none. */
  #noEnd: ChannelError | undefined;
  /** A write past the handle is under way. */
  #writingByConn = false;
  /** Rejects the write, or the end, that is under way. */
  #cutWrite: ((error: ChannelError) => void) | undefined;

  private constructor(native: NativeTcp, handle: Handle, conn: Deno.TcpConn) {
    this.#native = native;
    this.#handle = handle;
    this.#conn = conn;
    this.remote = formatNetAddr(conn.remoteAddr);
    this.local = formatNetAddr(conn.localAddr);
    handle.onread = () => this.#onRead();
    handle.setNoDelay(true);
    handle.setKeepAlive(true, KEEP_ALIVE);
  }

  /** Takes `conn` over; `undefined` where that cannot be done, and then `conn` is as it was. */
  static adopt(native: NativeTcp, conn: Deno.TcpConn): NativeChannel | undefined {
    const handle = native.adopt(conn);
    if (handle === undefined) return undefined;
    try {
      return new NativeChannel(native, handle, conn);
    } catch (error) {
      native.release(handle);
      throw error;
    }
  }

  /** The next bytes, the caller's to keep, or `null` at the peer's FIN. */
  read(): Promise<Uint8Array | null> {
    return new Promise((resolve, reject) => {
      this.#wait({
        take: (bytes) => {
          this.#rest();
          resolve(copyOf(bytes));
          return undefined;
        },
        ended: () => resolve(null),
        failed: reject,
      });
    });
  }

  /** Hands on everything until the peer's FIN. */
  pump(take: Take): Promise<void> {
    return new Promise((ended, failed) => this.#wait({ take, ended, failed }));
  }

  /** Sends all of `data`. */
  write(data: Uint8Array): Promise<void> | undefined {
    if (this.#writeFault !== undefined) return Promise.reject(this.#writeFault);
    if (data.length === 0) return undefined;
    // What is left of it would be overwritten by the next socket's bytes.
    const bytes = data.buffer === this.#native.buffer.buffer ? copyOf(data) : data;
    // The handle takes a peer that ends its half without ever having said a word for one that is gone,
    // and drops what waits to be written.
    if (!this.#heard) return this.#writeByConn(bytes);
    const request: Request = { oncomplete: IGNORED, data: bytes };
    const status = this.#handle.writeBuffer(request, bytes);
    if (status !== 0) return Promise.reject(this.#cannotWrite("write", status));
    return this.#native.pending() ? this.#settled("write", request) : undefined;
  }

  /** Sends FIN after everything that was written. */
  async closeWrite(): Promise<void> {
    if (this.#writeFault !== undefined) throw this.#writeFault;
    const request: Request = { oncomplete: IGNORED };
    const status = this.#handle.shutdown(request);
    if (status !== 0) throw this.#cannotWrite("end the connection", status);
    await this.#settled("end the connection", request);
  }

  /** Closes the socket: FIN, and RST where bytes of the peer were left unread. */
  close(): void {
    this.#over(() => {
      this.#native.release(this.#handle);
      this.#conn.close();
    });
  }

  /** Closes the socket: RST. */
  reset(): void {
    this.#over(() => this.#native.reset(this.#handle, this.#conn, this.#writingByConn));
  }

  #over(drop: () => void): void {
    if (this.#closed) return;
    this.#closed = true;
    const error = closedError();
    this.#writeFault ??= error;
    this.#breakReading(error);
    drop();
    this.#cutWrite?.(error);
  }

  #wait(reader: Reader): void {
    if (this.#fault !== undefined) return reader.failed(this.#fault);
    if (this.#ended) return reader.ended();
    this.#reader = reader;
    this.#resume();
  }

  #resume(): void {
    if (this.#reading || this.#reader === undefined) return;
    this.#reading = true;
    const status = this.#handle.readStart();
    if (status !== 0) this.#breakReading(systemError("read", status));
  }

  #pause(): void {
    if (!this.#reading) return;
    this.#reading = false;
    this.#handle.readStop();
  }

  /** Nobody waits any more. */
  #rest(): void {
    this.#reader = undefined;
    this.#pause();
  }

  /** Called by the runtime: nobody would catch what this throws. */
  #onRead(): void {
    const reader = this.#reader;
    if (reader === undefined) return this.#pause();
    try {
      const count = this.#native.count();
      if (count <= 0) return this.#onEnd(count);
      this.#heard = true;
      const taken = reader.take(this.#native.buffer.subarray(0, count));
      if (taken !== undefined) this.#holdUp(taken, reader);
    } catch (error) {
      this.#dismiss(reader, error);
    }
  }

  #holdUp(taken: Promise<void>, reader: Reader): void {
    this.#pause();
    taken.then(() => {
      if (this.#reader === reader) this.#resume();
    }, (error) => this.#dismiss(reader, error));
  }

  #dismiss(reader: Reader, error: unknown): void {
    if (this.#reader === reader) this.#rest();
    reader.failed(error);
  }

  #onEnd(count: number): void {
    this.#reading = false;
    if (count !== END_OF_FILE) return this.#breakReading(systemError("read", count));
    if (this.#cutWrite === undefined && !this.#writingByConn) return this.#end();
    // A write that the peer's reset met takes the error with it, and what is left reads like an end in
    // good order. The write is told of it in this turn.
    setTimeout(() => this.#end(), 0);
  }

  #end(): void {
    if (this.#noEnd !== undefined) return this.#breakReading(this.#noEnd);
    this.#ended = true;
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.ended();
  }

  #breakReading(error: ChannelError): void {
    this.#fault ??= error;
    this.#writeFault ??= error;
    const reader = this.#reader;
    this.#rest();
    reader?.failed(this.#fault);
  }

  /** Whether an end came before a reset the handle does not tell: it has one number for all errors. */
  #cannotWrite(action: string, status: number): ChannelError {
    this.#writeFault ??= systemError(action, status);
    return this.#noEnd ??= this.#writeFault;
  }

  #settled(action: string, request: Request): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#cutWrite = reject;
      request.oncomplete = (status) => {
        this.#cutWrite = undefined;
        if (status === 0) resolve();
        else reject(this.#cannotWrite(action, status));
      };
    });
  }

  async #writeByConn(data: Uint8Array): Promise<void> {
    this.#writingByConn = true;
    try {
      for (let sent = 0; sent < data.length;) sent += await this.#conn.write(data.subarray(sent));
    } catch (error) {
      this.#writeFault ??= new ChannelError("reset", `Cannot write: ${wordsOf(error)}`, {
        cause: error,
      });
      // After EPIPE an end of file is the peer's own: a FIN came before the reset.
      if (codeOf(error) !== "EPIPE") this.#noEnd ??= this.#writeFault;
      throw this.#writeFault;
    } finally {
      this.#writingByConn = false;
    }
  }
}

function closedError(): ChannelError {
  return new ChannelError("closed", "the connection was closed");
}

/** The system's words for a negative error number. */
function systemError(action: string, status: number): ChannelError {
  const [code, words] = getSystemErrorMap().get(status) ?? [`error ${status}`, "unknown error"];
  return new ChannelError(faultOf(code), `Cannot ${action}: ${words} (${code})`);
}

function IGNORED(): void {}

/** ETIMEDOUT: keep-alive or retransmission gave up; the peer is gone, as after a reset. */
function faultOf(code: string): ChannelFault {
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
