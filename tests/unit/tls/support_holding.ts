/**
 * A channel that keeps what is written, to send it in one piece.
 *
 * @module
 */

import type { Conn, Sink } from "../../../src/net/conn.ts";
import { concat } from "../../support/der.ts";

/** Keeps what is written while it is told to, and sends it in one piece before the end. */
export class Holding implements Conn {
  readonly remote = "holding:0";
  readonly local = "192.0.2.1:443";
  hold = false;
  readonly #held: Uint8Array[] = [];
  readonly #conn: Conn;

  constructor(conn: Conn) {
    this.#conn = conn;
  }

  read(): Promise<Uint8Array | null> {
    return this.#conn.read();
  }

  pipeTo(take: Sink): Promise<void> {
    return this.#conn.pipeTo(take);
  }

  write(bytes: Uint8Array): Promise<void> | undefined {
    if (!this.hold) return this.#conn.write(bytes);
    this.#held.push(bytes.slice());
    return Promise.resolve();
  }

  /** Sends what was kept, and `more`. */
  async release(...more: readonly Uint8Array[]): Promise<void> {
    await this.#conn.write(concat(...this.#held.splice(0), ...more));
  }

  /** While it holds, the end is held as well. */
  async closeWrite(): Promise<void> {
    if (this.hold) return;
    await this.#conn.closeWrite();
  }

  close(): void {
    this.#conn.close();
  }

  reset(): void {
    this.#conn.reset();
  }
}
