/**
 * A {@linkcode Conn} over an established TLS connection on the public `node:tls` API, the same
 * for both roles.
 *
 * @module
 */

import type { TLSSocket } from "node:tls";
import { type Conn, ConnError, pipeByReading, type RemoteAddress, type Sink } from "../net/conn.ts";
import type { Ends } from "./backend.ts";
import { MAX_FRUITLESS, type TransportStream } from "./transport_stream.ts";
import { messageOf } from "../util/errors.ts";

type Waiter = {
  readonly resolve: (bytes: Uint8Array | null) => void;
  readonly reject: (error: ConnError) => void;
};

/** One turn of the event loop, after which `node:tls` has done the work that it deferred. */
function turn(): Promise<void> {
  return new Promise((done) => setTimeout(done, 0));
}

/**
 * How many records are encrypted with TLS 1.2. With AES-GCM the runtime's TLS stops at 2^24: from
 * then on it accepts data, reports success and drops the data. The first time it sends a
 * close_notify instead, so that the peer would take a truncated stream for a complete one.
 */
const MAX_RECORDS = 2 ** 24 - 2 ** 10;

/** A record holds 2^14 bytes at most. */
const RECORD_BITS = 14;

/** The error for a connection whose keys may encrypt no more records. */
export function usedUp(): ConnError {
  return new ConnError("protocol", "TLS: Cannot encrypt: the keys are used up");
}

/** The error for a peer that keeps sending without producing any plaintext. */
export function fruitless(): ConnError {
  return new ConnError("protocol", `TLS: no data within ${MAX_FRUITLESS} bytes`);
}

/** Converts an error to a connection's; one from the TLS library is about the protocol. */
export function tlsConnError(error: unknown): ConnError {
  if (error instanceof ConnError) return error;
  const message = messageOf(error);
  return new ConnError("protocol", `TLS: ${message}`, { cause: error });
}

/** TLS as a connection. Reads the transport only while a `read` or `pipeTo` waits for plaintext. */
export class NodeTlsConn implements Conn {
  /** The peer's address. */
  readonly remote: RemoteAddress;
  /** The transport's local address. */
  readonly local: RemoteAddress;
  readonly #stream: TransportStream;
  readonly #socket: TLSSocket;
  readonly #plaintext: Uint8Array[] = [];
  #waiter: Waiter | undefined;
  /** Rejects the pending write and `closeWrite`. */
  readonly #sending = new Set<(error: ConnError) => void>();
  /** Set once the connection has failed. */
  #fault: ConnError | undefined;
  /** Set once sending has failed; what the peer sent before may still be read. */
  #writeFault: ConnError | undefined;
  #ended = false;
  #endedWithoutNotify = false;
  #pulling = false;
  /** How many more records may be encrypted. */
  #recordsLeft: number;
  /** Bytes received since the last plaintext. */
  #fruitless = 0;

