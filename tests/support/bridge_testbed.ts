/**
 * A daemon in bridge mode between two trust domains that know nothing of each other.
 *
 * @module
 */

import type { Conn } from "../../src/net/conn.ts";
import { listenTcp } from "../../src/net/mod.ts";
import type { TlsServer } from "../../src/tls/server.ts";
import { admit, limits, server } from "./tls/ends.ts";
import type { TestDaemon } from "./daemon.ts";
import type { ClientOptions } from "./peers.ts";
import { type Issued, type PkiFiles, type TestPki, testPki, writePki } from "./pki.ts";
import { TestBed } from "./testbed.ts";

/** Settings of the daemon; each block adds to the gateway's. */
export type BridgeOptions = {
  readonly tls?: Readonly<Record<string, unknown>>;
  readonly upstream_tls?: Readonly<Record<string, unknown>>;
  readonly acl?: Readonly<Record<string, unknown>>;
  readonly upstream_acl?: Readonly<Record<string, unknown>>;
  readonly proxy?: Readonly<Record<string, unknown>>;
};

/** A server of a PKI that sends back what its clients say. */
export class TlsEchoTarget implements AsyncDisposable {
  /** The serial numbers of those who connected, as they came. */
  readonly clientSerials: string[] = [];
  readonly #listener = listenTcp({ host: "127.0.0.1", port: 0 });
  readonly #open = new Set<Conn>();
  readonly #connections: Promise<void>[] = [];
  readonly #loop: Promise<void>;
  readonly #tls: TlsServer;

  /** Listens at once. */
  constructor(pki: TestPki, own = pki.server) {
    this.#tls = server({ own, bundle: [pki.ca] });
    this.#loop = this.#run();
  }

  /** `127.0.0.1:port`. */
  get address(): string {
    return this.#listener.address;
  }

  async #run(): Promise<void> {
    for (;;) {
      const accepted = await this.#listener.accept().catch(() => undefined);
      if (accepted === undefined) return;
      this.#open.add(accepted);
      this.#connections.push(this.#serve(accepted).catch(() => {}).finally(() => accepted.close()));
    }
  }

  async #serve(accepted: Conn): Promise<void> {
    const { conn, peer } = await this.#tls.accept(accepted, admit, limits());
    if (conn === undefined) return;
    this.clientSerials.push(peer?.certificate.serial ?? "");
    await conn.pipeTo((bytes) => conn.write(bytes));
    await conn.closeWrite();
  }

  /** Cuts everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const conn of this.#open) conn.close();
    await this.#loop;
    await Promise.all(this.#connections);
  }
}

/** The domain of those who connect is the test bed's; that of the target is another. */
export class BridgeTestBed implements AsyncDisposable {
  readonly testBed: TestBed;
  /** The domain of the target. */
  readonly targetPki: TestPki;
  /** The same as files. */
  readonly files: PkiFiles;

  private constructor(testBed: TestBed, upstream: TestPki) {
    this.testBed = testBed;
    this.targetPki = upstream;
    this.files = writePki(`${testBed.dir}/far`, upstream);
  }

  /** Makes both domains. */
  static async create(): Promise<BridgeTestBed> {
    return new BridgeTestBed(await TestBed.create(), testPki());
  }

  /** Starts the daemon. */
  async bridge(target: string, options: BridgeOptions = {}): Promise<TestDaemon> {
    const { ca, server, serverKey } = this.testBed.files;
    const { tls, upstream_tls, ...more } = options;
    return await this.testBed.daemon({
      mode: "bridge",
      listen: "127.0.0.1:0",
      target,
      ...more,
      tls: { cert: server, key: serverKey, ca, ...tls },
      upstream_tls: {
        cert: this.files.client,
        key: this.files.clientKey,
        ca: this.files.ca,
        server_name: "localhost",
        ...upstream_tls,
      },
    });
  }

  /** A target of the far domain that sends everything back; gone at the end. */
  echo(own?: Issued): TlsEchoTarget {
    return this.testBed.use(new TlsEchoTarget(this.targetPki, own));
  }

  /** A client of the near domain. */
  as(daemon: TestDaemon): ClientOptions {
    return this.testBed.as(daemon);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.testBed[Symbol.asyncDispose]();
  }
}
