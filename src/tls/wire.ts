/**
 * The stream that the TLS engine gets to see in place of a socket. It reads only when it is told to
 * and hands every write on, so that the flow control stays ours.
 *
 * @module
 */

import { EventEmitter } from "node:events";
import process from "node:process";
import { type Channel, ChannelError, type Take } from "../channel.ts";
import { Records } from "./records.ts";

/** What an engine's write calls when the bytes are gone. */
export type Written = (error?: Error | null) => void;

/** How long and how much a connection may linger for a last alert to arrive. */
const LINGER_MS = 1000;
const LINGER_BYTES = 256 * 1024;

/**
 * So many bytes may come from a peer without the end of the handshake, and later without any data. The
 * engine gives up on a message of more than 64 KB by waiting for ever, and keeps what comes meanwhile:
 * without a limit of ours any stranger could fill the memory. Both ends' largest flights fit in, and
 * so do tickets and key updates, which are no data.
 */
export const MAX_FRUITLESS: number = 128 * 1024;

/**
 * So many bytes on the wire, the headers and tags of its records included, a message may take: that is
 * what the engine holds. A certificate of 4.7 KB in records of one byte takes 108 KB with TLS 1.3.
 */
export const MAX_MESSAGE: number = 64 * 1024 - 1;

/**
 * Milliseconds that a peer may be silent when it has sent more than that and the handshake is not done.
 * Whether the engine has given up on a message it does not tell, but then nothing that the peer still has
 * to send would help.
 */
export const MAX_SILENCE = 2000;

/**
 * A minimal stream object over a {@linkcode Channel}: just what `node:tls` uses of a `Duplex`.
 *
 * The engine may call `pause`, `resume` and `destroy` as it likes: none of them does anything,
 * because reading happens in {@linkcode Wire.pull} only, and because an engine that gives up still
 * has an alert to send.
 */
export class Wire extends EventEmitter {
  /** Read by the engine. */
  readonly readable = true;
  /** Read by the engine. */
  readonly writable = true;
  /** One half may end before the other. */
  readonly allowHalfOpen = true;
  /** Called once when a write fails. */
  onBroken: (error: unknown) => void = () => {};
  readonly #channel: Channel;
  readonly #requireCloseNotify: boolean;
  readonly #incoming = new Records();
  #writing: Promise<void> = Promise.resolve();
  #writes = 0;
  #queued = 0;
  #reading: Promise<Uint8Array | null> | undefined;
  #muted = false;
  #broken = false;
  /** Milliseconds of CPU that the engine spent in {@linkcode Wire.pull}, where that is metered. */
  engineCpu = 0;
  /** Whether {@linkcode Wire.engineCpu} is counted. */
  metered = false;
  /** Lets go what is held back. */
  #release: (() => void) | undefined;

  /**
   * Carries the engine's bytes over `channel`, which it owns from now on. Where close_notify is required,
   * a peer that ends without it has broken off.
   */
  constructor(channel: Channel, requireCloseNotify = true) {
    super();
    this.#channel = channel;
    this.#requireCloseNotify = requireCloseNotify;
  }

  /** How many writes the engine has made. */
  get writes(): number {
    return this.#writes;
  }

  /** Resolves when what the engine has written so far was handed on, or cannot be. */
  flushed(): Promise<void> {
    return this.#writing;
  }

  /** Reads once and feeds the engine: so many bytes, or `undefined` at the end of the stream. */
  async pull(): Promise<number | undefined> {
    const bytes = await this.read();
    if (bytes === null) return undefined;
    // The engine copies the bytes before it returns, and they may be overwritten then.
    const count = bytes.length;
    const before = this.metered ? cpuMilliseconds() : 0;
    this.emit("data", bytes);
    if (this.metered) this.engineCpu += cpuMilliseconds() - before;
    return count;
  }

