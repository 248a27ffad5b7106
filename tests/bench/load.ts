/**
 * The load generator, a process of its own: takes a {@linkcode Command} a line on standard input and
 * answers each with a {@linkcode Reply}. Its arguments are the files of the CA, the client's
 * certificate and its key.
 *
 * Handshakes are made by `node:tls`, which sends without delay and resumes nothing; the talking is
 * done on `Deno.connectTls`, which costs the generator less.
 *
 * @module
 */

import net from "node:net";
import tls from "node:tls";
import { TextLineStream } from "./lines.ts";
import { type Command, now, type Reply, REQUEST_BYTES, type Target } from "./load_protocol.ts";
import { percentile } from "./stats.ts";

/** What the generator shows and trusts, PEM. */
type Identity = { readonly ca: string; readonly cert: string; readonly key: string };

type Values = Readonly<Record<string, number>>;

const CHUNK = 256 * 1024;
/** Handshakes at once while connections are opened that stay open. */
const OPENING = 16;

/** Runs `work` `count` times, at most `concurrency` at once. */
async function repeat(
  count: number,
  concurrency: number,
  work: () => Promise<void>,
): Promise<void> {
  let left = count;
  await Promise.all(Array.from({ length: Math.min(count, concurrency) }, async () => {
    while (left-- > 0) await work();
  }));
}

class Generator {
  readonly #identity: Identity;
  readonly #context: tls.SecureContext;
  readonly #held: net.Socket[] = [];
  readonly #joined: Deno.Conn[] = [];

  constructor(identity: Identity) {
    this.#identity = identity;
    this.#context = tls.createSecureContext({ ...identity, minVersion: "TLSv1.3" });
  }

  async run(command: Command): Promise<Values> {
    switch (command.op) {
      case "handshakes":
        await repeat(command.count, command.concurrency, () => this.#handshake(command.target));
        return {};
      case "hold":
        await repeat(command.count - this.#held.length, OPENING, async () => {
          this.#held.push(await this.#open(command.target));
        });
        return {};
      case "release":
        await Promise.all(this.#held.splice(0).map(ended));
        return {};
      case "join":
        for (let n = 0; n < command.connections; n++) {
          const conn = await this.#connect(command.target);
          this.#joined.push(conn);
          await roundTrip(conn, new Uint8Array(1), new Uint8Array(1));
        }
        return {};
      case "talk":
        await this.#talk(command.rounds, command.size);
        return {};
      case "pace":
        return await this.#pace(command.rate, command.count, command.size);
      case "leave":
        for (const conn of this.#joined.splice(0)) conn.close();
        return {};
      case "send":
      case "receive": {
        const share = Math.ceil(command.bytes / command.streams);
        const move = command.op === "send" ? send : receive;
        await Promise.all(
          Array.from({ length: command.streams }, async () => {
            using conn = await this.#connect(command.target);
            await move(conn, share);
          }),
        );
        return { bytes: share * command.streams };
      }
      case "first":
        return { at: await this.#first(command.target, command.within) };
      default:
        return command satisfies never;
    }
  }

  #connect({ port, tls }: Target): Promise<Deno.Conn> {
    const { ca, cert, key } = this.#identity;
    return tls
      ? Deno.connectTls({ hostname: "127.0.0.1", port, caCerts: [ca], cert, key })
      : connectPlain(port);
  }

  /** Resolves with one byte echoed. */
  #open(target: Target): Promise<net.Socket> {
    return new Promise((resolve, reject) => {
      const { port } = target;
      const socket = target.tls
        ? tls.connect({
          host: "127.0.0.1",
          port,
          servername: "localhost",
          secureContext: this.#context,
        }, hello)
        : net.connect({ host: "127.0.0.1", port }, hello);
      function hello() {
        socket.write("x");
      }
      socket.setNoDelay(true);
      socket.once("error", reject);
      socket.once("close", () => reject(new Error("the connection was closed before the echo")));
      socket.once("data", () => resolve(socket));
    });
  }

  async #handshake(target: Target): Promise<void> {
    await ended(await this.#open(target));
  }

  async #talk(rounds: number, size: number): Promise<void> {
    const each = Math.ceil(rounds / this.#joined.length);
    await Promise.all(this.#joined.map(async (conn) => {
      const message = new Uint8Array(size);
      const buffer = new Uint8Array(size);
      for (let n = 0; n < each; n++) await roundTrip(conn, message, buffer);
    }));
  }

  async #pace(rate: number, count: number, size: number): Promise<Values> {
    const [conn] = this.#joined;
    if (conn === undefined) throw new Error("Cannot talk: nothing was joined");
    const message = new Uint8Array(size);
    const buffer = new Uint8Array(size);
    const samples: number[] = [];
    const start = performance.now();
    for (let n = 0; n < count; n++) {
      const due = start + n * 1000 / rate - performance.now();
      if (due > 0) await new Promise((done) => setTimeout(done, due));
      const sent = performance.now();
      await roundTrip(conn, message, buffer);
      samples.push((performance.now() - sent) / 1000);
    }
    return { p50: percentile(samples, 50), p99: percentile(samples, 99) };
  }

  async #first(target: Target, within: number): Promise<number> {
    const deadline = now() + within;
    for (;;) {
      try {
        const socket = await this.#open(target);
        const at = now();
        await ended(socket);
        return at;
      } catch (error) {
        if (now() > deadline) throw error;
        await new Promise((done) => setTimeout(done, 1));
      }
    }
  }
}

