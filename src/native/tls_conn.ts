/**
 * A {@linkcode Conn} over the native handle of an established TLS connection, the same for both
 * roles.
 *
 * @module
 */

import { type Conn, ConnError, copyOf, type RemoteAddress, type Sink } from "../net/conn.ts";
import { END_OF_FILE, type Request } from "./tcp.ts";
import type { Ends } from "../tls/backend.ts";
import { fruitless, tlsConnError, usedUp } from "../tls/node_conn.ts";
import type { NativeTls, TlsHandle } from "./tls.ts";
import { MAX_FRUITLESS, type TransportStream } from "../tls/transport_stream.ts";

/** Maximum number of plaintext bytes that a handle encrypts at once, in whole records. */
export const MAX_PLAINTEXT = 48 * 1024;

/** Thrown to end a `pipeTo` after the peer's close_notify. */
const DONE = new Error("close_notify");

/** The handle calls back when a write is encrypted, which is synchronous here. */
const REQUEST: Request = { oncomplete: () => {} };

/**
 * At most this many ciphertext bytes are passed in at once: together with the rest of an earlier
 * record they yield no more plaintext than the buffer holds. One read of a socket returns no more
 * than this.
 */
const MAX_CIPHERTEXT = 64 * 1024;

/** The outcome of the chunks that were passed on during one call into the TLS handle. */
type Round = {
  taken: Promise<void> | undefined;
  failed: { readonly error: unknown } | undefined;
};

/** TLS as a connection. Reads the transport only while a `read` or `pipeTo` waits for plaintext. */
export class NativeTlsConn implements Conn {
  /** The peer's address. */
  readonly remote: RemoteAddress;
  /** The transport's local address. */
  readonly local: RemoteAddress;
  /** Whether the peer ended with FIN alone, and that was accepted as an end. */
  endedWithoutNotify = false;
  readonly #stream: TransportStream;
  readonly #handle: TlsHandle;
  readonly #native: NativeTls;
  /** Plaintext that was not asked for yet. */
  readonly #plaintext: Uint8Array[] = [];
  #buffer: Uint8Array | undefined;
  #take: Sink | undefined;
  #round: Round = { taken: undefined, failed: undefined };
  #fault: ConnError | undefined;
  #writeFault: ConnError | undefined;
  /** Whether the last input to the TLS handle produced output. */
  #gave = false;
  /** Bytes received since the last plaintext. */
  #fruitless = 0;
  #ended = false;
  #closed = false;

