/**
 * Peers that are not ours: openssl and curl as child processes, and plain `node:tls` for the controls
 * that show what the engine does when nobody watches it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import { join } from "node:path";
import tls from "node:tls";
import type { Channel } from "../../src/channel.ts";
import type { Decide, Handshaken } from "../../src/tls/handshake.ts";
import type { TlsServer } from "../../src/tls/server.ts";
import type { VerifiedPeer } from "../../src/tls/verdict.ts";
import { listenTcp } from "../../src/net.ts";
import { chainPem, type Issued, pathOf } from "../support/pki.ts";
import { admit, limits, text } from "./support.ts";

/** A directory with files that is gone at the end of the scope. */
export async function filesIn(
  files: Readonly<Record<string, string | Uint8Array>>,
): Promise<{ path: (name: string) => string } & AsyncDisposable> {
  const dir = await Deno.makeTempDir();
  for (const [name, content] of Object.entries(files)) {
    await Deno.writeFile(join(dir, name), typeof content === "string" ? text(content) : content);
  }
  return {
    path: (name) => join(dir, name),
    [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }),
  };
}

/** The files of one end, for openssl and curl. */
export function peerFiles(own: Issued, bundle: readonly Issued[]): Record<string, string> {
  return {
    "cert.pem": chainPem(...pathOf(own)),
    "key.pem": own.keyPem,
    "ca.pem": chainPem(...bundle),
  };
}

/** A child process that is gone at the end of the scope. */
export class Process implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reading: Promise<unknown>;
  #inputOpen = true;
  #ended = false;
  #waiting: (() => void)[] = [];
  /** Everything it has said so far on both streams. */
  said = "";

  constructor(
    command: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ) {
    this.#child = new Deno.Command(command, {
      args: [...args],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      env,
    }).spawn();
    this.#input = this.#child.stdin.getWriter();
    const { stdout, stderr } = this.#child;
    this.#reading = Promise.all([this.#collect(stdout), this.#collect(stderr)]).then(() => {
      this.#ended = true;
      this.#changed();
    });
  }

  #changed(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  async #collect(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const bytes of stream) {
      this.said += decoder.decode(bytes, { stream: true });
      this.#changed();
    }
  }

  /** Waits until it has said this; a process that ends before is an error. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.said);
      if (match !== null) return match;
      assert(!this.#ended, `ended without saying ${pattern}: ${this.said}`);
      await new Promise<void>((wake) => this.#waiting.push(wake));
    }
  }

  /** Writes to its standard input. */
  async type(words: string): Promise<void> {
    await this.#input.write(text(words));
  }

  /** Ends its standard input. */
  async endInput(): Promise<void> {
    if (!this.#inputOpen) return;
    this.#inputOpen = false;
    await this.#input.close().catch(() => {});
  }

  /** Waits for its end; gives the exit status. */
  async ends(): Promise<number> {
    await this.#reading;
    return (await this.#child.status).code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // It has ended already.
    }
    await this.endInput();
    await this.ends();
  }
}

/** `openssl s_client` that says what it receives and stays until the server ends. */
export function sClient(port: number, ...more: readonly string[]): Process {
  return new Process("openssl", ["s_client", "-connect", `127.0.0.1:${port}`, "-quiet", ...more]);
}

/** `openssl s_server` on a free port; `-rev` answers each line reversed. */
export async function sServer(
  ...more: readonly string[]
): Promise<{ readonly process: Process; readonly port: number } & AsyncDisposable> {
  const process = new Process("openssl", ["s_server", "-accept", "127.0.0.1:0", ...more]);
  const [, port] = await process.says(/ACCEPT 127\.0\.0\.1:(\d+)/);
  return {
    process,
    port: Number(port),
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  };
}

/** What came of one connection to {@linkcode listen}. */
export type Accepted = Handshaken<VerifiedPeer | undefined> | Error;

/** Listens on TCP and makes TLS of what comes. */
export type Listening = {
  readonly port: number;
  /** What came of the connections, in the order in which their handshakes ended. */
  readonly results: Accepted[];
  /** Waits for the next result that nobody has waited for yet. */
  next(): Promise<Accepted>;
} & AsyncDisposable;

