/**
 * Channels for tests: an in-memory connection that holds its users to the contract, and wrappers that
 * count or meddle with what passes.
 *
 * @module
 */

import { Duplex } from "node:stream";
import {
  type Conn,
  ConnError,
  type ConnFault,
  pipeByReading,
  type Sink,
} from "../../../src/net/conn.ts";

/** One direction of an in-memory connection. */
class Lane {
  readonly #chunks: Uint8Array[] = [];
  #size = 0;
  #ended = false;
  #fault: ConnError | undefined;
  #deaf = false;
  #abandoned = false;
  #wake: (() => void)[] = [];
  readonly #room: number;
  reading = false;

  constructor(room: number) {
    this.#room = room;
  }

  #changed(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }

  #change(): Promise<void> {
    return new Promise((wake) => this.#wake.push(wake));
  }

  async put(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length && !this.#deaf;) {
      if (this.#fault !== undefined) throw this.#fault;
      if (this.#abandoned) throw new ConnError("closed", "closed");
      if (this.#ended) throw new Error("a write after the end");
      const free = this.#room - this.#size;
      if (free <= 0) {
        await this.#change();
        continue;
      }
      const part = bytes.slice(at, at + free);
      at += part.length;
      this.#size += part.length;
      this.#chunks.push(part);
      this.#changed();
    }
    if (this.#fault !== undefined && !this.#deaf) throw this.#fault;
  }

  async take(): Promise<Uint8Array | null> {
    if (this.reading) throw new Error("two reads at once");
    this.reading = true;
    try {
      for (;;) {
        if (this.#deaf) throw new ConnError("closed", "closed");
        const chunk = this.#chunks.shift();
        if (chunk !== undefined) {
          this.#size -= chunk.length;
          this.#changed();
          return chunk;
        }
        if (this.#fault !== undefined) throw this.#fault;
        if (this.#ended) return null;
        await this.#change();
      }
    } finally {
      this.reading = false;
    }
  }

  end(): void {
    this.#ended = true;
    this.#changed();
  }

  /** The writer is gone: what is there can still be read. */
  abandon(): void {
    this.#abandoned = true;
    this.end();
  }

  /** Nobody reads any more: what is there and what comes is thrown away. */
  deafen(): void {
    this.#deaf = true;
    this.#chunks.length = 0;
    this.#changed();
  }

  break(fault: ConnFault): void {
    this.#fault ??= new ConnError(fault, `the test broke the connection: ${fault}`);
    this.#changed();
  }
}

/** One end of an in-memory connection. A second read while one is pending is an error. */
export class MemoryConn implements Conn {
  readonly remote = "memory:0";
  readonly local = "192.0.2.1:443";
  readonly #in: Lane;
  readonly #out: Lane;
  /** Settles once the owner has closed this end. */
  readonly closed: Promise<void>;
  #markClosed: () => void = () => {};
  #isClosed = false;

  constructor(incoming: Lane, outgoing: Lane) {
    this.#in = incoming;
    this.#out = outgoing;
    this.closed = new Promise((done) => this.#markClosed = done);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  read(): Promise<Uint8Array | null> {
    if (this.#isClosed) return Promise.reject(new ConnError("closed", "closed"));
    return this.#in.take();
  }

  pipeTo(take: Sink): Promise<void> {
    return pipeByReading(this, take);
  }

  write(data: Uint8Array): Promise<void> {
    if (this.#isClosed) return Promise.reject(new ConnError("closed", "closed"));
    return this.#out.put(data);
  }

  closeWrite(): Promise<void> {
    if (this.#isClosed) return Promise.reject(new ConnError("closed", "closed"));
    this.#out.end();
    return Promise.resolve();
  }

  /** The other end sees an end of file, as after FIN; our own operations fail. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#in.deafen();
    this.#out.abandon();
    this.#markClosed();
  }

  /** As after RST: both ends fail. */
  reset(): void {
    this.#in.break("reset");
    this.#out.break("reset");
  }
}

/** Two ends of an in-memory connection; each direction holds `room` bytes. */
export function memoryPair(room = 64 * 1024): [MemoryConn, MemoryConn] {
  const there = new Lane(room);
  const back = new Lane(room);
  return [new MemoryConn(back, there), new MemoryConn(there, back)];
}

/** Passes everything on and keeps count. */
export class CountingConn implements Conn {
  readonly remote: string;
  readonly local: string;
  /** Bytes read and written so far. */
  bytesRead = 0;
  bytesWritten = 0;
  /** Everything written, one array a write, when asked to keep it. */
  readonly written: Uint8Array[] = [];
  readonly #conn: Conn;
  readonly #keep: boolean;

  constructor(conn: Conn, keep = false) {
    this.#conn = conn;
    this.#keep = keep;
    this.remote = conn.remote;
    this.local = conn.local;
  }

  async read(): Promise<Uint8Array | null> {
    const bytes = await this.#conn.read();
    this.bytesRead += bytes?.length ?? 0;
    return bytes;
  }

  pipeTo(take: Sink): Promise<void> {
    return this.#conn.pipeTo((bytes) => {
      this.bytesRead += bytes.length;
      return take(bytes);
    });
  }

  write(data: Uint8Array): Promise<void> | undefined {
    this.bytesWritten += data.length;
    if (this.#keep) this.written.push(data.slice());
    return this.#conn.write(data);
  }

  closeWrite(): Promise<void> {
    return this.#conn.closeWrite();
  }

  close(): void {
    this.#conn.close();
  }

  reset(): void {
    this.#conn.reset();
  }
}

/** What a meddler makes of the chunk with this number: the chunks to send in its place. */
export type Meddle = (chunk: Uint8Array, index: number) => readonly Uint8Array[];

/** Passes everything on; what is written goes through `meddle` first. */
export class MeddlingConn implements Conn {
  readonly remote: string;
  readonly local: string;
  readonly #conn: Conn;
  readonly #meddle: Meddle;
  #index = 0;

  constructor(conn: Conn, meddle: Meddle) {
    this.#conn = conn;
    this.#meddle = meddle;
    this.remote = conn.remote;
    this.local = conn.local;
  }

  read(): Promise<Uint8Array | null> {
    return this.#conn.read();
  }

  pipeTo(take: Sink): Promise<void> {
    return this.#conn.pipeTo(take);
  }

  async write(data: Uint8Array): Promise<void> {
    for (const chunk of this.#meddle(data, this.#index++)) await this.#conn.write(chunk);
  }

  closeWrite(): Promise<void> {
    return this.#conn.closeWrite();
  }

  close(): void {
    this.#conn.close();
  }

  reset(): void {
    this.#conn.reset();
  }
}

/** The engine's usual stream over a channel, which is destroyed with what it still has to send. */
export function duplexOf(conn: Conn): Duplex {
  return new Duplex({
    allowHalfOpen: true,
    read() {
      conn.read().then((bytes) => this.push(bytes === null ? null : bytes.slice()), () => {
        this.push(null);
      });
    },
    write(bytes: Uint8Array, _encoding, done) {
      Promise.resolve(conn.write(bytes)).then(() => done(), done);
    },
    destroy(error, done) {
      conn.close();
      done(error);
    },
  });
}
