/**
 * What most scenarios begin with: a directory, a PKI in it, and daemons on free ports that are gone
 * at the end of the scope.
 *
 * ```ts
 * await using testBed = await TestBed.create();
 * const backend = testBed.use(echoBackend());
 * const server = await testBed.server(backend.address);
 * ```
 *
 * @module
 */

import assert from "node:assert/strict";
import { type DaemonSettings, startDaemon, type TestDaemon } from "./daemon.ts";
import { type ClientOptions, split } from "./peers.ts";
import { type PkiFiles, type TestPki, testPki, writePki } from "./pki.ts";
/** Settings of one daemon besides what every test bed gives it; each block adds to the test bed's. */
export type DaemonOptions = {
  readonly tls?: Readonly<Record<string, unknown>>;
  readonly proxy?: Readonly<Record<string, unknown>>;
  readonly acl?: Readonly<Record<string, unknown>>;
  readonly logging?: Readonly<Record<string, unknown>>;
  readonly listen?: string;
} & Pick<DaemonSettings, "wrapper" | "preload">;

/** A directory with a PKI, and the daemons that use it. */
export class TestBed implements AsyncDisposable {
  /** Where everything is. */
  readonly dir: string;
  /** Whom the daemons are and trust. */
  readonly pki: TestPki;
  /** The same as files. */
  readonly files: PkiFiles;
  readonly #stack = new AsyncDisposableStack();
  readonly #daemons: TestDaemon[] = [];

  private constructor(dir: string, pki: TestPki) {
    this.dir = dir;
    this.pki = pki;
    this.files = writePki(dir, pki);
    this.#stack.defer(() => Deno.remove(dir, { recursive: true }));
  }

  /** Makes the directory and writes the PKI, by default one with P-256 keys. */
  static async create(pki: TestPki = testPki()): Promise<TestBed> {
    return new TestBed(await Deno.makeTempDir({ prefix: "mtlsd-test-" }), pki);
  }

  /** Disposes of it at the end, before what was there earlier. */
  use<T extends AsyncDisposable>(resource: T): T {
    return this.#stack.use(resource);
  }

  /** Writes a file; its path. */
  async write(name: string, text: string): Promise<string> {
    const path = `${this.dir}/${name}`;
    await Deno.writeTextFile(path, text, { mode: 0o600 });
    return path;
  }

  /** Server mode in front of `target`. */
  server(target: string, options: DaemonOptions = {}): Promise<TestDaemon> {
    const { ca, server, serverKey } = this.files;
    return this.#start("server", target, { cert: server, key: serverKey, ca }, options);
  }

  /** Client mode towards `target`, whose certificate is to carry `localhost`. */
  client(target: string, options: DaemonOptions = {}): Promise<TestDaemon> {
    const { ca, client, clientKey } = this.files;
    const tls = { cert: client, key: clientKey, ca, server_name: "localhost" };
    return this.#start("client", target, tls, options);
  }

  /** Both: client mode → server mode → `target`. */
  async tunnel(
    target: string,
    options: { readonly server?: DaemonOptions; readonly client?: DaemonOptions } = {},
  ): Promise<{ readonly server: TestDaemon; readonly client: TestDaemon }> {
    const server = await this.server(target, options.server);
    return { server, client: await this.client(server.listen, options.client) };
  }

  /** A client of {@linkcode connectTls} that a server of this test bed lets in. */
  as(daemon: TestDaemon): ClientOptions {
    return { port: daemon.port, ca: this.pki.ca.pem, identity: this.pki.client };
  }

  /** Any config. */
  async daemon(
    config: DaemonSettings["config"],
    settings: Omit<DaemonSettings, "config" | "dir"> = {},
  ): Promise<TestDaemon> {
    const daemon = await startDaemon({ ...settings, dir: this.dir, config });
    this.#daemons.push(daemon);
    return this.#stack.use(daemon);
  }

  async #start(
    mode: string,
    target: string,
    tls: Readonly<Record<string, unknown>>,
    options: DaemonOptions,
  ): Promise<TestDaemon> {
    const { wrapper, preload, ...blocks } = options;
    return await this.daemon(
      { mode, listen: "127.0.0.1:0", target, ...blocks, tls: { ...tls, ...options.tls } },
      {
        ...(wrapper === undefined ? {} : { wrapper }),
        ...(preload === undefined ? {} : { preload }),
      },
    );
  }

  /** Everything goes, the directory last. A fault that a daemon had to survive fails the test. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
    for (const { log } of this.#daemons) {
      assert.doesNotMatch(log, /internal error|msg="\w+: connection failed"/);
    }
  }
}

/** A free port of loopback. */
export const LISTEN = "127.0.0.1:0";

/** A block of a config. */
export type Block = Readonly<Record<string, unknown>>;

/** A `tls` block of the test bed's server. */
export function tlsOf({ files: { ca, server: cert, serverKey: key } }: TestBed): Block {
  return { cert, key, ca };
}

/** Server-mode tunnels over the test bed's `tls` block. */
export async function startTunnels(
  testBed: TestBed,
  tunnels: readonly Block[],
  more: Block = {},
): Promise<TestDaemon> {
  const config = { mode: "server", tls: tlsOf(testBed), ...more, tunnels };
  return testBed.use(await startDaemon({ dir: testBed.dir, config }));
}

/** Where a tunnel listens. */
export function portOf(daemon: TestDaemon, tunnel: string): number {
  const line = daemon.lines.find(({ fields }) =>
    fields.tunnel === tunnel && fields.listen !== undefined
  );
  assert.ok(line, daemon.log);
  return split(line.fields.listen ?? "").port;
}

/** A client that the tunnel lets in. */
export function clientOf(testBed: TestBed, daemon: TestDaemon, tunnel: string): ClientOptions {
  return { ...testBed.as(daemon), port: portOf(daemon, tunnel) };
}
