/**
 * A channel that keeps what is written, to send it in one piece.
 *
 * @module
 */

import type { Channel, Take } from "../../src/channel.ts";
import { concat } from "../support/der.ts";

/** Keeps what is written while it is told to, and sends it in one piece before the end. */
export class Holding implements Channel {
  readonly remote = "holding:0";
  readonly local = "192.0.2.1:443";
  hold = false;
  readonly #held: Uint8Array[] = [];
  readonly #channel: Channel;

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  read(): Promise<Uint8Array | null> {
    return this.#channel.read();
  }

  pump(take: Take): Promise<void> {
    return this.#channel.pump(take);
  }

  write(bytes: Uint8Array): Promise<void> | undefined {
    if (!this.hold) return this.#channel.write(bytes);
    this.#held.push(bytes.slice());
    return Promise.resolve();
  }

  /** Sends what was kept, and `more`. */
  async release(...more: readonly Uint8Array[]): Promise<void> {
    await this.#channel.write(concat(...this.#held.splice(0), ...more));
  }

  /** While it holds, the end is held as well. */
  async closeWrite(): Promise<void> {
    if (this.hold) return;
    await this.#channel.closeWrite();
  }

  close(): void {
    this.#channel.close();
  }

  reset(): void {
    this.#channel.reset();
  }
}
