/**
 * The stream that the runtime's TLS uses in place of a socket. It reads only on request and passes
 * on every write, so that flow control remains ours.
 *
 * @module
 */

import { EventEmitter } from "node:events";
import process from "node:process";
import { type Conn, ConnError, type Sink } from "../net/conn.ts";

/** The callback of a write, called when the bytes were sent. */
export type Written = (error?: Error | null) => void;

/** How many milliseconds and bytes a connection may linger so that its last alert arrives. */
const LINGER_MS = 1000;
const LINGER_BYTES = 256 * 1024;

/**
 * Maximum number of bytes that a peer may send without completing the handshake, and later without
 * any data. The runtime reacts to a message of more than 64 KB by waiting forever and storing what
 * arrives meanwhile, so that without this limit any peer could exhaust the memory. The largest
 * flights of both ends fit in, and so do tickets and key updates, which carry no data.
 */
export const MAX_FRUITLESS: number = 128 * 1024;

/**
 * Maximum number of bytes that one message may take on the stream, including the headers and tags of
 * its records: the runtime holds no more. A certificate of 4.7 KB in records of one byte takes 108
 * KB with TLS 1.3.
 */
export const MAX_MESSAGE: number = 64 * 1024 - 1;

/**
 * Milliseconds that a peer may be silent after sending more than that without completing the
 * handshake. The runtime does not report that it has given up on a message, but after this much no
 * further bytes would help.
 */
export const MAX_SILENCE = 2000;

/**
 * A minimal stream object over a {@linkcode Conn}, with just what `node:tls` uses of a `Duplex`.
 *
 * TLS may call `pause`, `resume` and `destroy` at any time. They do nothing, because reading
 * happens only in {@linkcode TransportStream.pull}, and because a TLS socket that is destroyed may still have
 * an alert to send.
 */
export class TransportStream extends EventEmitter {
  /** Read by `node:tls`. */
  readonly readable = true;
  /** Read by `node:tls`. */
  readonly writable = true;
  /** One half may end before the other. */
  readonly allowHalfOpen = true;
  /** Called once when a write fails. */
  onBroken: (error: unknown) => void = () => {};
  readonly #conn: Conn;
  readonly #requireCloseNotify: boolean;
  readonly #incoming = new Records();
  #writing: Promise<void> = Promise.resolve();
  #writes = 0;
  #queued = 0;
  #reading: Promise<Uint8Array | null> | undefined;
  #muted = false;
  #broken = false;
  /** Milliseconds of CPU spent on the bytes from {@linkcode TransportStream.pull}, if metered. */
  cpuSpent = 0;
  /** Whether {@linkcode TransportStream.cpuSpent} is measured. */
  metered = false;
  /** Releases the writes that are held back. */
  #release: (() => void) | undefined;

  /**
   * Carries TLS bytes over `conn`, which it owns from now on. With `requireCloseNotify`, a peer
   * that ends without close_notify has broken off the connection.
   */
  constructor(conn: Conn, requireCloseNotify = true) {
    super();
    this.#conn = conn;
    this.#requireCloseNotify = requireCloseNotify;
  }

  /** Number of writes so far. */
  get writes(): number {
    return this.#writes;
  }

  /** Resolves when everything written so far was sent, or has failed. */
  flushed(): Promise<void> {
    return this.#writing;
  }

  /**
   * Reads once and feeds TLS. Returns the number of bytes, or `undefined` at the end of the stream.
   */
  async pull(): Promise<number | undefined> {
    const bytes = await this.read();
    if (bytes === null) return undefined;
    // TLS copies the bytes before it returns; they may be overwritten after that.
    const count = bytes.length;
    const before = this.metered ? cpuMilliseconds() : 0;
    this.emit("data", bytes);
    if (this.metered) this.cpuSpent += cpuMilliseconds() - before;
    return count;
  }