async function connectPlain(port: number): Promise<Deno.Conn> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  conn.setNoDelay(true);
  return conn;
}

/** Ends a connection in good order and waits until it is gone. */
function ended(socket: net.Socket): Promise<void> {
  return new Promise((done) => {
    socket.once("close", () => done());
    socket.on("error", () => {}); // A reset at the end is no failure: the work is done.
    socket.end();
  });
}

async function writeAll(conn: Deno.Conn, data: Uint8Array): Promise<void> {
  for (let rest = data; rest.length > 0;) rest = rest.subarray(await conn.write(rest));
}

async function roundTrip(conn: Deno.Conn, message: Uint8Array, buffer: Uint8Array): Promise<void> {
  await writeAll(conn, message);
  for (let have = 0; have < message.length;) {
    const n = await conn.read(buffer);
    if (n === null) throw new Error("the connection ended in the middle of a round trip");
    have += n;
  }
}

/** Both begin by telling the other side how many bytes there will be. */
async function announce(conn: Deno.Conn, bytes: number): Promise<void> {
  const request = new Uint8Array(REQUEST_BYTES);
  new DataView(request.buffer).setBigUint64(0, BigInt(bytes));
  await writeAll(conn, request);
}

async function send(conn: Deno.Conn, bytes: number): Promise<void> {
  await announce(conn, bytes);
  const chunk = new Uint8Array(CHUNK);
  for (let left = bytes; left > 0; left -= CHUNK) {
    await writeAll(conn, chunk.subarray(0, Math.min(CHUNK, left)));
  }
  if (await conn.read(chunk) !== 1) throw new Error("the sink did not get everything");
}

async function receive(conn: Deno.Conn, bytes: number): Promise<void> {
  await announce(conn, bytes);
  const buffer = new Uint8Array(CHUNK);
  for (let left = bytes; left > 0;) {
    const n = await conn.read(buffer);
    if (n === null) throw new Error(`the source ended ${left} bytes early`);
    left -= n;
  }
}

async function answer(generator: Generator, line: string): Promise<Reply> {
  try {
    return { ok: true, values: await generator.run(JSON.parse(line)) };
  } catch (error) {
    return { ok: false, error: error instanceof Error ? error.message : String(error) };
  }
}

if (import.meta.main) {
  const [ca = "", cert = "", key = ""] = await Promise.all(
    Deno.args.map((path) => Deno.readTextFile(path)),
  );
  const generator = new Generator({ ca, cert, key });
  const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream())
    .pipeThrough(new TextLineStream());
  for await (const line of lines) {
    const reply = JSON.stringify(await answer(generator, line));
    await Deno.stdout.write(new TextEncoder().encode(`${reply}\n`));
  }
  Deno.exit(0); // Whatever is still held.
}
