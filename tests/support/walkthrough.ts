/**
 * Runs shell commands as a reader of a chapter does: in a copy of what a clone holds, in
 * terminals of their own, with `deno` on the path.
 *
 * @module
 */

import { join } from "node:path";
import { ROOT } from "./daemon.ts";
import { until } from "./wait.ts";

/** A loopback address that is not used elsewhere: Linux answers on all of 127.0.0.0/8. */
export function loopback(): string {
  const [a = 0, b = 0, c = 0] = crypto.getRandomValues(new Uint8Array(3));
  return `127.${1 + a % 250}.${b}.${1 + c % 250}`;
}

/** The outcome of a command. */
export type Said = { readonly code: number; readonly stdout: string; readonly stderr: string };

/** A command that runs until it is stopped. */
export class Terminal implements AsyncDisposable {
  /** Everything that it has printed, to whichever stream. */
  printed = "";
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<unknown>;

  /** Use {@linkcode Clone.start}. */
  constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#reading = Promise.all([this.#read(child.stdout), this.#read(child.stderr)]);
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) this.printed += text;
  }

  /** The process group of the command and of everything that it has started. */
  get group(): number {
    return this.#child.pid;
  }

  /** Waits until it has printed this. */
  async waitFor(words: string | RegExp): Promise<void> {
    const said = () =>
      typeof words === "string" ? this.printed.includes(words) : words.test(this.printed);
    let ended = false;
    this.#child.status.then(() => ended = true);
    await until(said, {
      what: () => `${words} in:\n${this.printed}`,
      failed: () => ended && !said(),
      within: 60_000,
    });
  }

  /** Ctrl+C: to the command and to everything that it has started. */
  interrupt(): void {
    try {
      Deno.kill(-this.#child.pid, "SIGINT");
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound) && !isNoProcess(error)) throw error;
    }
  }

  /** Its exit status. */
  async exit(): Promise<number> {
    const { code } = await this.#child.status;
    await this.#reading;
    return code;
  }

  /** Ends it and everything that it has started. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.interrupt();
    const hard = setTimeout(() => {
      try {
        Deno.kill(-this.#child.pid, "SIGKILL");
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound) && !isNoProcess(error)) throw error;
      }
    }, 5000);
    await this.exit();
    clearTimeout(hard);
  }
}

function isNoProcess(error: unknown): boolean {
  return error instanceof Error && /ESRCH|No such process/.test(error.message);
}

/** A directory to walk through in. */
export class Clone implements AsyncDisposable {
  /** Where it is. */
  readonly dir: string;
  readonly #bin: string;
  readonly #rewrite: (text: string) => string;

  private constructor(dir: string, bin: string, rewrite: (text: string) => string) {
    this.dir = dir;
    this.#bin = bin;
    this.#rewrite = rewrite;
  }

  /**
   * Copies what a clone has: `deno.json`, `deno.lock`, `.ci/`, `src/`, `examples/`, an empty `testdata/`.
   * `rewrite` is applied to the examples and to every command.
   */
  static async make(rewrite: (text: string) => string): Promise<Clone> {
    const dir = await Deno.makeTempDir({ prefix: "mtlsd-clone-" });
    const bin = await Deno.makeTempDir({ prefix: "mtlsd-bin-" });
    await Deno.symlink(Deno.execPath(), join(bin, "deno"));
    await Deno.mkdir(join(dir, "testdata"));
    for (const name of ["deno.json", "deno.lock", ".ci", "src", "examples"]) {
      await copy(join(ROOT, name), join(dir, name), name === "examples" ? rewrite : undefined);
    }
    return new Clone(dir, bin, rewrite);
  }

  #command(script: string): Deno.Command {
    return new Deno.Command("setsid", {
      args: ["bash", "-e", "-o", "pipefail", "-c", this.#rewrite(script)],
      cwd: this.dir,
      env: { NO_COLOR: "1", PATH: `${this.#bin}:${Deno.env.get("PATH") ?? ""}` },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    });
  }

  /** Runs commands to their end. */
  async run(script: string): Promise<Said> {
    const { code, stdout, stderr } = await this.#command(script).output();
    const text = new TextDecoder();
    return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
  }

  /** Starts a command that goes on. */
  start(script: string): Terminal {
    return new Terminal(this.#command(script).spawn());
  }

  /** Removes it all. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.dir, { recursive: true });
    await Deno.remove(this.#bin, { recursive: true });
  }
}

async function copy(
  from: string,
  to: string,
  rewrite: ((text: string) => string) | undefined,
): Promise<void> {
  if ((await Deno.stat(from)).isFile) {
    const text = await Deno.readTextFile(from);
    await Deno.writeTextFile(to, rewrite === undefined ? text : rewrite(text));
    return;
  }
  await Deno.mkdir(to);
  for await (const { name } of Deno.readDir(from)) {
    await copy(join(from, name), join(to, name), rewrite);
  }
}
