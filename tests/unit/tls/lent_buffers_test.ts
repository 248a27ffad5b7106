/**
 * Plaintext is put into buffers that all connections share. While a chunk is still being sent from one,
 * nobody else's bytes may get into it: the next reader would be sent another peer's plaintext.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { type Conn, pipeByReading, type Sink } from "../../../src/net/conn.ts";
import { until } from "../../support/wait.ts";
import { bytesOf } from "../../support/tls/ends.ts";
import { memoryPair } from "../../support/tls/memory_conn.ts";
import { NATIVE, NATIVE_OVER_SOCKETS, testEachBackend } from "../../support/tls/backends.ts";

/** Gives on what comes as one chunk of at least so many bytes. */
class Gathering implements Conn {
  readonly remote: string;
  readonly local: string;
  readonly #inner: Conn;
  readonly #atLeast: number;

  constructor(inner: Conn, atLeast: number) {
    this.remote = inner.remote;
    this.local = inner.local;
    this.#inner = inner;
    this.#atLeast = atLeast;
  }

  read(): Promise<Uint8Array | null> {
    return this.#inner.read();
  }

  pipeTo(take: Sink): Promise<void> {
    let gathered = Buffer.alloc(0);
    return pipeByReading(this.#inner, (bytes) => {
      gathered = Buffer.concat([gathered, bytes]);
      if (gathered.length < this.#atLeast) return undefined;
      const chunk = gathered;
      gathered = Buffer.alloc(0);
      return take(chunk);
    });
  }

  write(data: Uint8Array): Promise<void> | undefined {
    return this.#inner.write(data);
  }

  closeWrite(): Promise<void> {
    return this.#inner.closeWrite();
  }

  close(): void {
    this.#inner.close();
  }

  reset(): void {
    this.close();
  }
}

/** Takes chunks as a socket does that is full: keeps them where they are until it is released. */
class Stalled {
  readonly #held: { readonly bytes: Uint8Array; readonly go: () => void }[] = [];
  /** What was sent, as it was at the moment when it left. */
  sent = Buffer.alloc(0);

  readonly take = (bytes: Uint8Array): Promise<void> =>
    new Promise((go) => void this.#held.push({ bytes, go }));

  get holding(): number {
    return this.#held.length;
  }

  release(): void {
    for (const { bytes, go } of this.#held.splice(0)) {
      this.sent = Buffer.concat([this.sent, bytes]);
      go();
    }
  }
}

testEachBackend("many records at once, to a sink that is full", async ({ connected }) => {
  const [one, other] = memoryPair();
  const ends = await connected({ pair: [one, new Gathering(other, 300_000)] });
  const data = bytesOf(400_000, 7);
  const writing = ends.client.write(data);
  const sink = new Stalled();
  let over = false;
  void ends.server.pipeTo(sink.take).catch(() => {}).finally(() => over = true);
  await until(() => sink.holding > 0);
  await until(() => {
    sink.release();
    return sink.sent.length >= 270_000;
  });
  assert.deepEqual(sink.sent, Buffer.from(data.subarray(0, sink.sent.length)));
  ends.client.close();
  ends.server.close();
  await until(() => {
    sink.release();
    return over;
  });
  await Promise.resolve(writing).catch(() => {});
}, [NATIVE]);

testEachBackend(
  "what is still being sent stays as it is, whoever is heard meanwhile",
  async (way) => {
    const peers = await Promise.all(Array.from({ length: 12 }, async (_, i) => ({
      ends: await way.connected(),
      sink: new Stalled(),
      data: Buffer.alloc(1000 + 3000 * i, i + 1),
    })));
    const pumps = peers.map(({ ends, sink }) => ends.server.pipeTo(sink.take).catch(() => {}));
    for (let round = 0; round < 5; round++) {
      for (const { ends, sink, data } of peers) {
        await ends.client.write(data);
        await until(() => sink.holding > 0);
      }
      // Each holds its chunk while all the others have come; some leave before the next round.
      for (const [i, { sink }] of peers.entries()) if ((i + round) % 3 > 0) sink.release();
    }
    for (const { sink, data } of peers) {
      await until(() => {
        sink.release();
        return sink.sent.length === 5 * data.length;
      });
    }
    for (const { sink, data } of peers) {
      assert.ok(sink.sent.every((byte) => byte === data[0]), `foreign bytes in that of ${data[0]}`);
    }
    for (const { ends } of peers) {
      ends.client.close();
      ends.server.close();
    }
    await Promise.all(pumps);
  },
  [NATIVE, NATIVE_OVER_SOCKETS],
);
