/**
 * Plain TCP peers with bad manners: unlike `Deno.TcpConn` these can send RST.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { once } from "node:events";
import net from "node:net";
import tls from "node:tls";
import { until } from "./wait.ts";

/** How a connection ended, as a peer sees it. */
export type Ending = "open" | "end" | "reset";

/** One end of a TCP connection. Reads what comes, unless it is paused. */
export class Peer implements AsyncDisposable {
  /** How the other side has ended it so far. */
  ending: Ending = "open";
  /** Bytes received. */
  received = 0;
  /** Called with what comes, besides keeping it. */
  onBytes: (bytes: Uint8Array) => void = () => {};
  /** Called when the other side ends it; a reset may follow an end. */
  onEnding: (ending: Exclude<Ending, "open">) => void = () => {};
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
      this.onBytes(bytes);
    });
    socket.once("end", () => this.#ended("end"));
    socket.on("error", () => this.#ended("reset"));
  }

  #ended(ending: Exclude<Ending, "open">): void {
    this.ending = ending;
    this.onEnding(ending);
  }

  /** Connects to a port of 127.0.0.1; `from` is the own address, any of 127.0.0.0/8. */
  static async connect(port: number, from?: string): Promise<Peer> {
    const socket = net.connect({
      port,
      host: "127.0.0.1",
      allowHalfOpen: true,
      noDelay: true,
      ...(from === undefined ? {} : { localAddress: from }),
    });
    await once(socket, "connect");
    return new Peer(socket);
  }

  /** Its own port; 0 once it is closed. */
  get localPort(): number {
    return this.#socket.localPort ?? 0;
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

  /** Stops reading, for good: what is sent from now on stays in the kernel. */
  stall(): void {
    this.#socket.pause();
  }

  /** FIN both ways: what comes afterwards is answered with RST, and so is what lies there unread. */
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

/** A connection through a {@linkcode Relay}. */
export type Link = {
  /** Towards whoever connected. */
  readonly downstream: Peer;
  /** Towards the port behind. */
  readonly upstream: Peer;
};

/** Settings of a {@linkcode Relay}. */
export type RelayOptions = {
  /** Where it listens; default: a free port. */
  readonly port?: number;
  /** How bytes are passed on, in order, an end after all before it; default: at once, as they came. */
  readonly send?: (bytes: Uint8Array, to: Peer) => Promise<void>;
};

/** Sits between two peers, passes bytes on, and does to their connection what they would not. */
export class Relay implements AsyncDisposable {
  /** Connections in the order in which they came. */
  readonly links: Link[] = [];
  readonly #server: PeerServer;
  readonly #send: (bytes: Uint8Array, to: Peer) => Promise<void>;

  private constructor(server: PeerServer, options: RelayOptions) {
    this.#server = server;
    this.#send = options.send ?? ((bytes, to) => to.send(bytes));
  }

  /** Relays to a port of 127.0.0.1. */
  static async to(port: number, options: RelayOptions = {}): Promise<Relay> {
    const join = (downstream: Peer) => void self.#join(downstream, port);
    const self: Relay = new Relay(await PeerServer.listen(join, options.port), options);
    return self;
  }

  async #join(downstream: Peer, port: number): Promise<void> {
    const early: Uint8Array[] = [];
    downstream.onBytes = (bytes) => void early.push(bytes);
    const upstream = await Peer.connect(port);
    this.#forward(upstream, downstream);
    this.#forward(downstream, upstream, early);
    this.links.push({ downstream, upstream });
  }

  #forward(from: Peer, to: Peer, early: readonly Uint8Array[] = []): void {
    let under = 0;
    const end = () => {
      if (from.ending === "reset") to.reset();
      else if (from.ending === "end" && under === 0) to.end();
    };
    from.onBytes = (bytes) => {
      under++;
      void this.#send(bytes, to).finally(() => {
        under--;
        end();
      });
    };
    from.onEnding = end;
    for (const bytes of early) from.onBytes(bytes);
    end();
  }

  /** The port to connect to. */
  get port(): number {
    return this.#server.port;
  }

  /** `127.0.0.1:port`. */
  get address(): string {
    return this.#server.address;
  }

  /** The connection with this number, from 0 on; waits for it. */
  async link(index: number): Promise<Link> {
    return await until(() => this.links[index], { what: () => `connection ${index} to the relay` });
  }

  /** Cuts everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const { upstream } of this.links) await upstream[Symbol.asyncDispose]();
    await this.#server[Symbol.asyncDispose]();
  }
}

/** The first flight of an honest client, one record: a ClientHello. */
export async function clientHello(): Promise<Uint8Array> {
  await using server = await PeerServer.listen();
  const socket = net.connect({ port: server.port, host: "127.0.0.1" });
  const engine = tls.connect({ socket, servername: "localhost", rejectUnauthorized: false });
  engine.on("error", () => {});
  const peer = await server.peer(0);
  await until(() => peer.received > 5 && peer.received >= 5 + peer.bytes.readUInt16BE(3));
  const closed = once(socket, "close");
  engine.destroy();
  socket.destroy();
  await closed;
  return new Uint8Array(peer.bytes);
}
