/**
 * A plain connection that stays open while a test changes the world around it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { closeQuietly, writeAll } from "../peers.ts";
import { portOf } from "./examples.ts";

/** A plain client of a tunnel to an echo backend. */
export class HeldPlain implements AsyncDisposable {
  readonly #conn: Deno.TcpConn | Deno.UnixConn;

  private constructor(conn: Deno.TcpConn | Deno.UnixConn) {
    this.#conn = conn;
  }

  /** Connects to where a daemon listens: `127.0.0.1:port`, or `unix:` and a path. */
  static async open(listen: string): Promise<HeldPlain> {
    const [, path] = /^unix:(.*)$/.exec(listen) ?? [];
    return new HeldPlain(
      path === undefined
        ? await Deno.connect({ hostname: "127.0.0.1", port: portOf(listen) })
        : await Deno.connect({ transport: "unix", path }),
    );
  }

  /** Sends and reads until it has come back; fails where the connection ends before. */
  async echo(text: string): Promise<void> {
    await writeAll(this.#conn, new TextEncoder().encode(text));
    let back = "";
    const buffer = new Uint8Array(1024);
    while (back.length < text.length) {
      const count = await this.#conn.read(buffer);
      assert.ok(count !== null, `the connection ended after "${back}"`);
      back += new TextDecoder().decode(buffer.subarray(0, count));
    }
    assert.equal(back, text);
  }

  /** Reads until the other side ends it. */
  async ended(): Promise<void> {
    const buffer = new Uint8Array(1024);
    while (await this.#conn.read(buffer).catch(() => null) !== null);
  }

  /** Closes it. */
  [Symbol.asyncDispose](): Promise<void> {
    closeQuietly(this.#conn);
    return Promise.resolve();
  }
}
