/**
 * A chapter, done as it says: its configs are started and its commands are run as they
 * stand there, but for addresses and directories, which are the test's own.
 *
 * @module
 */

import { basename, join } from "node:path";
import { parse } from "yaml";
import { startDaemon, type TestDaemon } from "./daemon.ts";
import { ask, type ClientOptions, sh } from "./peers.ts";
import { chainPem, dns, ip, type Issued, type LeafOptions, makeCa } from "./pki.ts";
import { makeLeaf, pathOf } from "./pki.ts";
import { config, shell } from "./readme.ts";
import { type Clone, loopback, type Said } from "./walkthrough.ts";

/** Texts of the chapter and what stands for them in the test; the longest that fits counts. */
export type Changes = Readonly<Record<string, string>>;

/** How a daemon is started besides what the chapter says. */
export type StartOptions = {
  readonly changes?: Changes;
  /** Variables of the environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Last word on the config. */
  readonly edit?: (config: Record<string, unknown>) => Record<string, unknown>;
};

/** A directory with `certs/`, and a loopback address that is not used elsewhere. */
export class Chapter implements AsyncDisposable {
  /** Where everything is. */
  readonly dir: string;
  /** Stands for 127.0.0.1, so that ports may stay as they are. */
  readonly host: string = loopback();
  /** Signs all certificates. */
  readonly ca: Issued;
  readonly #stack = new AsyncDisposableStack();
  readonly #issued = new Map<string, Issued>();

  private constructor(dir: string, ca: Issued) {
    this.dir = dir;
    this.ca = ca;
    this.#stack.defer(() => Deno.remove(dir, { recursive: true }));
  }

  /** Makes a CA, a server `localhost` and a client `frontend-service` in `certs/`. */
  static async create(): Promise<Chapter> {
    const dir = await Deno.makeTempDir({ prefix: "mtlsd-rm-", dir: "/tmp" });
    // Other users connect to sockets in it.
    await Deno.chmod(dir, 0o755);
    const chapter = new Chapter(dir, makeCa({ subject: "example tunnel CA" }));
    await Deno.mkdir(join(dir, "certs"));
    await chapter.write("certs/ca.pem", chapter.ca.pem);
    const san = [dns("localhost"), dns("db.example.com"), ip("127.0.0.1"), ip(chapter.host)];
    await chapter.issue("server", { role: "server", subject: "localhost", san });
    await chapter.issue("client", {
      role: "client",
      subject: { O: "acme", CN: "frontend-service" },
    });
    return chapter;
  }

  /** Disposes of it at the end, before what was there earlier. */
  use<T extends AsyncDisposable | Disposable>(resource: T): T {
    return this.#stack.use(resource);
  }

  /** Writes a file below the directory; its path. */
  async write(name: string, text: string): Promise<string> {
    const path = join(this.dir, name);
    await Deno.mkdir(join(path, ".."), { recursive: true });
    await Deno.writeTextFile(path, text, { mode: 0o600 });
    return path;
  }

  /** Issues a certificate to `certs/NAME.pem` and `certs/NAME-key.pem`. */
  async issue(name: string, options: LeafOptions, ca: Issued = this.ca): Promise<Issued> {
    const issued = makeLeaf(options, ca);
    this.#issued.set(name, issued);
    await this.write(`certs/${name}.pem`, chainPem(...pathOf(issued)));
    await this.write(`certs/${name}-key.pem`, issued.keyPem);
    return issued;
  }

  /** Who was issued a certificate under this name. */
  as(name: string, port: number): ClientOptions {
    const identity = this.#issued.get(name);
    const own = identity === undefined ? {} : { identity };
    return { host: this.host, port, ca: this.ca.pem, ...own };
  }

  /** Says something to a port and gives the answer. */
  ask(port: number, name: string, message = "hello"): Promise<string> {
    return ask(this.as(name, port), message);
  }

  /** The text with this chapter's addresses and directories. */
  own(text: string, changes: Changes = {}): string {
    const all: Changes = {
      "127.0.0.1": this.host,
      "certs/": `${this.dir}/certs/`,
      "/run/": `${this.dir}/run/`,
      "https://localhost:8443/":
        `--connect-to localhost:8443:${this.host}:8443 https://localhost:8443/`,
      ...changes,
    };
    const words = Object.keys(all).sort((a, b) => b.length - a.length);
    const pattern = new RegExp(words.map((word) => RegExp.escape(word)).join("|"), "g");
    return text.replace(pattern, (word) => all[word] ?? word);
  }

  /** Starts a daemon with a config of `examples/`, under its grants. */
  async start(name: string, options: StartOptions = {}): Promise<TestDaemon> {
    const { changes, env = {}, edit = (same) => same } = options;
    const read: Record<string, unknown> = parse(this.own(config(name), changes));
    for (const block of ["health", "metrics"]) {
      // Their default address is for the only mtlsd of a machine.
      if (block in read) read[block] = { listen: `${this.host}:0`, ...Object(read[block]) };
    }
    const variables = Object.entries(env).map(([key, value]) => `${key}=${value}`);
    return this.use(
      await startDaemon({
        config: edit(read),
        dir: this.dir,
        wrapper: variables.length === 0 ? [] : ["env", ...variables],
      }),
    );
  }

  /** Runs the commands that begin with this comment. */
  run(words: string, changes: Changes = {}): Promise<Said> {
    return sh(this.own(command(words), changes), { cwd: this.dir });
  }

  /** Everything goes, the directory last. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** A plain HTTP server on a free port of 127.0.0.1 that answers with this. */
export function httpBackend(answer: string): AsyncDisposable & { readonly address: string } {
  const server = Deno.serve({
    hostname: "127.0.0.1",
    port: 0,
    onListen: () => {},
    handler: () => new Response(answer),
  });
  return {
    address: `127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** The one shell block that begins with this comment. */
export function command(words: string): string {
  const found = shell(words);
  const [text] = found;
  if (text === undefined || found.length > 1) {
    throw new Error(`The chapters have ${found.length} blocks "# ${words}"`);
  }
  return text;
}

/** Puts the certificates of a chapter and a config of `examples/` into the top directory of a clone. */
export async function furnish(clone: Clone, chapter: Chapter, path: string): Promise<void> {
  await Deno.mkdir(join(clone.dir, "certs"));
  for (const file of ["ca.pem", "server.pem", "server-key.pem", "client.pem", "client-key.pem"]) {
    await Deno.copyFile(join(chapter.dir, "certs", file), join(clone.dir, "certs", file));
  }
  const text = config(path).replaceAll("127.0.0.1", chapter.host);
  await Deno.writeTextFile(join(clone.dir, basename(path)), text);
}
