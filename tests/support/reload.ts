/**
 * New certificates for a running daemon, put into place in the ways that people and tools do, and a
 * stream of handshakes that looks on.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import type tls from "node:tls";
import { type ClientOptions, connectTls } from "./peers.ts";
import { chainPem, dns, ip, type Issued, makeLeaf, pathOf, type TestPki } from "./pki.ts";
import { parse, stringify } from "yaml";
import type { TestDaemon } from "./daemon.ts";

/** A server certificate like that of the PKI, with a key of its own. */
export function renewed(pki: TestPki): Issued {
  const san = [dns("localhost"), ip("127.0.0.1"), ip("::1")];
  return makeLeaf({ role: "server", subject: "localhost", san }, pki.intermediate ?? pki.ca);
}

/** What the files of an identity hold, by name. */
export function contents(identity: Issued): Readonly<Record<string, string>> {
  return {
    "server.pem": chainPem(...pathOf(identity)),
    "server-key.pem": identity.keyPem,
  };
}

/** Written beside the old ones and renamed over them, one after the other. */
export async function byRename(
  dir: string,
  files: Readonly<Record<string, string>>,
): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    const beside = join(dir, `.${name}.tmp`);
    await Deno.writeTextFile(beside, text);
    await Deno.rename(beside, join(dir, name));
  }
}

/** Truncated and written where they are, in halves, as an editor or `cp` may. */
export async function inPlace(
  dir: string,
  files: Readonly<Record<string, string>>,
): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    using file = await Deno.open(join(dir, name), { write: true, truncate: true });
    const bytes = new TextEncoder().encode(text);
    for (const half of [bytes.subarray(0, 300), bytes.subarray(300)]) {
      await file.write(half);
      await file.sync();
    }
  }
}

let generations = 0;

/** A directory of its own, and `..data` swapped to it in one rename, as Kubernetes does. */
export async function bySymlink(
  dir: string,
  files: Readonly<Record<string, string>>,
): Promise<void> {
  const generation = `..gen_${++generations}`;
  await Deno.mkdir(join(dir, generation));
  for (const [name, text] of Object.entries(files)) {
    await Deno.writeTextFile(join(dir, generation, name), text);
  }
  const previous = await Deno.readLink(join(dir, "..data")).catch(() => undefined);
  await Deno.symlink(generation, join(dir, "..data_tmp"));
  await Deno.rename(join(dir, "..data_tmp"), join(dir, "..data"));
  for (const name of Object.keys(files)) {
    await Deno.symlink(join("..data", name), join(dir, name)).catch(() => {});
  }
  if (previous !== undefined) await Deno.remove(join(dir, previous), { recursive: true });
}

/** The serial of the certificate that the server showed, in upper-case hex. */
export function serialOf(socket: tls.TLSSocket): string {
  return socket.getPeerX509Certificate()?.serialNumber ?? "";
}

/** The serial that a new handshake gets to see. */
export async function serialSeen(client: ClientOptions): Promise<string> {
  const socket = await connectTls(client);
  const closed = new Promise<void>((done) => socket.once("close", () => done()));
  const serial = serialOf(socket);
  socket.destroy();
  await closed;
  return serial;
}

/** Handshakes one after the other, as fast as they go, until it is disposed of. */
export class HandshakeStream implements AsyncDisposable {
  /** The serials seen, in order. */
  readonly serials: string[] = [];
  /** What went wrong. */
  readonly failures: unknown[] = [];
  #stopped = false;
  readonly #loop: Promise<void>;

  /** Starts at once; `see` makes one handshake and gives the serial. */
  constructor(client: ClientOptions | (() => Promise<string>)) {
    this.#loop = this.#run(typeof client === "function" ? client : () => serialSeen(client));
  }

  async #run(see: () => Promise<string>): Promise<void> {
    while (!this.#stopped) {
      try {
        this.serials.push(await see());
      } catch (error) {
        this.failures.push(error);
      }
      await new Promise((done) => setTimeout(done, 2));
    }
  }

  /** None failed, and what is new stayed new. */
  assertSteady(...serials: readonly string[]): void {
    assert.deepEqual(this.failures, []);
    const changes = this.serials.filter((serial, i) => serial !== this.serials[i - 1]);
    assert.deepEqual(changes, serials);
  }

  /** Stops after the handshake that is under way. */
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
