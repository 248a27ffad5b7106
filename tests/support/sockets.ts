/**
 * Plain TCP peers with bad manners: unlike `Deno.TcpConn` these can send RST.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { once } from "node:events";
import net from "node:net";
import { until } from "./wait.ts";

/** How a connection ended, as a peer sees it. */
export type Ending = "open" | "end" | "reset";

/** One end of a TCP connection. Reads what comes, unless it is paused. */
export class Peer implements AsyncDisposable {
  /** How the other side has ended it so far. */
  ending: Ending = "open";
  /** Bytes received. */
  received = 0;
  readonly #socket: net.Socket;
  readonly #chunks: Uint8Array[] = [];
  readonly #closed: Promise<void>;

  /** Owns the socket; it should allow half-open. */
  constructor(socket: net.Socket) {
    this.#socket = socket;
    this.#closed = new Promise((done) => socket.once("close", () => done()));
    socket.on("data", (bytes: Uint8Array) => {
      this.received += bytes.length;
      this.#chunks.push(bytes);
    });
    socket.once("end", () => this.ending = "end");
    socket.on("error", () => this.ending = "reset");
  }

  /** Connects to a port of 127.0.0.1. */
  static async connect(port: number): Promise<Peer> {
    const socket = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    await once(socket, "connect");
    return new Peer(socket);
  }

  /** What was received, as text. */
  get text(): string {
    return this.bytes.toString();
  }

  /** What was received. */
  get bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  /** Sends; resolves when the kernel has taken it, or the connection is broken. */
  send(data: string | Uint8Array): Promise<void> {
    return new Promise((done) => this.#socket.write(data, () => done()));
  }

  /** FIN. */
  end(): void {
    this.#socket.end();
  }

  /** RST. */
  reset(): void {
    this.#socket.resetAndDestroy();
  }

  /** FIN both ways: what comes afterwards is answered with RST. */
  destroy(): void {
    this.#socket.destroy();
  }

  /** Waits until this was received. */
  async receives(text: string): Promise<void> {
    await until(() => this.text.includes(text), {
      what: () => `"${text}", have "${this.text}" (${this.ending})`,
      failed: () => this.ending !== "open" && !this.text.includes(text),
    });
  }

  /** Waits for the other side's end, of any kind. */
  async ended(within = 20_000): Promise<Exclude<Ending, "open">> {
    return await until(() => this.ending === "open" ? undefined : this.ending, {
      what: () => `the end of a connection that has received ${this.received} bytes`,
      within,
    });
  }

  /** Drops the connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy();
    await this.#closed;
  }
}

/** A TCP server on a free port of 127.0.0.1 whose connections the test plays by hand. */
export class PeerServer implements AsyncDisposable {
  /** Connections in the order in which they came. */
  readonly peers: Peer[] = [];
  readonly #server: net.Server;

  private constructor(server: net.Server) {
    this.#server = server;
  }

  /** Listens; `onPeer` sees each connection at once. */
  static async listen(onPeer: (peer: Peer) => void = () => {}, port = 0): Promise<PeerServer> {
    const server = net.createServer({ allowHalfOpen: true, noDelay: true });
    const self = new PeerServer(server);
    server.on("connection", (socket) => {
      const peer = new Peer(socket);
      self.peers.push(peer);
      onPeer(peer);
    });
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    return self;
  }

  /** The port it was given. */
  get port(): number {
    const address = this.#server.address();
    if (typeof address !== "object" || address === null) throw new Error("not listening");
    return address.port;
  }

  /** `127.0.0.1:port`. */
  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** The connection with this number, from 0 on; waits for it. */
  async peer(index: number): Promise<Peer> {
    return await until(() => this.peers[index], {
      what: () => `connection ${index} to the target`,
    });
  }

  /** Cuts everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    for (const peer of this.peers) await peer[Symbol.asyncDispose]();
    await closed;
  }
}
