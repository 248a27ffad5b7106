/**
 * WebSocket through client and server mode: Deno's own client and server, and one client by hand for
 * what a client cannot be made to send.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { TestBed } from "../support/testbed.ts";
import { Peer } from "../support/sockets.ts";
import { until } from "../support/wait.ts";
import { closedSeries } from "../support/metrics.ts";

/** Sends every message back; closes as a message of the form `close CODE REASON` asks it to. */
function echoServer(): { readonly address: string } & AsyncDisposable {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request, { idleTimeout: 0 });
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => {
      const [, code, reason] = /^close (\d+) (.*)$/.exec(String(data)) ?? [];
      if (code === undefined) socket.send(data);
      else socket.close(Number(code), reason);
    };
    // A client that is gone is what some of the tests are about.
    socket.onerror = (event) => event.preventDefault();
    return response;
  });
  return {
    address: `127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** A client with the messages that it has received. */
class Client implements AsyncDisposable {
  readonly received: (string | ArrayBuffer)[] = [];
  readonly closed: Promise<CloseEvent>;
  readonly #socket: WebSocket;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => this.received.push(data);
    socket.onerror = (event) => event.preventDefault();
    this.closed = new Promise((done) => socket.onclose = done);
  }

  static async open(address: string): Promise<Client> {
    const socket = new WebSocket(`ws://${address}/`);
    const client = new Client(socket);
    await until(() => socket.readyState === WebSocket.OPEN, {
      what: () => "a WebSocket to open",
      failed: () => socket.readyState === WebSocket.CLOSED,
    });
    return client;
  }

  /** Sends and gives what comes back. */
  async echo(message: string | Uint8Array<ArrayBuffer>): Promise<string | ArrayBuffer> {
    const index = this.received.length;
    this.#socket.send(message);
    return await until(() => this.received[index], {
      failed: () => this.#socket.readyState === WebSocket.CLOSED,
    });
  }

  send(message: string): void {
    this.#socket.send(message);
  }

  async close(code?: number, reason?: string): Promise<CloseEvent> {
    this.#socket.close(code, reason);
    return await this.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** A frame as a client sends it: masked, final (RFC 6455 section 5.2). */
function frame(opcode: number, payload: string): Uint8Array {
  const mask = [0x12, 0x34, 0x56, 0x78];
  const masked = [...Buffer.from(payload)].map((byte, i) => byte ^ (mask[i % 4] ?? 0));
  return Uint8Array.of(0x80 | opcode, 0x80 | payload.length, ...mask, ...masked);
}

const hash = (bytes: ArrayBuffer | Uint8Array): string =>
  createHash("sha256").update(new Uint8Array(bytes)).digest("hex");

Deno.test("WebSocket through the tunnel", async (t) => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoServer());
  const { client: mtlsd } = await testBed.tunnel(backend.address);

  await t.step("text and binary messages, empty ones too, in order", async () => {
    await using client = await Client.open(mtlsd.listen);
    for (const message of ["hello", "", "grüße, 世界"]) {
      assert.equal(await client.echo(message), message);
    }
    const bytes = Uint8Array.of(0, 255, 13, 10);
    assert.deepEqual(await client.echo(bytes), bytes.buffer);
  });

  await t.step("messages of 1 MB, several under way at once", async () => {
    await using client = await Client.open(mtlsd.listen);
    const sent = Array.from({ length: 4 }, (_, i) => new Uint8Array(1_000_000).fill(i + 1));
    await Promise.all(sent.map((bytes) => client.echo(bytes)));
    await until(() => client.received.length === sent.length);
    const returned = client.received.map((data) => typeof data === "string" ? data : hash(data));
    assert.deepEqual(returned, sent.map(hash));
    const text = "x".repeat(1_000_000);
    assert.equal(await client.echo(text), text);
  });

  await t.step("a ping is answered with its own words", async () => {
    await using peer = await Peer.connect(mtlsd.port);
    const head = ["GET / HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade"];
    const key = `Sec-WebSocket-Key: ${Buffer.alloc(16).toString("base64")}`;
    await peer.send([...head, key, "Sec-WebSocket-Version: 13", "", ""].join("\r\n"));
    await peer.receives("\r\n\r\n");
    assert.match(peer.text, /^HTTP\/1\.1 101 /);
    const start = peer.received;
    await peer.send(frame(0x9, "still there?"));
    await until(() => peer.received >= start + 14, { failed: () => peer.ending !== "open" });
    const pong = peer.bytes.subarray(start);
    assert.deepEqual([pong[0], pong[1], pong.toString("utf8", 2)], [0x8a, 12, "still there?"]);
  });

  await t.step("close codes and reasons pass in both directions", async () => {
    const leaving = await Client.open(mtlsd.listen);
    const { code, wasClean } = await leaving.close(4001, "done here");
    assert.deepEqual({ code, wasClean }, { code: 4001, wasClean: true });
    const told = await Client.open(mtlsd.listen);
    told.send("close 4002 go elsewhere");
    const event = await told.closed;
    assert.deepEqual([event.code, event.reason, event.wasClean], [4002, "go elsewhere", true]);
  });
});

Deno.test("WebSocket through the tunnel: one that idles is closed, one that talks is not", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoServer());
  const proxy = { idle_timeout: "3s" };
  const { server, client: mtlsd } = await testBed.tunnel(backend.address, { server: { proxy } });
  const idle = await Client.open(mtlsd.listen);
  await using busy = await Client.open(mtlsd.listen);
  let over: CloseEvent | undefined;
  idle.closed.then((event) => over = event);
  let rounds = 0;
  while (over === undefined) {
    assert.equal(await busy.echo(`round ${rounds}`), `round ${rounds}`);
    rounds++;
    await new Promise((done) => setTimeout(done, 20));
  }
  // Without a close frame: only the two ends may make one. For the code browsers say 1006, Deno 0.
  assert.deepEqual([over.wasClean, over.reason], [false, ""]);
  await server.waitForMetric(closedSeries("idle_timeout"), 1);
  assert.equal(await busy.echo("still here"), "still here");
});