  /**
   * Must be constructed while the TLS handle reports the end of the handshake, so that no byte is
   * missed.
   */
  constructor(
    stream: TransportStream,
    handle: TlsHandle,
    native: NativeTls,
    { remote, local }: Ends,
  ) {
    this.remote = remote;
    this.local = local;
    this.#stream = stream;
    this.#handle = handle;
    this.#native = native;
    stream.onBroken = (error) => void (this.#writeFault ??= tlsConnError(error));
    handle.onread = () => this.#onRead();
    handle.onerror = (error) => void (this.#fault ??= tlsConnError(error));
    this.#useBuffer();
    handle.readStart();
  }

  /**
   * Returns the next plaintext, or `null` after the peer's end. An end that is not accepted is a
   * `truncated` error.
   */
  async read(): Promise<Uint8Array | null> {
    for (;;) {
      const bytes = this.#plaintext.shift();
      if (bytes !== undefined) return bytes;
      if (this.#fault !== undefined) throw this.#fault;
      if (this.#ended) return null;
      const ciphertext = await this.#stream.read();
      if (ciphertext === null) this.#onFin();
      else this.#feed(ciphertext);
    }
  }

  /**
   * Passes everything to `take` until the peer's end. An end that is not accepted is a `truncated`
   * error.
   */
  async pipeTo(take: Sink): Promise<void> {
    for (let bytes = this.#plaintext.shift(); bytes; bytes = this.#plaintext.shift()) {
      const taken = take(bytes);
      if (taken !== undefined) await taken;
    }
    if (this.#fault !== undefined) throw this.#fault;
    if (this.#ended) return;
    this.#take = take;
    try {
      await this.#stream.pipeTo((ciphertext) => this.#feedTo(ciphertext));
      this.#onFin();
      if (this.#fault !== undefined) throw this.#fault;
    } catch (error) {
      if (error !== DONE) throw error;
    } finally {
      this.#take = undefined;
    }
  }

  /** Encrypts and sends. */
  write(data: Uint8Array): Promise<void> | undefined {
    if (this.#writeFault !== undefined) return Promise.reject(this.#writeFault);
    if (data.length <= MAX_PLAINTEXT) return this.#send(data);
    const first = this.#send(data.subarray(0, MAX_PLAINTEXT));
    const rest = data.subarray(MAX_PLAINTEXT);
    if (first === undefined) return this.write(rest);
    // The caller may reuse `data` before the rest is encrypted.
    const kept = copyOf(rest);
    return first.then(() => this.write(kept));
  }

  /** Sends close_notify (RFC 8446 section 6.1), then ends the TCP half. */
  async closeWrite(): Promise<void> {
    if (this.#writeFault !== undefined) throw this.#writeFault;
    this.#handle.shutdown(REQUEST);
    const sent = this.#drain();
    if (sent !== undefined) await sent;
    // Session tickets of the handshake may still be queued. Nothing may be sent after FIN.
    await this.#stream.flushed();
    if (this.#writeFault !== undefined) throw this.#writeFault;
    await this.#stream.closeWrite();
  }

  /** Drops the connection. */
  close(): void {
    this.#drop("close");
  }

  /** Drops the connection without close_notify, with RST where that is possible. */
  reset(): void {
    this.#drop("reset");
  }

  #drop(how: "close" | "reset"): void {
    if (this.#closed) return;
    this.#closed = true;
    const closed = new ConnError("closed", "the connection was closed");
    this.#fault ??= closed;
    this.#writeFault ??= closed;
    this.#stream[how]();
    this.#handle.destroySsl();
  }

  /**
   * Called by the TLS handle, which does not catch what this throws; the bytes would be lost silently.
   */
  #onRead(): void {
    try {
      this.#takeIn();
    } catch (error) {
      this.#fault ??= tlsConnError(error);
    }
  }

  #takeIn(): void {
    this.#gave = true;
    const count = this.#native.count();
    if (count <= 0) {
      if (count === END_OF_FILE) this.#ended = true;
      else this.#fault ??= new ConnError("protocol", `TLS: error ${count}`);
      return;
    }
    const bytes = this.#buffer?.subarray(0, count) ?? new Uint8Array(0);
    const take = this.#take;
    const round = this.#round;
    if (take === undefined || round.failed !== undefined) {
      this.#plaintext.push(copyOf(bytes));
    } else if (round.taken === undefined) {
      try {
        const taken = take(bytes);
        if (taken !== undefined) {
          round.taken = taken.finally(this.#native.lend());
          // Further plaintext must not overwrite what is still being sent.
          this.#useBuffer();
        }
      } catch (error) {
        round.failed = { error };
      }
    } else {
      const kept = copyOf(bytes);
      round.taken = round.taken.then(() => take(kept), (error) => {
        this.#plaintext.push(kept);
        throw error;
      });
    }
  }

  #feed(ciphertext: Uint8Array): void {
    this.#gave = false;
    for (let at = 0; at < ciphertext.length && this.#fault === undefined; at += MAX_CIPHERTEXT) {
      if (this.#native.buffer() !== this.#buffer) this.#useBuffer();
      this.#handle.readBuffer(ciphertext.subarray(at, at + MAX_CIPHERTEXT));
    }
    this.#fruitless = this.#gave ? 0 : this.#fruitless + ciphertext.length;
    if (this.#fruitless >= MAX_FRUITLESS) this.#fault ??= fruitless();
    // Input without plaintext may require an answer, such as the refusal of a renegotiation.
    if (this.#fault !== undefined || !this.#gave) this.#answer();
    if (this.#fault !== undefined) this.#writeFault ??= this.#fault;
  }

  #feedTo(ciphertext: Uint8Array): Promise<void> | undefined {
    const round: Round = { taken: undefined, failed: undefined };
    this.#round = round;
    this.#feed(ciphertext);
    if (round.failed !== undefined) throw round.failed.error;
    if (this.#fault === undefined && !this.#ended) return round.taken;
    if (round.taken === undefined) throw this.#fault ?? DONE;
    return round.taken.then(() => {
      throw this.#fault ?? DONE;
    });
  }

  #useBuffer(): void {
    this.#buffer = this.#native.buffer();
    this.#handle.useUserBuffer(this.#buffer);
  }

  #send(data: Uint8Array): Promise<void> | undefined {
    if (data.length === 0) return undefined;
    const status = this.#handle.writeBuffer(REQUEST, data);
    const ciphertext = this.#handle.drainEncOut();
    if (status === 0 && carries(ciphertext) >= data.length) return this.#pass(ciphertext);
    this.#writeFault ??= status === 0
      ? usedUp()
      : new ConnError("protocol", `TLS: Cannot encrypt: error ${status}`);
    return Promise.reject(this.#writeFault);
  }

  /** Sends the TLS handle's pending output. */
  #drain(): Promise<void> | undefined {
    return this.#pass(this.#handle.drainEncOut());
  }

  #pass(ciphertext: Uint8Array): Promise<void> | undefined {
    if (ciphertext.length === 0) return undefined;
    const sent = this.#stream.send(ciphertext);
    if (sent === undefined) return void free(ciphertext);
    return sent.then(() => free(ciphertext), (error) => {
      throw this.#writeFault ??= tlsConnError(error);
    });
  }

  /** Sends the TLS handle's answer to the peer's bytes, such as an alert. */
  #answer(): void {
    // The next write reports a failure to send, and `#fault` is set already.
    void this.#drain()?.catch(() => {});
  }

  /** Handles a FIN that was not preceded by close_notify. */
  #onFin(): void {
    this.#fault ??= this.#stream.faultOfEnd();
    if (this.#fault !== undefined) return;
    this.#ended = true;
    this.endedWithoutNotify = true;
  }
}

/** The content type of application data, and the length of a record's header. */
const APPLICATION_DATA = 23;
const HEADER = 5;

/**
 * Counts the bytes in records of application data (RFC 5246 section 6.2.1). They are fewer than
 * were written where the TLS handle dropped them (see `MAX_RECORDS` in
 * `node_conn.ts`), whatever it sent instead.
 */
function carries(ciphertext: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at + HEADER <= ciphertext.length;) {
    const length = ((ciphertext[at + 3] ?? 0) << 8) | (ciphertext[at + 4] ?? 0);
    if (ciphertext[at] === APPLICATION_DATA) sum += length;
    at += HEADER + length;
  }
  return sum;
}

/** Smaller buffers are left to the garbage collector. */
const LARGE = 4096;

/**
 * Frees the memory of sent ciphertext at once: a fast sender would otherwise use a lot before it is
 * collected.
 */
function free({ buffer }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength >= LARGE) buffer.transfer(0);
}
