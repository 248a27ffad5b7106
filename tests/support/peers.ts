/**
 * The two ends of a tunnel for the scenario tests: backends that listen and clients that connect.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import tls from "node:tls";
import type { Issued } from "./pki.ts";

/** A plain TCP server on a free port of 127.0.0.1. */
export class Backend implements AsyncDisposable {
  /** Connections accepted so far. */
  connections = 0;
  /** Bytes received so far, over all connections. */
  received = 0;
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #open = new Set<Deno.TcpConn>();
  readonly #loop: Promise<void>;
  readonly #connections = new Set<Promise<void>>();

  /** Calls `serve` for each connection and closes it afterwards. */
  constructor(serve: (conn: Deno.TcpConn, backend: Backend) => Promise<void>) {
    this.#loop = this.#run(serve);
  }

  async #run(serve: (conn: Deno.TcpConn, backend: Backend) => Promise<void>): Promise<void> {
    for await (const conn of connectionsOf(this.#listener)) {
      this.connections++;
      this.#open.add(conn);
      const connection = serve(conn, this).catch(() => {}).finally(() => {
        this.#open.delete(conn);
        this.#connections.delete(connection);
        closeQuietly(conn);
      });
      this.#connections.add(connection);
    }
  }

  /** `127.0.0.1:port`. */
  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** The port it was given. */
  get port(): number {
    return this.#listener.addr.port;
  }

  /** Cuts everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const conn of this.#open) closeQuietly(conn);
    await this.#loop.catch(() => {});
    await Promise.all(this.#connections);
  }
}

/** What a listener accepts until it is closed; what was reset in its queue is passed over. */
export async function* connectionsOf(listener: Deno.TcpListener): AsyncGenerator<Deno.TcpConn> {
  for (;;) {
    try {
      yield await listener.accept();
    } catch (error) {
      if (error instanceof Deno.errors.NotConnected) continue;
      if (error instanceof Deno.errors.BadResource) return;
      if (error instanceof Deno.errors.Interrupted) return;
      throw error;
    }
  }
}

/** Closes what may be closed already. */
export function closeQuietly(closer: { close(): void }): void {
  try {
    closer.close();
  } catch {
    // It was.
  }
}

/** Writes all of `data`. */
export async function writeAll(conn: Deno.Conn, data: Uint8Array): Promise<void> {
  for (let rest = data; rest.length > 0;) rest = rest.subarray(await conn.write(rest));
}

/** Everything up to the end of the stream. */
export async function readAll(conn: Deno.Conn): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  const buffer = new Uint8Array(65_536);
  for (let n = await conn.read(buffer); n !== null; n = await conn.read(buffer)) {
    chunks.push(buffer.slice(0, n));
  }
  return new Uint8Array(Buffer.concat(chunks));
}

/** Sends everything back as it comes, then ends. */
export function echoBackend(): Backend {
  return new Backend(async (conn, backend) => {
    const buffer = new Uint8Array(65_536);
    for (let n = await conn.read(buffer); n !== null; n = await conn.read(buffer)) {
      backend.received += n;
      await writeAll(conn, buffer.subarray(0, n));
    }
    await conn.closeWrite();
  });
}

/** Reads the line before it answers, once: `echo: ` and the line. */
export function lineBackend(): Backend {
  return new Backend(async (conn, backend) => {
    const text = new TextDecoder().decode(await readAll(conn));
    backend.received += text.length;
    await writeAll(conn, new TextEncoder().encode(`echo: ${text}`));
  });
}

/** What a TLS client is made of. */
export type ClientOptions = {
  /** Default `127.0.0.1`. */
  readonly host?: string;
  readonly port: number;
  /** Trust, PEM. */
  readonly ca: string;
  readonly identity?: Issued;
  /** In place of the identity's own certificate. */
  readonly cert?: string;
  readonly minVersion?: tls.SecureVersion;
  readonly maxVersion?: tls.SecureVersion;
};

/** A mutually authenticated connection by `node:tls`, after its handshake. */
export function connectTls(options: ClientOptions): Promise<tls.TLSSocket> {
  const { host = "127.0.0.1", port, ca, identity, cert = identity?.pem } = options;
  const { minVersion, maxVersion } = options;
  return new Promise((resolve, reject) => {
    const socket = tls.connect({
      host,
      port,
      servername: "localhost",
      ca,
      allowHalfOpen: true,
      ...(cert === undefined ? {} : { cert }),
      ...(identity === undefined ? {} : { key: identity.keyPem }),
      ...(minVersion === undefined ? {} : { minVersion }),
      ...(maxVersion === undefined ? {} : { maxVersion }),
    } as tls.ConnectionOptions);
    socket.once("secureConnect", () => resolve(socket));
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("closed during the handshake")));
  });
}

/** Sends a message, ends, and gives the whole answer. */
export async function ask(options: ClientOptions, message: string): Promise<string> {
  const socket = await connectTls(options);
  const closed = new Promise<void>((done) => socket.once("close", () => done()));
  try {
    return await new Promise<string>((resolve, reject) => {
      const chunks: Uint8Array[] = [];
      socket.on("data", (chunk: Uint8Array) => chunks.push(chunk));
      socket.once("end", () => resolve(Buffer.concat(chunks).toString()));
      socket.once("error", reject);
      socket.once("close", () => reject(new Error("closed before the end")));
      socket.end(message);
    });
  } finally {
    socket.destroy();
    await closed;
  }
}

/** Runs a shell script to its end, with a limit of `seconds`. */
export async function sh(
  script: string,
  { cwd, seconds = 20 }: { readonly cwd?: string; readonly seconds?: number } = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command("timeout", {
    args: [String(seconds), "bash", "-c", script],
    ...(cwd === undefined ? {} : { cwd }),
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

/** Test files that run side by side share a process, but not their modules: chance keeps them apart. */
const [a = 0, b = 0, c = 0] = crypto.getRandomValues(new Uint8Array(3));

const OWN_HOST = `127.${1 + a % 250}.${b}.${1 + c % 250}`;

let addresses = 0;

/**
 * A loopback address with a port that no other test uses: for what must be known before it is bound,
 * or bound twice. Linux answers on all of 127.0.0.0/8.
 */
export function ownAddress(): string {
  return `${OWN_HOST}:${24_000 + ++addresses}`;
}

/** Host and port of an address. */
export function split(address: string): { readonly hostname: string; readonly port: number } {
  const colon = address.lastIndexOf(":");
  return { hostname: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
}

/** Whether a connection to the address is refused, which is to say that nobody listens. */
export async function refuses(address: string): Promise<boolean> {
  try {
    using _conn = await Deno.connect(split(address));
    return false;
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused) return true;
    // The listener was there when the connection began, and was closed before it was made.
    if (error instanceof Deno.errors.ConnectionReset) return false;
    throw error;
  }
}

/** What `curl` says of a URL; `--silent --show-error` and a limit of 10 s besides the arguments. */
export function curl(
  args: string,
  cwd: string,
): Promise<{ code: number; stdout: string; stderr: string }> {
  return sh(`curl --silent --show-error --max-time 10 ${args}`, { cwd });
}

/** What {@linkcode ask} gets for an answer; empty where the connection is refused, in whatever way. */
export async function attempt(options: ClientOptions, message = "hello"): Promise<string> {
  try {
    return await ask(options, message);
  } catch {
    return "";
  }
}
