/**
 * A gRPC client with TLS and a certificate of its own, a program of its own with a config and a lock of
 * its own:
 *
 *     deno run -A --config tests/interop/grpc.json tests/interop/grpc_client.ts ADDRESS CA [CERT KEY]
 *
 * Takes one call a line, `NUMBER NAME [ARGUMENT]`, and says `NUMBER JSON` for each, in any order.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { type Call, type Client, type Grpc, loadGrpc, type ServiceError } from "./grpc_js.ts";

const out = (message: Uint8Array): Uint8Array => message;
const back = (message: Buffer): Buffer => message;

/** What a call came to. */
type Answer = Record<string, unknown>;

class Calls {
  readonly #grpc: Grpc;
  readonly #client: Client;
  #chat: Call | undefined;

  constructor(grpc: Grpc, client: Client) {
    this.#grpc = grpc;
    this.#client = client;
  }

  #unary(name: string, message: Buffer, words?: string, deadline?: number): Promise<Answer> {
    const metadata = new this.#grpc.Metadata();
    if (words !== undefined) metadata.set("x-words", words);
    const options = deadline === undefined ? {} : { deadline: Date.now() + deadline };
    return new Promise((done) => {
      const answer: Answer = {};
      const { promise: over, resolve: end } = Promise.withResolvers<void>();
      const path = `/test.Echo/${name}`;
      const result = (error: ServiceError | null, got?: Buffer) => {
        if (error !== null) done({ code: error.code, details: error.details });
        else void over.then(() => done({ ...answer, same: got?.equals(message) ?? false }));
      };
      const call = this.#client
        .makeUnaryRequest(path, out, back, message, metadata, options, result);
      call.on("metadata", (header) => answer.header = header.get("x-header").map(String));
      call.on("status", ({ metadata: trailer }) => {
        answer.trailer = trailer.get("x-trailer").map(String);
        end();
      });
    });
  }

  /** A unary call, with words in its metadata or `fail` to be refused. */
  unary(words: string): Promise<Answer> {
    return this.#unary("Unary", Buffer.from(words), words);
  }

  /** A unary call with a message of `size` bytes. */
  large(size: string): Promise<Answer> {
    return this.#unary("Unary", Buffer.alloc(Number(size), "gRPC "));
  }

  /** A call that is not answered, with a deadline in ms. */
  hang(deadline: string): Promise<Answer> {
    return this.#unary("Hang", Buffer.from("hang"), undefined, Number(deadline));
  }

  /** Unary calls at once: how many were answered. */
  async parallel(calls: string): Promise<Answer> {
    const numbers = Array.from({ length: Number(calls) }, (_, i) => i);
    const answers = await Promise.all(numbers.map((i) => this.unary(`call ${i}`)));
    return { answered: answers.filter(({ same }) => same).length };
  }

  /** `count` messages from the server: whether they are complete and in order. */
  stream(count: string): Promise<Answer> {
    return new Promise((done) => {
      const call = this.#client
        .makeServerStreamRequest("/test.Echo/Stream", out, back, Buffer.from(count));
      let [messages, ordered] = [0, true];
      call.on("data", (message) => ordered &&= String(message) === `message ${messages++}`);
      call.on("error", ({ code, details }) => done({ code, details }));
      call.on("end", () => done({ messages, ordered }));
    });
  }

  /** `count` messages of 1000 bytes to the server: its answer. */
  async collect(count: string): Promise<Answer> {
    const { promise, resolve } = Promise.withResolvers<Answer>();
    const call = this.#client
      .makeClientStreamRequest("/test.Echo/Collect", out, back, (error, message) => {
        resolve(error === null ? { said: String(message) } : { code: error.code });
      });
    for (let i = 0; i < Number(count); i++) {
      if (!call.write(Buffer.alloc(1000, i))) {
        await new Promise<void>((go) => call.once("drain", go));
      }
    }
    call.end();
    return await promise;
  }

  /** A message in a conversation that stays open, and what is said to it. */
  chat(words: string): Promise<Answer> {
    const call = this.#chat ??= this.#client.makeBidiStreamRequest("/test.Echo/Chat", out, back);
    return new Promise((done) => {
      call.once("data", (message) => done({ said: String(message) }));
      call.on("error", ({ code, details }) => done({ code, details }));
      call.write(Buffer.from(words));
    });
  }

  /** `count` questions, each asked when the one before has been answered. */
  async rounds(count: string): Promise<Answer> {
    for (let i = 0; i < Number(count); i++) {
      const { said, ...rest } = await this.chat(`round ${i}`);
      if (said !== `round ${i}`) return { round: i, said, ...rest };
    }
    return { rounds: Number(count) };
  }

  /** The end of the conversation. */
  bye(): Promise<Answer> {
    return new Promise((done) => {
      this.#chat?.on("end", () => done({ over: true }));
      this.#chat?.end();
      this.#chat = undefined;
    });
  }

  /** Whether the connection takes new calls. */
  ready(): Promise<Answer> {
    const READY = 2;
    return Promise.resolve({
      ready: this.#client.getChannel().getConnectivityState(false) === READY,
    });
  }
}

async function main([address = "", ca = "", cert, key]: readonly string[]): Promise<void> {
  const grpc = await loadGrpc();
  const read = async (path: string | undefined) =>
    path === undefined ? null : Buffer.from(await Deno.readFile(path));
  const roots = Buffer.from(await Deno.readFile(ca));
  const credentials = grpc.credentials.createSsl(roots, await read(key), await read(cert));
  const client = new grpc.Client(address, credentials, {
    "grpc.ssl_target_name_override": "localhost",
    "grpc.max_receive_message_length": 8 << 20,
  });
  const all = new Calls(grpc, client);
  const calls: Readonly<Record<string, (argument: string) => Promise<Answer>>> = {
    unary: (words) => all.unary(words),
    large: (size) => all.large(size),
    hang: (deadline) => all.hang(deadline),
    parallel: (count) => all.parallel(count),
    stream: (count) => all.stream(count),
    collect: (count) => all.collect(count),
    chat: (words) => all.chat(words),
    rounds: (count) => all.rounds(count),
    bye: () => all.bye(),
    ready: () => all.ready(),
  };
  let rest = "";
  for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const [, number = "", name = "", argument = ""] = /^(\d+) (\w+) ?(.*)$/.exec(line) ?? [];
      const answer = calls[name]?.(argument) ?? Promise.resolve({ unknown: line });
      void answer.then((answer) => {
        const words = `${number} ${JSON.stringify(answer)}\n`;
        Deno.stdout.writeSync(new TextEncoder().encode(words));
      });
    }
  }
  client.close();
}

if (import.meta.main) await main(Deno.args);
