/**
 * Peers that begin and do not go on. Each has a good certificate; the control goes on, a little later.
 *
 * @module
 */

import { holder, type Refused, VERSIONS } from "../../support/adversary/arena.ts";
import type { ClientPlay, Step } from "../../support/adversary/client.ts";
import type { Version } from "../../support/adversary/hello.ts";
import type { Issued } from "../../support/pki.ts";
import type { Peer } from "../../support/sockets.ts";

/** Longer than a turn of the event loop, shorter than any limit. */
const A_WHILE = 40;

function pause(): Promise<void> {
  return new Promise((done) => setTimeout(done, A_WHILE));
}

async function whenEnded(peer: Peer): Promise<void> {
  await peer.ended();
}

/** A peer that is slow for ever, and the same that is slow once. */
export type Slow = {
  readonly name: string;
  readonly version: Version;
  readonly peer: ClientPlay;
  readonly refused: Refused;
  readonly control: ClientPlay;
};

/** Sends a flight in pieces until it is all sent, or the connection has ended. */
async function trickle(flight: Uint8Array, piece: number, peer: Peer): Promise<void> {
  for (let at = 0; at < flight.length && peer.ending === "open"; at += piece) {
    await peer.send(flight.subarray(at, at + piece));
    await pause();
  }
}

const timeout: Refused = { handshake: "timeout", error: /^no handshake within / };

/** All of them. */
export function slowRows(good: Issued): readonly Slow[] {
  const control = holder(good);
  const stops = (step: Step): Pick<Slow, "peer" | "control"> => ({
    peer: { ...control, hold: (now, peer) => now === step ? whenEnded(peer) : Promise.resolve() },
    control: { ...control, hold: (now) => now === step ? pause() : Promise.resolve() },
  });
  const opens = (
    peer: NonNullable<ClientPlay["open"]>,
    mended: NonNullable<ClientPlay["open"]>,
  ): Pick<Slow, "peer" | "control"> => ({
    peer: { ...control, open: peer },
    control: { ...control, open: mended },
  });
  const half = (flight: Uint8Array): Uint8Array => flight.subarray(0, flight.length / 2);
  const table: Readonly<Record<string, Pick<Slow, "peer" | "control">>> = {
    "it connects and says nothing": stops("hello"),
    "half a hello": opens(
      (flight, peer) => peer.send(half(flight)).then(() => whenEnded(peer)),
      (flight, peer) => trickle(flight, flight.length / 2, peer),
    ),
    "a hello byte by byte": opens(
      (flight, peer) => trickle(flight, 1, peer),
      (flight, peer) => trickle(flight, 25, peer),
    ),
    "a hello and no certificate": stops("certificate"),
    "a certificate and no proof of its key": stops("verify"),
    "everything but the Finished": stops("finished"),
  };
  return Object.entries(table).flatMap(([name, plays]) =>
    VERSIONS.map((version) => ({ name, version, refused: timeout, ...plays }))
  );
}
