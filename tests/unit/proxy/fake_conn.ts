/**
 * A channel in memory whose every event a test decides.
 *
 * @module
 */

import {
  type Conn,
  ConnError,
  type ConnFault,
  pipeByReading,
  type Sink,
} from "../../../src/net/conn.ts";

type Event = { readonly data: Uint8Array | null } | { readonly error: unknown };

/** What a peer and a kernel would do, by hand. */
export class FakeChannel implements Conn {
  readonly remote = "192.0.2.7:1234";
  readonly local = "192.0.2.1:443";
  /** Everything written to it, as text. */
  written = "";
  /** How often it was read. */
  reads = 0;
  /** Whether `closeWrite` was called, and when seen from `written`. */
  endedAt: number | undefined;
  closed = false;
  /** Whether it was closed by RST. */
  wasReset = false;
  /** Reads and writes that have not settled. */
  pending = 0;
  #inbox: Event[] = [];
  #reader: ((event: Event) => void) | undefined;
  #held: (() => void)[] | undefined;
  #writeError: unknown;
  #endError: unknown;
  #changed: (() => void)[] = [];

  /** The peer sends. */
  push(text: string): void {
    this.#event({ data: new TextEncoder().encode(text) });
  }

  /** The peer ends its half. */
  end(): void {
    this.#event({ data: null });
  }

  /** Reading fails once everything before was read. */
  breakRead(fault: ConnFault | Error): void {
    this.#event({ error: toError(fault) });
  }

  /** Writing fails from now on. */
  breakWrite(fault: ConnFault | Error): void {
    this.#writeError = toError(fault);
    this.release();
  }

  /** `closeWrite` fails from now on. */
  breakEnd(fault: ConnFault): void {
    this.#endError = toError(fault);
  }

  /** The peer stops reading: writes wait. */
  stall(): void {
    this.#held ??= [];
  }

  /** The peer reads again. */
  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const go of held) go();
  }

  /** Resolves when `condition` holds; looked at after each thing that happens here. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((done) => this.#changed.push(done));
  }

  async read(): Promise<Uint8Array | null> {
    this.reads++;
    this.#settle();
    if (this.closed) throw new ConnError("closed", "closed");
    this.pending++;
    const next = this.#inbox.shift();
    const event = next ?? await new Promise<Event>((resolve) => (this.#reader = resolve));
    this.pending--;
    this.#settle();
    if ("error" in event) throw event.error;
    return event.data;
  }

  pipeTo(take: Sink): Promise<void> {
    return pipeByReading(this, take);
  }

  async write(data: Uint8Array): Promise<void> {
    // The buffer may be reused once this resolves, and not before.
    const text = new TextDecoder().decode(data);
    this.pending++;
    this.#settle();
    const held = this.#held;
    if (held !== undefined && !this.closed) await new Promise<void>((go) => held.push(go));
    this.pending--;
    if (this.closed) throw new ConnError("closed", "closed");
    if (this.#writeError !== undefined) throw this.#writeError;
    this.written += text;
    this.#settle();
  }

  closeWrite(): Promise<void> {
    if (this.closed) return Promise.reject(new ConnError("closed", "closed"));
    if (this.#endError !== undefined) return Promise.reject(this.#endError);
    this.endedAt = this.written.length;
    this.#settle();
    return Promise.resolve();
  }

  close(): void {
    this.closed = true;
    this.release();
    this.#reader?.({ error: new ConnError("closed", "closed") });
    this.#reader = undefined;
    this.#settle();
  }

  reset(): void {
    this.wasReset = !this.closed;
    this.close();
  }

  #event(event: Event): void {
    const reader = this.#reader;
    this.#reader = undefined;
    if (reader === undefined) this.#inbox.push(event);
    else reader(event);
  }

  #settle(): void {
    for (const done of this.#changed.splice(0)) done();
  }
}

function toError(fault: ConnFault | Error): Error {
  return fault instanceof Error ? fault : new ConnError(fault, `it is ${fault}`);
}
