/**
 * A target that is stopped and comes back at the same address.
 *
 * @module
 */

import { closeQuietly, connectionsOf, writeAll } from "./peers.ts";
import { ownAddress, split } from "./tools.ts";

/** Says its name, and then sends back what comes. */
export class Restarted implements AsyncDisposable {
  /** `host:port`, which nobody else has. */
  readonly address: string = ownAddress();
  /** Connections accepted so far. */
  connections = 0;
  readonly #name: string;
  readonly #open = new Set<Deno.Conn>();
  readonly #connections: Promise<void>[] = [];
  #listener: Deno.TcpListener | undefined;

  /** Not started yet. */
  constructor(name: string) {
    this.#name = name;
  }

  /** Connections that are open. */
  get open(): number {
    return this.#open.size;
  }

  /** Accepts from now on. */
  start(): this {
    if (this.#listener !== undefined) return this;
    const listener = Deno.listen(split(this.address));
    this.#listener = listener;
    const run = async () => {
      for await (const conn of connectionsOf(listener)) {
        this.connections++;
        this.#open.add(conn);
        this.#connections.push(this.#serve(conn));
      }
    };
    this.#connections.push(run().catch(() => {}));
    return this;
  }

  /** Refuses from now on; what was accepted goes on, what waits in the kernel's queue is reset. */
  stop(): void {
    this.#listener?.close();
    this.#listener = undefined;
  }

  async #serve(conn: Deno.Conn): Promise<void> {
    try {
      const buffer = new Uint8Array(16_384);
      await writeAll(conn, new TextEncoder().encode(`${this.#name}:`));
      for (let n = await conn.read(buffer); n !== null; n = await conn.read(buffer)) {
        await writeAll(conn, buffer.subarray(0, n));
      }
      await conn.closeWrite();
    } catch {
      // The other side is gone.
    } finally {
      this.#open.delete(conn);
      closeQuietly(conn);
    }
  }

  /** Cuts everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.stop();
    for (const conn of this.#open) closeQuietly(conn);
    await Promise.all(this.#connections);
  }
}
