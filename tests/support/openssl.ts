/**
 * Peers that are not ours: openssl and curl as child processes, and the files that they need.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { chainPem, type Issued, pathOf } from "./pki.ts";
import { text } from "./tls/ends.ts";

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
  readonly #readers: ReadableStreamDefaultReader<Uint8Array>[] = [];
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
    const reader = stream.getReader();
    this.#readers.push(reader);
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      this.said += decoder.decode(part.value, { stream: true });
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
    // Not to their end: a child of the child may have them still.
    await Promise.all(this.#readers.map((reader) => reader.cancel()));
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
