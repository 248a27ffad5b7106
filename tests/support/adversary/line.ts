/**
 * TLS by hand: a connection that sends and receives records.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { Plain, Protection } from "./crypto.ts";
import { RECORD, record } from "./octets.ts";
import type { Peer } from "../sockets.ts";

const NONE = Buffer.alloc(0);

/** As much plaintext as one record holds here. */
const FRAGMENT = 16_000;

/** A connection that speaks TLS records. */
export class Line {
  /** Protects what is sent from now on. */
  writing: Protection | undefined;
  /** Takes the protection off what is received from now on. */
  reading: Protection | undefined;
  /** TLS 1.2: becomes `reading` at the other side's ChangeCipherSpec. */
  pending: Protection | undefined;
  /** Descriptions of the alerts received (RFC 8446 section 6). */
  readonly alerts: number[] = [];
  /** How much of a handshake message a record that is sent has at most, in octets. */
  fragment = FRAGMENT;
  /** The TCP connection. */
  readonly peer: Peer;
  #received: Buffer = NONE;
  #messages: Buffer = NONE;
  #out: Buffer[] = [];
  #wake = (): void => {};

  /** Takes what comes from now on. */
  constructor(peer: Peer) {
    this.peer = peer;
    this.#received = peer.bytes;
    peer.onBytes = (bytes) => {
      this.#received = Buffer.concat([this.#received, bytes]);
      this.#wake();
    };
    peer.onEnding = () => this.#wake();
  }

  /** Writes into the next flight: records of this content, protected where that is on. */
  put(type: number, content: Uint8Array): void {
    const size = type === RECORD.handshake ? this.fragment : FRAGMENT;
    for (let at = 0; at === 0 || at < content.length; at += size) {
      const part = content.subarray(at, at + size);
      this.#out.push(this.writing?.seal(type, part) ?? record(type, part));
    }
  }

  /** Writes into the next flight: these octets. */
  raw(octets: Uint8Array): void {
    this.#out.push(Buffer.from(octets));
  }

  /** Sends the flight in one write. */
  async flush(): Promise<void> {
    const flight = Buffer.concat(this.#out.splice(0));
    if (flight.length > 0) await this.peer.send(flight);
  }

  /** What has been written and not sent. */
  take(): Buffer {
    return Buffer.concat(this.#out.splice(0));
  }

  async #wholeRecord(): Promise<Buffer | undefined> {
    for (;;) {
      const have = this.#received;
      const size = have.length < 5 ? Infinity : 5 + have.readUInt16BE(3);
      if (have.length >= size) {
        this.#received = have.subarray(size);
        return have.subarray(0, size);
      }
      if (this.peer.ending !== "open") return undefined;
      await new Promise<void>((wake) => this.#wake = wake);
    }
  }

  /** The next record but alerts, which are noted; `undefined` at the end of the connection. */
  async next(): Promise<Plain | undefined> {
    for (;;) {
      const whole = await this.#wholeRecord();
      if (whole === undefined) return undefined;
      const type = whole[0] ?? 0;
      if (type === RECORD.ccs && this.pending !== undefined) {
        this.reading = this.pending;
        this.pending = undefined;
      }
      const bare = this.reading === undefined || type === RECORD.ccs;
      const plain = bare ? { type, content: whole.subarray(5) } : this.#open(whole);
      if (plain.type !== RECORD.alert) return plain;
      this.alerts.push(plain.content[1] ?? -1);
    }
  }

  #open(whole: Buffer): Plain {
    const { reading } = this;
    if (reading === undefined) throw new Error("nothing to open with");
    try {
      return reading.open(whole);
    } catch (error) {
      // An alert from before the other side had keys.
      if (whole[0] !== RECORD.alert) throw error;
      return { type: RECORD.alert, content: whole.subarray(5) };
    }
  }

  /** The next handshake message, whole; `undefined` where something else comes, or nothing more. */
  async message(): Promise<{ readonly type: number; readonly whole: Buffer } | undefined> {
    for (;;) {
      const have = this.#messages;
      const size = have.length < 4 ? Infinity : 4 + have.readUIntBE(1, 3);
      if (have.length >= size) {
        this.#messages = have.subarray(size);
        return { type: have[0] ?? 0, whole: have.subarray(0, size) };
      }
      const plain = await this.next();
      if (plain === undefined) return undefined;
      if (plain.type === RECORD.ccs) continue;
      if (plain.type !== RECORD.handshake) return undefined;
      this.#messages = Buffer.concat([have, plain.content]);
    }
  }
}
