/**
 * A plain TCP connection over its native handle, as a {@linkcode Conn}.
 *
 * @module
 */

import { getSystemErrorMap } from "node:util";
import { type AdoptTcp, faultOf, formatNetAddr } from "../net/socket_conn.ts";
import { type Conn, ConnError, copyOf, type RemoteAddress, type Sink } from "../net/conn.ts";
import { END_OF_FILE, type Handle, type NativeTcp, type Request } from "./tcp.ts";
import { codeOf, messageOf } from "../util/errors.ts";

/** Seconds without traffic before the kernel sends keep-alive probes. */
const KEEP_ALIVE = 60;

/** The pending `read` or `pipeTo`. */
type Reader = {
  readonly take: Sink;
  readonly ended: () => void;
  readonly failed: (error: unknown) => void;
};

/** A plain TCP connection, with TCP_NODELAY and keep-alive. */
export class NativeTcpConn implements Conn {
  /** The peer's address. */
  readonly remote: RemoteAddress;
  /** Our own address. */
  readonly local: RemoteAddress;
  readonly #native: NativeTcp;
  readonly #handle: Handle;
  /** The runtime's view of the same socket. Closing it ends our half. */
  readonly #socket: Deno.TcpConn;
  /** Whether the peer has sent any bytes yet. */
  #heard = false;
  #reader: Reader | undefined;
  #reading = false;
  #ended = false;
  /** Set once reading has failed. */
  #fault: ConnError | undefined;
  /** Set once writing has failed; what the peer sent before may still be read. */
  #writeFault: ConnError | undefined;
  #closed = false;
  /** The write error, when it means that a following end of file is not genuine. */
  #noEnd: ConnError | undefined;
  /** A write through `#socket` instead of the handle is pending. */
  #writingByConn = false;
  /** Rejects the pending write or shutdown. */
  #cutWrite: ((error: ConnError) => void) | undefined;

  private constructor(native: NativeTcp, handle: Handle, socket: Deno.TcpConn) {
    this.#native = native;
    this.#handle = handle;
    this.#socket = socket;
    this.remote = formatNetAddr(socket.remoteAddr);
    this.local = formatNetAddr(socket.localAddr);
    handle.onread = () => this.#onRead();
    handle.setNoDelay(true);
    handle.setKeepAlive(true, KEEP_ALIVE);
  }

  /** Takes over connections with `native`. */
  static adopter(native: NativeTcp): AdoptTcp {
    return (socket) => NativeTcpConn.adopt(native, socket);
  }

  /**
   * Takes over `socket`. Returns `undefined` where that is not possible, and leaves it unchanged
   * then.
   */
  static adopt(native: NativeTcp, socket: Deno.TcpConn): NativeTcpConn | undefined {
    const handle = native.adopt(socket);
    if (handle === undefined) return undefined;
    try {
      return new NativeTcpConn(native, handle, socket);
    } catch (error) {
      native.release(handle);
      throw error;
    }
  }

