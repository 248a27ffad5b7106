/**
 * A handshake is bounded, and its end is the end of the connection.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import net from "node:net";
import {
  admit,
  client,
  credentials,
  DEFENCE_NO_LONGER_NEEDED,
  limits,
  pki,
  refused,
  server,
  VERSIONS,
} from "../support/tls/ends.ts";
import { tcpPair } from "../support/tls/tcp_backends.ts";
import { CountingConn, memoryPair } from "../support/tls/memory_conn.ts";
import { plainServer } from "../support/plain_tls.ts";
import { testPublicAndNative } from "../support/tls/backends.ts";

const ROLES = ["server", "client"] as const;

/** Our half of a handshake over the second end of a pair. */
function start(
  role: typeof ROLES[number],
  transport: Parameters<ReturnType<typeof server>["accept"]>[0],
  timeout: number,
  signal?: AbortSignal,
): Promise<unknown> {
  const bounds = limits(timeout, signal);
  return role === "server"
    ? server().accept(transport, admit, bounds)
    : client().connect(transport, admit, bounds);
}

Deno.test("control: the handshakeTimeout of node:tls leaves the socket open", async () => {
  const own = credentials(pki().server, [pki().ca]);
  await using plain = await plainServer(
    { cert: own.certPem, key: own.keyPem, handshakeTimeout: 50 },
    () => assert.fail("connected"),
  );
  const socket = net.connect(plain.port, "127.0.0.1");
  let closed = false;
  socket.on("error", () => {});
  socket.on("close", () => closed = true);
  socket.resume();
  await once(socket, "connect");
  while (plain.errors.length === 0) await new Promise((later) => setTimeout(later, 10));
  assert.match(String(plain.errors[0]), /timeout/);
  await new Promise((later) => setTimeout(later, 200));
  assert.equal(closed, false, DEFENCE_NO_LONGER_NEEDED);
  socket.destroy();
  await once(socket, "close");
});

for (const role of ROLES) {
  testPublicAndNative(`a silent peer is closed, really, ${role}`, async () => {
    const [clientEnd, serverEnd] = await tcpPair();
    const started = performance.now();
    const error = await refused(start(role, serverEnd, 100) as never, "timeout");
    assert(performance.now() - started < 30_000);
    assert.match(error.message, /within 100/);
    // What a client has sent before is read first; then comes the end.
    while (await clientEnd.read() !== null);
    clientEnd.close();
  });

  testPublicAndNative(`abort cuts a handshake at once, ${role}`, async () => {
    const [clientEnd, serverEnd] = memoryPair();
    const stop = new AbortController();
    const cut = refused(start(role, serverEnd, 60_000, stop.signal) as never, "other");
    await new Promise((later) => setTimeout(later, 10));
    stop.abort();
    await cut;
    assert(serverEnd.isClosed);
    clientEnd.close();
  });

  testPublicAndNative(`an abort that came before: nothing is sent, ${role}`, async () => {
    const [clientEnd, serverEnd] = memoryPair();
    const counting = new CountingConn(serverEnd);
    await refused(start(role, counting, 60_000, AbortSignal.abort()) as never, "other");
    assert(serverEnd.isClosed);
    assert.equal(counting.bytesWritten, 0);
    clientEnd.close();
  });

  testPublicAndNative(`abort during the linger after a refusal, ${role}`, async () => {
    const [clientEnd, serverEnd] = memoryPair();
    const stop = new AbortController();
    const cut = refused(start(role, serverEnd, 60_000, stop.signal) as never, "protocol");
    await clientEnd.write(Buffer.from("GET / HTTP/1.1\r\n\r\n"));
    await new Promise((later) => setTimeout(later, 50));
    assert.equal(serverEnd.isClosed, false, "it should wait for its alert to be taken");
    stop.abort();
    await cut;
    assert(serverEnd.isClosed);
    clientEnd.close();
  });

  testPublicAndNative(
    `a peer that does not take the alert does not hold us until the timeout, ${role}`,
    async () => {
      const [clientEnd, serverEnd] = memoryPair(role === "server" ? 1 : 64 * 1024);
      const refusing = refused(start(role, serverEnd, 60_000) as never, "protocol");
      for (const octet of Buffer.from("GET / HTTP/1.1\r\n\r\n")) {
        await clientEnd.write(Uint8Array.of(octet)).catch(() => {});
      }
      const started = performance.now();
      await refusing;
      assert(performance.now() - started < 30_000);
      assert(serverEnd.isClosed);
      clientEnd.close();
    },
  );

  testPublicAndNative(
    `a peer that sends for ever after a refusal is cut off, ${role}`,
    async () => {
      const [clientEnd, serverEnd] = memoryPair();
      const counting = new CountingConn(serverEnd);
      const refusing = refused(start(role, counting, 60_000) as never, "protocol");
      const flood = (async () => {
        const block = Buffer.alloc(16 * 1024, "not TLS ");
        while (!serverEnd.isClosed) {
          await clientEnd.write(block);
          await new Promise((later) => setTimeout(later, 0));
        }
      })();
      await refusing;
      await flood;
      assert(counting.bytesRead < 1024 * 1024, `${counting.bytesRead} bytes were read`);
      clientEnd.close();
    },
  );
}