  /**
   * Must be constructed while the end of the handshake is being reported, so that no byte is
   * missed.
   */
  constructor(
    { remote, local }: Ends,
    stream: TransportStream,
    socket: TLSSocket,
    maxRecords = MAX_RECORDS,
  ) {
    this.#recordsLeft = socket.getProtocol() === "TLSv1.2" ? maxRecords : Infinity;
    this.remote = remote;
    this.local = local;
    this.#stream = stream;
    this.#socket = socket;
    stream.onBroken = (error) => this.#failWrite(tlsConnError(error));
    socket.on("data", (bytes: Uint8Array) => this.#deliver(bytes));
    socket.on("end", () => this.#end());
    socket.on("error", (error) => this.#fail(tlsConnError(error)));
  }

  /** Whether the peer ended with FIN alone, and that was accepted as an end. */
  get endedWithoutNotify(): boolean {
    return this.#endedWithoutNotify;
  }

  /**
   * Returns the next plaintext, or `null` after the peer's end. An end that is not accepted is a
   * `truncated` error.
   */
  read(): Promise<Uint8Array | null> {
    const bytes = this.#plaintext.shift();
    if (bytes !== undefined) return Promise.resolve(bytes);
    if (this.#fault !== undefined) return Promise.reject(this.#fault);
    if (this.#ended) return Promise.resolve(null);
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
      void this.#pullWhileWaiting();
    });
  }

  /** Reads until the end. */
  pipeTo(take: Sink): Promise<void> {
    return pipeByReading(this, take);
  }

  /** Encrypts and sends; resolves when the kernel has taken the last record. */
  write(data: Uint8Array): Promise<void> {
    if (this.#writeFault !== undefined) return Promise.reject(this.#writeFault);
    if (data.length === 0) return Promise.resolve();
    this.#recordsLeft -= 1 + (data.length >> RECORD_BITS);
    if (this.#recordsLeft < 0) {
      this.#failWrite(usedUp());
      return this.write(data);
    }
    return new Promise((resolve, reject) => {
      this.#sending.add(reject);
      this.#socket.write(data, (error) => {
        this.#sending.delete(reject);
        if (error) reject(this.#writeFault ?? tlsConnError(error));
        else resolve();
      });
    });
  }

  /** Sends close_notify (RFC 8446 section 6.1), then ends the TCP half. */
  async closeWrite(): Promise<void> {
    if (this.#writeFault !== undefined) throw this.#writeFault;
    const before = this.#stream.writes;
    await new Promise<void>((resolve, reject) => {
      this.#sending.add(reject);
      this.#socket.end(() => {
        this.#sending.delete(reject);
        resolve();
      });
    });
    // `node:tls` writes the close_notify slightly after its callback, and only after earlier output
    // such as session tickets. Nothing may be sent after FIN.
    let writes: number;
    let turns = 0;
    do {
      writes = this.#stream.writes;
      await this.#stream.flushed();
      await turn();
    } while (this.#stream.writes !== writes || (writes === before && ++turns < 3));
    if (this.#writeFault !== undefined) throw this.#writeFault;
    await this.#stream.closeWrite();
  }

  /** Drops the connection. */
  close(): void {
    this.#drop(() => this.#stream.close());
  }

  /** Drops the connection without close_notify, with RST where that is possible. */
  reset(): void {
    this.#drop(() => this.#stream.reset());
  }

  #drop(stream: () => void): void {
    stream();
    this.#fail(new ConnError("closed", "the connection was closed"));
    this.#socket.destroy();
  }

  #deliver(bytes: Uint8Array): void {
    this.#fruitless = 0;
    const waiter = this.#waiter;
    this.#waiter = undefined;
    if (waiter === undefined) this.#plaintext.push(bytes);
    else waiter.resolve(bytes);
  }

  #end(): void {
    this.#ended = true;
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.resolve(null);
  }

  #fail(fault: ConnError): void {
    this.#fault ??= fault;
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.reject(this.#fault);
    this.#failWrite(this.#fault);
  }

  #failWrite(fault: ConnError): void {
    this.#writeFault ??= fault;
    for (const reject of this.#sending) reject(this.#writeFault);
    this.#sending.clear();
  }

  /** At most one of these runs at a time; it stops as soon as no read is pending. */
  async #pullWhileWaiting(): Promise<void> {
    if (this.#pulling) return;
    this.#pulling = true;
    try {
      while (this.#waiter !== undefined) {
        const count = await this.#stream.pull();
        if (count !== undefined) {
          this.#fruitless = this.#waiter === undefined ? 0 : this.#fruitless + count;
          if (this.#fruitless < MAX_FRUITLESS) continue;
          await turn();
          if (this.#fruitless >= MAX_FRUITLESS) throw fruitless();
          continue;
        }
        await turn();
        if (this.#ended || this.#fault !== undefined) return;
        const fault = this.#stream.faultOfEnd();
        if (fault !== undefined) return this.#fail(fault);
        this.#endedWithoutNotify = true;
        return this.#end();
      }
    } catch (error) {
      this.#fail(tlsConnError(error));
    } finally {
      this.#pulling = false;
    }
  }
}
