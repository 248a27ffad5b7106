/**
 * Real programs as they are installed: one that runs beside a test and is told to end in good order, or
 * one that runs to its end.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Process } from "./openssl.ts";
import { timed, until } from "./wait.ts";
import { refuses } from "./peers.ts";

/** Milliseconds that a program has to end after its signal before it is killed. */
const PATIENCE = 5_000;

/** Settings of a {@linkcode Program}. */
export type ProgramOptions = {
  readonly env?: Readonly<Record<string, string>>;
  /** What it is ended with; default SIGTERM. */
  readonly stop?: Deno.Signal;
};

/** A program that knows signals: what must leave nothing behind cannot just be killed. */
export class Program extends Process {
  readonly #stop: Deno.Signal;
  #over = false;
  #ending: Promise<number> | undefined;

  /** Starts it. */
  constructor(command: string, args: readonly string[], options: ProgramOptions = {}) {
    // The shell becomes the program, so that the number it says is the program's.
    super("sh", ["-c", 'echo "pid=$$"; exec "$@"', "sh", command, ...args], options.env);
    this.#stop = options.stop ?? "SIGTERM";
  }

  /** Its process id. */
  async pid(): Promise<number> {
    const [, pid] = await this.says(/^pid=(\d+)$/m);
    return Number(pid);
  }

  /** What it has said so far on both streams, without its process id. */
  get words(): string {
    return this.said.replace(/^pid=\d+\n/m, "");
  }

  /** Sends a signal. */
  async signal(signal: Deno.Signal): Promise<void> {
    Deno.kill(await this.pid(), signal);
  }

  /** Waits until it has said this, at most so many milliseconds. */
  override async says(pattern: RegExp, within = 60_000): Promise<RegExpExecArray> {
    const said = super.says(pattern);
    await timed(within, said, () => `${pattern} from a program that has said:\n${this.words}\nit`);
    return await said;
  }

  /** Waits for its end; gives the exit status. */
  override ends(): Promise<number> {
    return this.#ending ??= super.ends().finally(() => this.#over = true);
  }

  /** Waits until something accepts connections at the address. */
  async serves(address: string): Promise<this> {
    const over = this.ends();
    await until(async () => !await refuses(address), {
      what: () => `a server on ${address}, which has said:\n${this.words}`,
      failed: () => this.#over,
    });
    // Its end is asked for again at the end of the scope.
    over.catch(() => {});
    return this;
  }

  /** The signal that ends it, and the end. */
  override async [Symbol.asyncDispose](): Promise<void> {
    const over = this.ends();
    if (!this.#over) {
      await this.signal(this.#stop).catch(() => {}); // It may have ended just now.
      await until(() => this.#over, { within: PATIENCE }).catch(() => {});
    }
    await super[Symbol.asyncDispose]();
    await over;
  }
}

/** Runs a program to its end, which must be a good one; gives what it says on standard output. */
export async function output(
  command: string,
  args: readonly string[],
  options: Omit<Deno.CommandOptions, "args" | "stdin" | "stdout" | "stderr"> = {},
): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(command, {
    ...options,
    args: [...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  const text = new TextDecoder();
  const failure = `${command} ${args.join(" ")}: exit ${code}\n${text.decode(stderr)}`;
  assert.equal(code, 0, failure);
  return text.decode(stdout);
}
