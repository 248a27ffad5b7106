/**
 * Connections that stay open while a test changes the world around them.
 *
 * @module
 */

import assert from "node:assert/strict";
import type tls from "node:tls";
import { parse, stringify } from "yaml";
import type { TestDaemon } from "./daemon.ts";
import { type ClientOptions, connectTls } from "./peers.ts";
import { until } from "./wait.ts";

/** A TLS client through a tunnel to an echo backend. */
export class EchoClient implements AsyncDisposable {
  /** When the other side ended it, by `performance.now()`; `undefined` while it has not. */
  endedAt: number | undefined;
  readonly #socket: tls.TLSSocket;
  readonly #closed: Promise<void>;
  #received = "";
  #sent = "";

  private constructor(socket: tls.TLSSocket) {
    this.#socket = socket;
    this.#closed = new Promise((done) => socket.once("close", () => done()));
    const ended = () => this.endedAt ??= performance.now();
    socket.on("data", (bytes: Uint8Array) => {
      this.#received += new TextDecoder().decode(bytes);
    });
    socket.once("end", ended);
    socket.once("error", ended);
    socket.once("close", ended);
  }

  /** Connects; the handshake is over, which with TLS 1.3 does not say that it was let in. */
  static async connect(options: ClientOptions): Promise<EchoClient> {
    return new EchoClient(await connectTls(options));
  }

  /** Connects and echoes once, so that it has been let in and joined. */
  static async open(options: ClientOptions): Promise<EchoClient> {
    const client = await EchoClient.connect(options);
    await client.echo("hello");
    return client;
  }

  /** What has come so far. */
  get received(): string {
    return this.#received;
  }

  /** Sends and waits until it has come back. */
  async echo(text: string): Promise<void> {
    this.#sent += text;
    this.#socket.write(text);
    await until(() => this.#received.length >= this.#sent.length, {
      what: () => `the echo of "${text}"`,
      failed: () => this.endedAt !== undefined,
    });
    assert.equal(this.#received, this.#sent);
  }

  /** Waits for the other side's end; when that was. */
  async ended(within = 60_000): Promise<number> {
    return await until(() => this.endedAt, { what: () => "the end of a connection", within });
  }

  /** Drops the connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy();
    await this.#closed;
  }
}

/** Echoes on each client again and again until it is disposed of, which fails if one did not answer. */
export class EchoLoop implements AsyncDisposable {
  /** Rounds so far. */
  rounds = 0;
  readonly #clients: readonly EchoClient[];
  readonly #loop: Promise<void>;
  #stopped = false;

  /** Starts at once. */
  constructor(...clients: readonly EchoClient[]) {
    this.#clients = clients;
    this.#loop = this.#run();
    // It is told when the scope ends.
    this.#loop.catch(() => {});
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      await Promise.all(this.#clients.map((client) => client.echo(`round ${this.rounds} `)));
      this.rounds++;
    }
  }

  /** Stops, and rejects if a client was not served. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    await this.#loop;
  }
}

/** Puts other rules into a daemon's config, and SIGHUP; resolves when they are in force. */
export async function changeRules(
  daemon: TestDaemon,
  rules: Readonly<Record<string, unknown>>,
  block: "acl" | "upstream_acl" = "acl",
): Promise<void> {
  const config = parse(await Deno.readTextFile(daemon.configPath));
  await Deno.writeTextFile(daemon.configPath, stringify({ ...config, [block]: rules }));
  const from = daemon.lines.length;
  daemon.kill("SIGHUP");
  await daemon.waitForLog("certstore: certificates reloaded successfully", {}, from);
}

/** Renames a new file over an old one; resolves when it is in force. */
export async function changeFile(daemon: TestDaemon, path: string, text: string): Promise<void> {
  const from = daemon.lines.length;
  await Deno.writeTextFile(`${path}.next`, text);
  await Deno.rename(`${path}.next`, path);
  await daemon.waitForLog("certstore: certificates reloaded successfully", {}, from);
}

/** Every accepted connection is open or was closed for exactly one reason. */
export async function assertAllClosesCounted(daemon: TestDaemon): Promise<void> {
  const series = await daemon.metrics();
  let closed = 0;
  for (const [name, value] of series) {
    if (name.startsWith("mtlsd_connections_closed_total")) closed += value;
  }
  const active = series.get("mtlsd_active_connections");
  assert.equal(series.get("mtlsd_connections_total"), closed + (active ?? NaN));
}

/** The series of a close reason. */
export function closedSeries(reason: string): string {
  return `mtlsd_connections_closed_total{reason="${reason}"}`;
}