/** Runs a good handshake and keeps what each side wrote. */
async function recorded(max: "TLS1.2" | "TLS1.3"): Promise<{ client: Buffer; server: Buffer }> {
  const [clientEnd, serverEnd] = memoryPair();
  const [dialled, accepted] = [
    new CountingConn(clientEnd, true),
    new CountingConn(serverEnd, true),
  ];
  const [a, b] = await Promise.all([
    client({ max }).connect(dialled, admit, limits()),
    server().accept(accepted, admit, limits()),
  ]);
  a.conn?.close();
  b.conn?.close();
  return { client: Buffer.concat(dialled.written), server: Buffer.concat(accepted.written) };
}

for (const [version] of VERSIONS) {
  testPublicAndNative(
    `a ClientHello byte by byte does not stretch the time, ${version}`,
    async () => {
      const hello = (await recorded(version)).client;
      const [clientEnd, serverEnd] = memoryPair();
      const started = performance.now();
      const refusing = refused(server().accept(serverEnd, admit, limits(200)), ["timeout"]);
      let sent = 0;
      for (; sent < 100 && !serverEnd.isClosed; sent++) {
        await clientEnd.write(hello.subarray(sent, sent + 1));
        await new Promise((later) => setTimeout(later, 10));
      }
      await refusing;
      assert(performance.now() - started < 30_000);
      assert(sent < 100);
      clientEnd.close();
    },
  );

  testPublicAndNative(`a ClientHello byte by byte in time is fine, ${version}`, async () => {
    const [clientEnd, serverEnd] = memoryPair(1);
    const [dialled, accepted] = await Promise.all([
      client({ max: version }).connect(clientEnd, admit, limits()),
      server().accept(serverEnd, admit, limits()),
    ]);
    assert(dialled.conn !== undefined && accepted.conn !== undefined);
    dialled.conn.close();
    accepted.conn.close();
  });

  testPublicAndNative(
    `a peer that stops anywhere in the handshake times out, ${version}`,
    async () => {
      const whole = await recorded(version);
      const stops = (size: number): number[] =>
        [0, 1, 4, 5, 6, 50, size >> 1, size - 1].filter((at) => at < size);
      const helloSize = 5 + whole.client.readUInt16BE(3);
      const running: Promise<void>[] = [];
      for (const at of stops(helloSize)) {
        const [clientEnd, serverEnd] = memoryPair();
        await clientEnd.write(whole.client.subarray(0, at));
        const refusing = refused(server().accept(serverEnd, admit, limits(150)), "timeout");
        running.push(refusing.then(() => clientEnd.close()));
      }
      {
        // A whole hello, then nothing: the server has answered and waits.
        const [clientEnd, serverEnd] = memoryPair();
        await clientEnd.write(whole.client.subarray(0, helloSize));
        const refusing = refused(server().accept(serverEnd, admit, limits(150)), "timeout");
        running.push(refusing.then(() => clientEnd.close()));
      }
      for (const at of stops(200)) {
        const [clientEnd, serverEnd] = memoryPair();
        await serverEnd.write(whole.server.subarray(0, at));
        // Replayed bytes do not fit this hello: what is whole may be refused at once.
        const refusing = refused(
          client({ max: version }).connect(clientEnd, admit, limits(150)),
          ["timeout", "protocol", "other", "reset"],
        );
        running.push(refusing.then(() => serverEnd.close()));
        if (at > 100) serverEnd.close();
      }
      await Promise.all(running);
    },
  );
}
