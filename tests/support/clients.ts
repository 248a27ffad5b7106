/**
 * Connections that stay open while a test changes the world around them.
 *
 * @module
 */

import assert from "node:assert/strict";
import type tls from "node:tls";
import { Backend, type ClientOptions, connectTls, readAll, writeAll } from "./peers.ts";
import { until } from "./wait.ts";
import type net from "node:net";

/** A TLS client through a tunnel to an echo backend. */
export class EchoClient implements AsyncDisposable {
  /** When the other side ended it, by `performance.now()`; `undefined` while it has not. */
  endedAt: number | undefined;
  readonly #socket: tls.TLSSocket;
  readonly #closed: Promise<void>;
  #received = "";
  #sent = "";

  private constructor(socket: tls.TLSSocket) {
    this.#socket = socket;
    this.#closed = new Promise((done) => socket.once("close", () => done()));
    const ended = () => this.endedAt ??= performance.now();
    socket.on("data", (bytes: Uint8Array) => {
      this.#received += new TextDecoder().decode(bytes);
    });
    socket.once("end", ended);
    socket.once("error", ended);
    socket.once("close", ended);
  }

  /** Connects; the handshake is over, which with TLS 1.3 does not say that it was let in. */
  static async connect(options: ClientOptions): Promise<EchoClient> {
    return new EchoClient(await connectTls(options));
  }

  /** Connects and echoes once, so that it has been let in and joined. */
  static async open(options: ClientOptions): Promise<EchoClient> {
    const client = await EchoClient.connect(options);
    await client.echo("hello");
    return client;
  }

  /** What has come so far. */
  get received(): string {
    return this.#received;
  }

  /** Sends and waits until it has come back. */
  async echo(text: string): Promise<void> {
    this.#sent += text;
    this.#socket.write(text);
    await until(() => this.#received.length >= this.#sent.length, {
      what: () => `the echo of "${text}"`,
      failed: () => this.endedAt !== undefined,
    });
    assert.equal(this.#received, this.#sent);
  }

  /** Waits for the other side's end; when that was. */
  async ended(within = 60_000): Promise<number> {
    return await until(() => this.endedAt, { what: () => "the end of a connection", within });
  }

  /** Drops the connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy();
    await this.#closed;
  }
}

/** Echoes on each client again and again until it is disposed of, which fails if one did not answer. */
export class EchoLoop implements AsyncDisposable {
  /** Rounds so far. */
  rounds = 0;
  readonly #clients: readonly EchoClient[];
  readonly #loop: Promise<void>;
  #stopped = false;

  /** Starts at once. */
  constructor(...clients: readonly EchoClient[]) {
    this.#clients = clients;
    this.#loop = this.#run();
    // It is told when the scope ends.
    this.#loop.catch(() => {});
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      await Promise.all(this.#clients.map((client) => client.echo(`round ${this.rounds} `)));
      this.rounds++;
    }
  }

  /** Stops, and rejects if a client was not served. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    await this.#loop;
  }
}

/** Greets each connection with one byte, and says the rest and ends once it is released. */
export class ReleasedBackend implements AsyncDisposable {
  readonly #release = Promise.withResolvers<void>();
  readonly #backend: Backend;

  /** `rest` is what it says once it is released. */
  constructor(rest: Uint8Array = new Uint8Array()) {
    this.#backend = new Backend(async (conn) => {
      await writeAll(conn, Uint8Array.of(1));
      const read = readAll(conn);
      await this.#release.promise;
      await writeAll(conn, rest);
      await conn.closeWrite();
      await read;
    });
  }

  /** `127.0.0.1:port`. */
  get address(): string {
    return this.#backend.address;
  }

  /** Every connection may end. */
  release(): void {
    this.#release.resolve();
  }

  /** Releases and cuts. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.release();
    await this.#backend[Symbol.asyncDispose]();
  }
}

/** Who uses the tunnel: counts what comes, and ends when the other side has. */
export class CountingClient implements AsyncDisposable {
  /** Bytes so far. */
  received = 0;
  /** Settles when the connection is gone. */
  readonly over: Promise<void>;
  readonly #socket: net.Socket;

  /** Owns the socket from now on. */
  constructor(socket: net.Socket) {
    this.#socket = socket;
    socket.on("data", (bytes: Uint8Array) => this.received += bytes.length);
    socket.on("error", () => {});
    socket.once("end", () => socket.end());
    this.over = new Promise((done) => socket.once("close", () => done()));
  }

  /** Waits for the backend's greeting. */
  async greeted(): Promise<this> {
    await until(() => this.received > 0);
    return this;
  }

  /** Cuts it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy();
    await this.over;
  }
}
