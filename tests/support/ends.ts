/**
 * The two ends of a tunnel as channels whose every read the test decides: nothing is taken off the
 * wire that was not asked for, which `node:tls` cannot do.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type Channel, ChannelError } from "../../src/channel.ts";
import { dialTcp, listenTcp } from "../../src/net.ts";
import { admit, client, limits, server } from "../tls/support.ts";
import type { TestPki } from "./pki.ts";

/** A channel that is closed at the end of the scope. */
export type End = Channel & AsyncDisposable;

/** A target whose connections the test serves itself. */
export type Target = {
  readonly port: number;
  /** `127.0.0.1:port`. */
  readonly address: string;
  /** The next connection, after its handshake where there is one. */
  next(): Promise<End>;
} & AsyncDisposable;

/** Adds disposal to a channel. */
function end(channel: Channel): End {
  return Object.assign(channel, {
    [Symbol.asyncDispose]: () => {
      channel.close();
      return Promise.resolve();
    },
  });
}

/** Plain TCP to a port of 127.0.0.1. */
export async function plainEnd(port: number): Promise<End> {
  return end(await dialTcp({ host: "127.0.0.1", port }, { timeout: 10_000 }));
}

/** TLS to a port of 127.0.0.1, as the client of the PKI; waits `patience` ms for the handshake. */
export async function tlsEnd(port: number, pki: TestPki, patience = 10_000): Promise<End> {
  const tls = client({ own: pki.client, bundle: [pki.ca] });
  const { channel } = await tls.connect(await plainEnd(port), admit, limits(patience));
  assert.ok(channel !== undefined);
  return end(channel);
}

/** Listens; `take` makes of each connection what the test is to see. */
function target(take: (accepted: Channel) => Promise<Channel>): Target {
  const listener = listenTcp({ host: "127.0.0.1", port: 0 });
  const open: Channel[] = [];
  return {
    port: listener.port,
    address: listener.address,
    async next() {
      const channel = end(await take(await listener.accept()));
      open.push(channel);
      return channel;
    },
    [Symbol.asyncDispose]: () => {
      listener.close();
      for (const channel of open) channel.close();
      return Promise.resolve();
    },
  };
}

/** A plain target. */
export function plainTarget(): Target {
  return target((accepted) => Promise.resolve(accepted));
}

/** A target that is the server of the PKI; waits `patience` ms for handshakes. */
export function tlsTarget(pki: TestPki, patience = 10_000): Target {
  const tls = server({ own: pki.server, bundle: [pki.ca] });
  return target(async (accepted) => {
    const { channel } = await tls.accept(accepted, admit, limits(patience));
    assert.ok(channel !== undefined);
    return channel;
  });
}

/** What a channel reads until its end, and whether that was one in good order. */
export async function hear(
  channel: Channel,
): Promise<{ readonly text: string; readonly end: "clean" | "broken" }> {
  const decoder = new TextDecoder();
  let text = "";
  try {
    for (let bytes = await channel.read(); bytes !== null; bytes = await channel.read()) {
      text += decoder.decode(bytes, { stream: true });
    }
    return { text, end: "clean" };
  } catch (error) {
    if (!(error instanceof ChannelError)) throw error;
    return { text, end: "broken" };
  }
}

/** Sends words and waits until they have come back. */
export async function echo(channel: Channel, words: string): Promise<void> {
  await channel.write(new TextEncoder().encode(words));
  const decoder = new TextDecoder();
  let answer = "";
  while (answer.length < words.length) {
    const bytes = await channel.read();
    assert.ok(bytes !== null, `the connection ended after "${answer}"`);
    answer += decoder.decode(bytes, { stream: true });
  }
  assert.equal(answer, words);
}
