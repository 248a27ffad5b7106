/**
 * A way between a client and a daemon that can be held up in the middle of a handshake.
 *
 * @module
 */

import { closeQuietly, writeAll } from "./peers.ts";

/** Forwards TCP; of what clients send, only the first message goes through until it is released. */
export class StallingProxy implements AsyncDisposable {
  /** Client messages that are held. */
  held = 0;
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #target: number;
  readonly #released = Promise.withResolvers<void>();
  readonly #conns = new Set<Deno.Conn>();
  readonly #connections: Promise<void>[] = [];
  readonly #loop: Promise<void>;

  /** Forwards to a port of 127.0.0.1. */
  constructor(target: number) {
    this.#target = target;
    this.#loop = this.#run();
  }

  /** Where clients connect. */
  get port(): number {
    return this.#listener.addr.port;
  }

  /** From now on everything goes through. */
  release(): void {
    this.#released.resolve();
  }

  async #run(): Promise<void> {
    for await (const downstream of this.#listener) {
      const upstream = await Deno.connect({ hostname: "127.0.0.1", port: this.#target });
      this.#conns.add(downstream).add(upstream);
      this.#connections.push(
        this.#copy(downstream, upstream, true),
        this.#copy(upstream, downstream, false),
      );
    }
  }

  async #copy(from: Deno.Conn, to: Deno.Conn, hold: boolean): Promise<void> {
    const buffer = new Uint8Array(65_536);
    try {
      for (let message = 0;; message++) {
        const count = await from.read(buffer);
        if (hold && message > 0) {
          this.held++;
          await this.#released.promise;
        }
        if (count === null) return await to.closeWrite();
        await writeAll(to, buffer.subarray(0, count));
      }
    } catch {
      // One side is gone; the other is told.
      closeQuietly(from);
      closeQuietly(to);
    }
  }

  /** Cuts everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    this.release();
    await this.#loop.catch(() => {});
    for (const conn of this.#conns) closeQuietly(conn);
    await Promise.all(this.#connections);
  }
}

/** A port of 127.0.0.1 where connecting takes for ever, because its queue is full. */
export async function unacceptingTarget(): Promise<{ readonly address: string } & Disposable> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 1 });
  const { port } = listener.addr;
  const conns: Deno.Conn[] = [];
  for (;;) {
    const giveUp = new AbortController();
    let answered = false;
    const connecting = Deno.connect({ hostname: "127.0.0.1", port, signal: giveUp.signal })
      .finally(() => answered = true);
    connecting.catch(() => {}); // Told below.
    // Many short waits: after a single long one a busy machine may not have looked at the socket yet.
    for (let turn = 0; turn < 30 && !answered; turn++) {
      await new Promise((done) => setTimeout(done, 10));
    }
    if (!answered) giveUp.abort();
    try {
      conns.push(await connecting);
    } catch (error) {
      if (giveUp.signal.aborted) break;
      throw error;
    }
  }
  return {
    address: `127.0.0.1:${port}`,
    [Symbol.dispose]: () => {
      for (const conn of conns) conn.close();
      listener.close();
    },
  };
}