/** Greets, and then answers with what it receives until the peer has ended its half. */
export async function greetAndEcho(channel: Channel): Promise<void> {
  await channel.write(text("welcome\n"));
  for (let bytes = await channel.read(); bytes !== null; bytes = await channel.read()) {
    await channel.write(bytes);
  }
  await channel.closeWrite();
}

/** Greets and ends. */
export async function greet(channel: Channel): Promise<void> {
  await channel.write(text("welcome\n"));
  await channel.closeWrite();
}

/** Serves `server()`, asked anew for each connection, on a free port. */
export function listen(
  server: () => TlsServer,
  serve: (channel: Channel) => Promise<void> = greet,
  decide: Decide<VerifiedPeer | undefined> = admit,
): Listening {
  const listener = listenTcp({ host: "127.0.0.1", port: 0 });
  const results: Accepted[] = [];
  const stop = new AbortController();
  const open = new Set<Promise<void>>();
  let seen = 0;
  let wake = (): void => {};
  const one = async (transport: Channel): Promise<void> => {
    let result: Accepted;
    try {
      result = await server().accept(transport, decide, limits(5_000, stop.signal));
    } catch (error) {
      result = error instanceof Error ? error : new Error(String(error));
    }
    results.push(result);
    wake();
    if (result instanceof Error || result.channel === undefined) return;
    const { channel } = result;
    const cut = (): void => channel.close();
    stop.signal.addEventListener("abort", cut);
    try {
      await serve(channel);
    } catch {
      // The peer has left: the test looks at what the peer saw.
    } finally {
      stop.signal.removeEventListener("abort", cut);
      channel.close();
    }
  };
  const accepting = (async () => {
    while (!stop.signal.aborted) {
      try {
        const transport = await listener.accept();
        const done = one(transport).finally(() => open.delete(done));
        open.add(done);
      } catch (error) {
        if (!stop.signal.aborted) throw error;
      }
    }
  })();
  return {
    port: listener.port,
    results,
    async next() {
      while (results.length <= seen) await new Promise<void>((done) => wake = done);
      const result = results[seen++];
      assert(result !== undefined);
      return result;
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      listener.close();
      await accepting;
      await Promise.all(open);
    },
  };
}

/** A plain `node:tls` server on a free port. */
export async function plainServer(
  options: tls.TlsOptions,
  onSecure: (socket: tls.TLSSocket) => void,
): Promise<
  { readonly port: number; readonly server: tls.Server; readonly errors: Error[] } & AsyncDisposable
> {
  const sockets = new Set<tls.TLSSocket>();
  const errors: Error[] = [];
  const server = tls.createServer(options, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    onSecure(socket);
  });
  server.on("tlsClientError", (error, socket) => {
    errors.push(error);
    sockets.add(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert(typeof address === "object" && address !== null);
  return {
    port: address.port,
    server,
    errors,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      const closed = once(server, "close");
      server.close();
      await closed;
    },
  };
}

/** What plain `node:tls` as a client makes of a server: the code of its refusal, or "let in". */
export async function plainClient(options: tls.ConnectionOptions): Promise<string> {
  const socket = tls.connect({ host: "127.0.0.1", servername: "localhost", ...options });
  const verdict = new Promise<string>((done) => {
    socket.once("secureConnect", () => done("let in"));
    socket.once("error", (error) => done(String(Reflect.get(error, "code") ?? error.message)));
    socket.once("close", () => done("closed"));
  });
  const result = await verdict;
  socket.destroy();
  if (!socket.closed) await once(socket, "close");
  return result;
}

/** Whether plain `node:tls` as a server lets this client in. */
export async function plainAdmits(
  own: { readonly cert: string; readonly key: string },
  bundle: readonly Issued[],
  server: tls.TlsOptions,
): Promise<boolean> {
  let secure = false;
  await using plain = await plainServer(
    { ...server, ca: chainPem(...bundle), requestCert: true, rejectUnauthorized: true },
    (socket) => {
      secure = true;
      socket.end("let in");
    },
  );
  const socket = tls.connect({
    ...own,
    host: "127.0.0.1",
    port: plain.port,
    rejectUnauthorized: false,
  });
  socket.resume();
  // An own key that the engine cannot use is an error without a close.
  await new Promise<void>((done) => {
    socket.once("close", () => done());
    socket.on("error", () => done());
  });
  socket.destroy();
  return secure;
}