  /** Hands on what comes, past the stream that the engine sees; resolves at the end. */
  pump(take: Take): Promise<void> {
    return this.#channel.pump((bytes) => {
      this.#incoming.pass(bytes);
      return take(bytes);
    });
  }

  /**
   * What the peer's FIN amounts to where no close_notify came before it: a fault, or `undefined` where it
   * counts as an end. In the middle of a record it never does: bytes are missing.
   */
  faultOfEnd(): ChannelError | undefined {
    if (this.#incoming.whole && !this.#requireCloseNotify) return undefined;
    return new ChannelError("truncated", "the peer ended the connection without close_notify");
  }

  /** Sends, after everything that was written before: `undefined` where it was gone at once. */
  send(bytes: Uint8Array): Promise<void> | undefined {
    this.#writes++;
    if (this.#queued === 0 && !this.#muted && !this.#broken) {
      const sent = this.#channel.write(bytes);
      if (sent !== undefined) this.#enqueue(() => sent);
      return sent;
    }
    return this.#enqueue(() => this.#pass(bytes));
  }

  #enqueue(action: () => Promise<void> | undefined): Promise<void> {
    this.#queued++;
    const done = this.#writing.then(action).finally(() => this.#queued--);
    // Whoever sent it is told; the next one has its turn all the same.
    this.#writing = done.catch(() => {});
    return done;
  }

  #pass(bytes: Uint8Array): Promise<void> | undefined {
    return this.#muted || this.#broken ? undefined : this.#channel.write(bytes);
  }

  /** Reads once, past the engine. A handshake may fail while its next bytes are still awaited. */
  read(): Promise<Uint8Array | null> {
    return this.#reading ??= this.#channel.read().then((bytes) => {
      if (bytes !== null) this.#incoming.pass(bytes);
      return bytes;
    }).finally(() => this.#reading = undefined);
  }

  /** From now on nothing that the engine writes leaves: for a peer that was refused. */
  mute(): void {
    this.#muted = true;
    this.release();
  }

  /** What is written from now on waits for {@linkcode Wire.release}, or is dropped by {@linkcode Wire.mute}. */
  hold(): void {
    if (this.#release !== undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#release = resolve;
    void this.#enqueue(() => promise);
  }

  /** Sends what was held back, and what comes. */
  release(): void {
    this.#release?.();
    this.#release = undefined;
  }

  /** Ends our half. */
  closeWrite(): Promise<void> {
    return this.#channel.closeWrite();
  }

  /**
   * Drops the connection at once, and the engine's state with it: that refers to itself from outside
   * the heap, so that a socket which is not told of the end is never collected.
   */
  close(): void {
    this.mute();
    this.#channel.close();
    this.emit("close");
  }

  /** The same, so that the peer can tell it from an end. */
  reset(): void {
    this.#channel.reset();
    this.close();
  }

  /**
   * Closes so that the last alert arrives: a socket that is closed with unread bytes is reset, and a
   * reset throws away what the peer has not read yet. Bounded in time and bytes; never throws.
   */
  async linger(signal: AbortSignal): Promise<void> {
    const cut = () => this.close();
    const timer = setTimeout(cut, LINGER_MS);
    signal.addEventListener("abort", cut, { once: true });
    try {
      if (signal.aborted) return;
      await this.#writing;
      await this.#channel.closeWrite();
      for (let left = LINGER_BYTES; left > 0;) {
        const bytes = await this.read();
        if (bytes === null) break;
        left -= bytes.length;
      }
    } catch {
      // The peer is gone, or the time is up: nothing more to let out.
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", cut);
      this.close();
    }
  }

  /** Engine: send bytes. */
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

  /** Engine: nothing more to send. The connection's end is not the engine's to decide. */
  end(ended?: () => void): this {
    ended?.();
    return this;
  }

  /** Engine: gone. The connection stays for its last alert and is closed by its owner. */
  destroy(): this {
    return this;
  }

  /** Engine: has no effect. */
  pause(): this {
    return this;
  }

  /** Engine: has no effect. */
  resume(): this {
    return this;
  }

  /** Engine: has no effect. */
  cork(): void {}

  /** Engine: has no effect. */
  uncork(): void {}
}

/** Time on a CPU and not on the wall: a process that is stopped for a while has not worked. */
function cpuMilliseconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
