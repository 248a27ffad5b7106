/**
 * First flights that are none.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { Refused } from "../../support/adversary/arena.ts";
import type { ClientPlay } from "../../support/adversary/client.ts";
import { MESSAGE, message, RECORD, record } from "../../support/adversary/octets.ts";

/** What a peer that holds the good client's certificate and key does otherwise. */
export type Tweak = Omit<ClientPlay, "chain" | "key">;

/** A failure of the protocol, in the TLS engine's words. */
export function said(error: RegExp): Refused {
  return { handshake: "protocol", error };
}

/** It has left. */
export const gone: Refused = { handshake: "reset", error: /left|closed|reset/i };
/** Sends other octets in place of the first flight. */
function opening(make: (flight: Buffer) => Uint8Array): Tweak {
  return { open: (flight, peer) => peer.send(make(flight)) };
}

/** Something to say. */
export const LET_ME_IN: Buffer = Buffer.from("let me in");

/** What comes first, and how it is refused. */
export const OPENINGS: Readonly<Record<string, readonly [Tweak, Refused]>> = {
  "garbage": [
    opening(() => crypto.getRandomValues(new Uint8Array(1000)).fill(0xa5, 0, 1)),
    said(/InvalidContentType/),
  ],
  "plaintext HTTP": [
    opening(() => Buffer.from("GET / HTTP/1.1\r\nHost: db\r\n\r\n")),
    said(/InvalidContentType/),
  ],
  "plaintext HTTP with a body": [
    opening(() => Buffer.from("POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nlet me in")),
    said(/InvalidContentType/),
  ],
  "SSLv2": [
    opening(() =>
      Uint8Array.of(0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10, ...new Uint8Array(40))
    ),
    said(/InvalidContentType/),
  ],
  "a PROXY header before the hello": [
    opening((flight) =>
      Buffer.concat([Buffer.from("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"), flight])
    ),
    said(/InvalidContentType/),
  ],
  "a record that is too long": [
    opening(() => record(RECORD.handshake, new Uint8Array(65_535).fill(1))),
    said(/MessageTooLarge/),
  ],
  "a record of an unknown type": [
    opening((flight) => {
      flight[0] = 99;
      return flight;
    }),
    said(/InvalidContentType/),
  ],
  "a heartbeat that asks for 64 KB": [
    opening(() => record(RECORD.heartbeat, Uint8Array.of(1, 0xff, 0xff, 0x61))),
    said(/InvalidContentType/),
  ],
  "a heartbeat behind the hello": [
    opening((flight) =>
      Buffer.concat([flight, record(RECORD.heartbeat, Uint8Array.of(1, 0xff, 0xff, 0x61))])
    ),
    said(/InvalidContentType|cannot decrypt/),
  ],
  "application data first": [
    opening(() => record(RECORD.data, LET_ME_IN)),
    said(/got ApplicationData when expecting Handshake/),
  ],
  "application data behind the hello": [
    opening((flight) => Buffer.concat([flight, record(RECORD.data, LET_ME_IN)])),
    said(/got ApplicationData when expecting Handshake|cannot decrypt/),
  ],
  "a fatal alert first": [
    opening((flight) => Buffer.concat([record(RECORD.alert, Uint8Array.of(2, 40)), flight])),
    { handshake: "other", error: /alert/i },
  ],
  "a handshake message without end": [
    opening(() => {
      const body = new Uint8Array(16_384).fill(1);
      body.set([1, 0xff, 0xff, 0xff]);
      const rest = record(RECORD.handshake, new Uint8Array(16_384).fill(1));
      return Buffer.concat([
        record(RECORD.handshake, body),
        ...Array.from({ length: 63 }, () => rest),
      ]);
    }),
    said(/HandshakePayloadTooLarge/),
  ],
  "a Finished in place of the hello": [
    opening(() => record(RECORD.handshake, message(MESSAGE.finished, new Uint8Array(32)))),
    said(/got Finished when expecting ClientHello/),
  ],
  "a hello and a Finished behind it": [
    opening((flight) =>
      Buffer.concat([
        flight,
        record(RECORD.handshake, message(MESSAGE.finished, new Uint8Array(12))),
      ])
    ),
    said(/got Finished when expecting Certificate|cannot decrypt/),
  ],
  "half a hello, and the end": [
    { ...opening((flight) => flight.subarray(0, 60)), leave: { after: "hello", how: "end" } },
    gone,
  ],
  "half a hello, and a reset": [
    { ...opening((flight) => flight.subarray(0, 60)), leave: { after: "hello", how: "reset" } },
    gone,
  ],
};
