/**
 * Connections that a drain has to wait for: a backend that holds them open, and who uses them.
 *
 * @module
 */

import type net from "node:net";
import { Backend, readAll, writeAll } from "./peers.ts";
import { until } from "./wait.ts";

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
