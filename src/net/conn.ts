/**
 * The interface of everything that carries bytes: a plain connection is a `Conn`, and so is TLS
 * over one. Readers pull, so back-pressure means not reading until the last chunk was written.
 *
 * @module
 */

/**
 * One end of a connection as the log shows it: `host:port` (`[host]:port` for IPv6), or `unix:` and
 * the path of a socket. `unix:@` is an unnamed end, as connecting clients usually have. A path is
 * chosen by the process that bound it.
 */
export type RemoteAddress = string;

/**
 * Receives one chunk. The bytes are valid only until it returns, but may be passed to another
 * connection's `write`. Where it returns a promise, the next chunk follows once that resolves.
 */
export type Sink = (bytes: Uint8Array) => Promise<void> | undefined;

/**
 * A two-way byte stream whose halves end independently.
 *
 * At most one `read` or `pipeTo` and one `write` are in progress at a time. `close` may be called at
 * any time and more than once, and settles both.
 */
export interface Conn {
  /** The peer's address. */
  readonly remote: RemoteAddress;
  /** Our own address; for an accepted connection, the one that the peer connected to. */
  readonly local: RemoteAddress;
  /**
   * Returns the next bytes, or `null` once the peer has ended its half. The array is valid only
   * until the next `read`: connections reuse their buffers.
   *
   * @throws {ConnError} when the connection broke or was closed.
   */
  read(): Promise<Uint8Array | null>;
  /**
   * Passes everything received to `take`, without a promise for each chunk. Resolves once the peer
   * has ended its half. Where `take` throws or its promise rejects, this rejects with the same
   * error, and data that was not passed on can still be read.
   *
   * @throws {ConnError} when the connection broke or was closed.
   */
  pipeTo(take: Sink): Promise<void>;
  /**
   * Sends all of `data`. Returns `undefined` where the kernel took it at once, else a promise that
   * resolves when it has; `data` must not change before that.
   *
   * @throws {ConnError} as a rejection, when the connection broke or was closed.
   */
  write(data: Uint8Array): Promise<void> | undefined;
  /**
   * Ends our half: the peer sees an end of file after everything written before. Reading continues.
   *
   * @throws {ConnError} when the connection broke or was closed.
   */
  closeWrite(): Promise<void>;
  /** Drops both halves of the connection at once. Never throws. */
  close(): void;
  /**
   * Drops the connection so that the peer can tell it from a clean end: with RST where that is
   * possible (TCP on native handles). Data that was written and has not arrived is lost. Never
   * throws.
   */
  reset(): void;
  /** The peer ended TLS with FIN alone, without close_notify, and this was accepted as an end. */
  readonly endedWithoutNotify?: boolean | undefined;
}

/** How a connection broke. `truncated`: TLS ended without close_notify (RFC 8446 section 6.1). */
export type ConnFault = "reset" | "truncated" | "protocol" | "closed" | "other";

/** A connection broke; carries what the close reason and the log need. */
export class ConnError extends Error {
  /** The name of the class. */
  override readonly name = "ConnError";
  /** The kind of failure. */
  readonly fault: ConnFault;

  /** The message says what broke; `cause` carries the error of the TLS library or the system. */
  constructor(fault: ConnFault, message: string, options?: ErrorOptions) {
    super(message, options);
    this.fault = fault;
  }
}

/** A copy of the bytes. (`slice` of a Node `Buffer` would still share the memory.) */
export function copyOf(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}

/** Implements `pipeTo` by one `read` after the other. */
export async function pipeByReading(conn: Pick<Conn, "read">, take: Sink): Promise<void> {
  for (;;) {
    const bytes = await conn.read();
    if (bytes === null) return;
    const taken = take(bytes);
    if (taken !== undefined) await taken;
  }
}

/** A connection whose first bytes were already read. */
export class ReadAhead implements Conn {
  /** See {@linkcode Conn}; after a PROXY header, the client. */
  readonly remote: RemoteAddress;
  /** See {@linkcode Conn}; after a PROXY header, the address that its sender connected to. */
  readonly local: RemoteAddress;
  readonly #inner: Conn;
  /** Bytes that were read but not yet returned. */
  #rest: Uint8Array | undefined;

  /** Owns `inner` from now on; `rest` is returned first. */
  constructor(inner: Conn, remote: RemoteAddress, rest: Uint8Array) {
    this.#inner = inner;
    this.remote = remote;
    this.local = inner.local;
    this.#rest = rest.length === 0 ? undefined : rest;
  }

  /** Returns the bytes that were already read first. */
  read(): Promise<Uint8Array | null> {
    const rest = this.#rest;
    if (rest === undefined) return this.#inner.read();
    this.#rest = undefined;
    return Promise.resolve(rest);
  }

  /** Passes on the bytes that were already read first. */
  async pipeTo(take: Sink): Promise<void> {
    const rest = this.#rest;
    this.#rest = undefined;
    const taken = rest === undefined ? undefined : take(rest);
    if (taken !== undefined) await taken;
    await this.#inner.pipeTo(take);
  }

  /** See {@linkcode Conn}. */
  write(data: Uint8Array): Promise<void> | undefined {
    return this.#inner.write(data);
  }

  /** See {@linkcode Conn}. */
  closeWrite(): Promise<void> {
    return this.#inner.closeWrite();
  }

  /** See {@linkcode Conn}. */
  close(): void {
    this.#rest = undefined;
    this.#inner.close();
  }
  /** See {@linkcode Conn}. */
  reset(): void {
    this.#rest = undefined;
    this.#inner.reset();
  }
}