  /** Passes received bytes to `take`, bypassing the stream interface; resolves at the end. */
  pipeTo(take: Sink): Promise<void> {
    return this.#conn.pipeTo((bytes) => {
      this.#incoming.pass(bytes);
      return take(bytes);
    });
  }

  /**
   * How to treat the peer's FIN without close_notify: an error, or `undefined` where it counts as
   * an end. Within a record it never does, since bytes are missing.
   */
  faultOfEnd(): ConnError | undefined {
    if (this.#incoming.whole && !this.#requireCloseNotify) return undefined;
    return new ConnError("truncated", "the peer ended the connection without close_notify");
  }

  /**
   * Sends after all earlier writes. Returns `undefined` where the kernel took the bytes at once.
   */
  send(bytes: Uint8Array): Promise<void> | undefined {
    this.#writes++;
    if (this.#queued === 0 && !this.#muted && !this.#broken) {
      const sent = this.#conn.write(bytes);
      if (sent !== undefined) this.#enqueue(() => sent);
      return sent;
    }
    return this.#enqueue(() => this.#pass(bytes));
  }

  #enqueue(action: () => Promise<void> | undefined): Promise<void> {
    this.#queued++;
    const done = this.#writing.then(action).finally(() => this.#queued--);
    // `done` reports a failure; later writes still get their turn.
    this.#writing = done.catch(() => {});
    return done;
  }

  #pass(bytes: Uint8Array): Promise<void> | undefined {
    return this.#muted || this.#broken ? undefined : this.#conn.write(bytes);
  }

  /**
   * Reads once, without feeding TLS. A handshake may fail while its next bytes are still awaited.
   */
  read(): Promise<Uint8Array | null> {
    return this.#reading ??= this.#settleRead(this.#conn.read());
  }

  async #settleRead(reading: Promise<Uint8Array | null>): Promise<Uint8Array | null> {
    try {
      const bytes = await reading;
      if (bytes !== null) this.#incoming.pass(bytes);
      return bytes;
    } finally {
      this.#reading = undefined;
    }
  }

  /** From now on nothing that TLS writes is sent: for a refused peer. */
  mute(): void {
    this.#muted = true;
    this.release();
  }

  /**
   * Holds further writes back until {@linkcode TransportStream.release} sends or {@linkcode TransportStream.mute} drops
   * them.
   */
  hold(): void {
    if (this.#release !== undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#release = resolve;
    void this.#enqueue(() => promise);
  }

  /** Sends what was held back, and what follows. */
  release(): void {
    this.#release?.();
    this.#release = undefined;
  }

  /** Ends our half. */
  closeWrite(): Promise<void> {
    return this.#conn.closeWrite();
  }

  /**
   * Drops the connection at once and frees the native TLS state, which the garbage collector cannot
   * reclaim by itself: it is a reference cycle outside the heap.
   */
  close(): void {
    this.mute();
    this.#conn.close();
    this.emit("close");
  }

  /** Like `close`, but so that the peer can tell it from a clean end. */
  reset(): void {
    this.#conn.reset();
    this.close();
  }

  /**
   * Closes so that the last alert arrives: closing a socket with unread bytes resets it, and a
   * reset discards what the peer has not read yet. Bounded in time and bytes; never throws.
   */
  async linger(signal: AbortSignal): Promise<void> {
    const cut = () => this.close();
    const timer = setTimeout(cut, LINGER_MS);
    signal.addEventListener("abort", cut, { once: true });
    try {
      if (signal.aborted) return;
      await this.#writing;
      await this.#conn.closeWrite();
      for (let left = LINGER_BYTES; left > 0;) {
        const bytes = await this.read();
        if (bytes === null) break;
        left -= bytes.length;
      }
    } catch {
      // The peer is gone, or the time is up: there is nothing more to send.
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", cut);
      this.close();
    }
  }

  /** Called by TLS: sends bytes. */
  write(bytes: Uint8Array, written: Written): boolean {
    this.#writes++;
    void this.#enqueue(async () => {
      try {
        await this.#pass(bytes);
      } catch (error) {
        this.#broken = true;
        this.onBroken(error);
      }
      written();
    });
    return true;
  }

  /** Called by TLS: it has nothing more to send. Ending the connection is not its decision. */
  end(ended?: () => void): this {
    ended?.();
    return this;
  }

  /** Called by TLS: it is finished. The owner closes the connection after the last alert. */
  destroy(): this {
    return this;
  }

  /** Called by TLS; has no effect. */
  pause(): this {
    return this;
  }

  /** Called by TLS; has no effect. */
  resume(): this {
    return this;
  }

  /** Called by TLS; has no effect. */
  cork(): void {}

  /** Called by TLS; has no effect. */
  uncork(): void {}
}

/** CPU time, not wall-clock time: a process that is suspended does no work. */
function cpuMilliseconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Length of a record's header in bytes; its last two are the length of what follows. */
const HEADER = 5;

/** Finds the record boundaries of a TLS stream (RFC 8446 section 5.1), without decrypting it. */
export class Records {
  /** Bytes of the header that were seen. */
  #header = 0;
  /** The first byte of the record's length. */
  #high = 0;
  /** Bytes of the record that are still to come. */
  #left = 0;

  /** Whether the stream is at a record boundary. */
  get whole(): boolean {
    return this.#header === 0 && this.#left === 0;
  }

  /** Processes the next bytes of the stream. */
  pass(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      if (this.#left > 0) {
        const skipped = Math.min(this.#left, bytes.length - at);
        this.#left -= skipped;
        at += skipped;
        continue;
      }
      const octet = bytes[at++] ?? 0;
      this.#header++;
      if (this.#header === HEADER - 1) this.#high = octet;
      if (this.#header < HEADER) continue;
      this.#left = (this.#high << 8) | octet;
      this.#header = 0;
    }
  }
}