  /** Returns a copy of the next bytes, or `null` at the peer's FIN. */
  read(): Promise<Uint8Array | null> {
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array | null>();
    this.#wait({
      take: (bytes) => {
        this.#rest();
        resolve(copyOf(bytes));
        return undefined;
      },
      ended: () => resolve(null),
      failed: reject,
    });
    return promise;
  }

  /** Passes everything to `take` until the peer's FIN. */
  pipeTo(take: Sink): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#wait({ take, ended: resolve, failed: reject });
    return promise;
  }

  /** Sends all of `data`. */
  write(data: Uint8Array): Promise<void> | undefined {
    if (this.#writeFault !== undefined) return Promise.reject(this.#writeFault);
    if (data.length === 0) return undefined;
    // The shared receive buffer would be overwritten by the next socket's data.
    const bytes = data.buffer === this.#native.buffer.buffer ? copyOf(data) : data;
    // A handle whose peer ends its half before sending any byte treats the peer as gone, and drops
    // the writes that are pending.
    if (!this.#heard) return this.#writeByConn(bytes);
    const request: Request = { oncomplete: IGNORED, data: bytes };
    const status = this.#handle.writeBuffer(request, bytes);
    if (status !== 0) return Promise.reject(this.#cannotWrite("write", status));
    return this.#native.pending() ? this.#settled("write", request) : undefined;
  }

  /** Sends FIN after all pending writes. */
  async closeWrite(): Promise<void> {
    if (this.#writeFault !== undefined) throw this.#writeFault;
    const request: Request = { oncomplete: IGNORED };
    const status = this.#handle.shutdown(request);
    if (status !== 0) throw this.#cannotWrite("end the connection", status);
    await this.#settled("end the connection", request);
  }

  /** Closes the socket: sends FIN, or RST where bytes from the peer were left unread. */
  close(): void {
    const error = this.#startClosing();
    if (error === undefined) return;
    this.#native.release(this.#handle);
    this.#socket.close();
    this.#cutWrite?.(error);
  }

  /** Closes the socket with RST. */
  reset(): void {
    const error = this.#startClosing();
    if (error === undefined) return;
    this.#native.reset(this.#handle, this.#socket, this.#writingByConn);
    this.#cutWrite?.(error);
  }

  /** Ends reading and further writes. Returns their error; `undefined` if closed already. */
  #startClosing(): ConnError | undefined {
    if (this.#closed) return undefined;
    this.#closed = true;
    const error = new ConnError("closed", "the connection was closed");
    this.#writeFault ??= error;
    this.#breakReading(error);
    return error;
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

  /** Drops the reader and stops reading. */
  #rest(): void {
    this.#reader = undefined;
    this.#pause();
  }

  /** Called by the runtime, which does not catch what this throws. */
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
    // A pending write consumes the error of the peer's reset, and the read then looks like a clean
    // end. The write reports its error within this turn, so decide after it.
    setTimeout(() => this.#end(), 0);
  }

  #end(): void {
    if (this.#noEnd !== undefined) return this.#breakReading(this.#noEnd);
    this.#ended = true;
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.ended();
  }

  #breakReading(error: ConnError): void {
    this.#fault ??= error;
    this.#writeFault ??= error;
    const reader = this.#reader;
    this.#rest();
    reader?.failed(this.#fault);
  }

  /**
   * The handle reports one number for every write error, so it cannot tell whether a FIN came
   * before the reset.
   */
  #cannotWrite(action: string, status: number): ConnError {
    this.#writeFault ??= systemError(action, status);
    return this.#noEnd ??= this.#writeFault;
  }

  #settled(action: string, request: Request): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#cutWrite = reject;
    request.oncomplete = (status) => {
      this.#cutWrite = undefined;
      if (status === 0) resolve();
      else reject(this.#cannotWrite(action, status));
    };
    return promise;
  }

  async #writeByConn(data: Uint8Array): Promise<void> {
    this.#writingByConn = true;
    try {
      for (let sent = 0; sent < data.length;) sent += await this.#socket.write(data.subarray(sent));
    } catch (error) {
      this.#writeFault ??= new ConnError("reset", `Cannot write: ${messageOf(error)}`, {
        cause: error,
      });
      // After EPIPE an end of file is genuine: the peer's FIN arrived before its reset.
      if (codeOf(error) !== "EPIPE") this.#noEnd ??= this.#writeFault;
      throw this.#writeFault;
    } finally {
      this.#writingByConn = false;
    }
  }
}

/** Translates a negative error number into the system's message. */
function systemError(action: string, status: number): ConnError {
  const [code, words] = getSystemErrorMap().get(status) ?? [`error ${status}`, "unknown error"];
  return new ConnError(faultOf(code), `Cannot ${action}: ${words} (${code})`);
}

function IGNORED(): void {}
