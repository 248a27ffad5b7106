/**
 * With TLS 1.2 and AES-GCM rustls encrypts 2^24 records, 16 million small messages, and then no more:
 * it goes on to say that all is well, and in place of the data it sends a close_notify. No peer may take
 * what arrived until then for the whole.
 *
 * @module
 */

import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import type { TLSSocket } from "node:tls";
import { NodeTlsConn } from "../../src/tls/node_conn.ts";
import { type NativeTls, NativeTlsBackend } from "../../src/native/tls.ts";
import { TransportStream } from "../../src/tls/transport_stream.ts";
import { client, connected, failsWith, server, text, words } from "../support/tls/ends.ts";
import { memoryPair } from "../support/tls/memory_conn.ts";
import { nativeBackend, requireNativeTls } from "../support/tls/backends.ts";

/** How many writes are encrypted here; reaching the limit of rustls would take a minute. */
const LIMIT = 3;

/** Native TLS servers that behave as rustls does beyond its limit. */
function usedUp(): NativeTls {
  const native = requireNativeTls();
  return {
    ...native,
    server: (context) => {
      const nativeServer = native.server(context);
      const encrypt = nativeServer.writeBuffer.bind(nativeServer);
      let left = LIMIT;
      const writeBuffer: typeof encrypt = (request, data) => {
        if (left-- > 0) return encrypt(request, data);
        return nativeServer.shutdown(request);
      };
      return Object.defineProperty(nativeServer, "writeBuffer", { value: writeBuffer });
    },
  };
}

for (const size of [1, 5, 40, 40_000, 200_000]) {
  Deno.test(`data that the engine drops is an error, and not an end: ${size} bytes`, async () => {
    const ends = await connected({
      pair: memoryPair(1_000_000),
      server: server({ backend: new NativeTlsBackend(usedUp()), max: "TLS1.2" }),
      client: client({ backend: nativeBackend() }),
    });
    let came = 0;
    const reading = failsWith(
      ends.client.pipeTo((bytes) => void (came += bytes.length)),
      "truncated",
    );
    for (let sent = 0; sent < LIMIT - 1; sent++) await ends.server.write(text("ok"));
    // One that is larger than what is encrypted at once takes two.
    if (size < 50_000) await ends.server.write(text("ok"));
    const refused = failsWith(
      Promise.resolve(ends.server.write(new Uint8Array(size))),
      "protocol",
    );
    await refused;
    await failsWith(Promise.resolve(ends.server.write(text("more"))), "protocol");
    await failsWith(ends.server.closeWrite(), "protocol");
    // The other half goes on.
    await ends.client.write(text("still heard"));
    assert.equal(words(await ends.server.read() ?? new Uint8Array(0)), "still heard");
    ends.server.close();
    await reading;
    assert.equal(came, size < 50_000 ? 2 * LIMIT : 2 * (LIMIT - 1) + 48 * 1024);
    ends.client.close();
  });
}

Deno.test("the public way counts records itself: what the engine drops it does not show", async () => {
  for (const [protocol, limit] of [["TLSv1.2", 5], ["TLSv1.3", Infinity]] as const) {
    let taken = 0;
    const socket = Object.assign(new EventEmitter(), {
      getProtocol: () => protocol,
      write: (data: Uint8Array, written: () => void) => {
        taken += data.length;
        written();
      },
      destroy: () => {},
    });
    const [clientEnd] = memoryPair();
    const conn = new NodeTlsConn(
      clientEnd,
      new TransportStream(clientEnd),
      socket as unknown as TLSSocket,
      5,
    );
    for (let record = 0; record < 3; record++) await conn.write(text("ok"));
    await conn.write(new Uint8Array(20_000)); // Two.
    const last = conn.write(text("dropped"));
    if (limit === Infinity) await last;
    else await failsWith(last, "protocol");
    assert.equal(taken, 3 * 2 + 20_000 + (limit === Infinity ? "dropped".length : 0));
    if (limit !== Infinity) await failsWith(conn.closeWrite(), "protocol");
    conn.close();
  }
});
