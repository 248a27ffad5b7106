/**
 * Processes of the bench: each on the CPUs that are its own, and gone at the end of the scope.
 *
 * @module
 */

import { family } from "./account.ts";
import { TextLineStream } from "./lines.ts";
import { now } from "./load_protocol.ts";

/** Where processes run. */
export type Placement = {
  /** CPUs in the way of `taskset -c`; `undefined`: anywhere. */
  readonly cpus: string | undefined;
  /** Most descriptors it may open. */
  readonly descriptors: number;
};

/** Milliseconds after which load that comes to no end is taken for stuck. */
export const PATIENCE = 180_000;

/** A port of 127.0.0.1 that is free now. */
export function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** A process, with those that it starts. */
class Child implements AsyncDisposable {
  protected readonly child: Deno.ChildProcess;
  #ended = false;

  constructor(
    argv: readonly string[],
    placement: Placement,
    options: Omit<Deno.CommandOptions, "args">,
    shell: readonly string[] = [],
  ) {
    const { cpus, descriptors } = placement;
    const pinned = cpus === undefined ? [] : ["taskset", "-c", cpus];
    // Each of them becomes the next: the process id is the program's own.
    const words = [...shell, "prlimit", `--nofile=${descriptors}`, "--", ...pinned, ...argv];
    const [name = "", ...args] = words;
    this.child = new Deno.Command(name, { ...options, args }).spawn();
    void this.child.status.then(() => this.#ended = true);
  }

  /** Its process id. */
  get pid(): number {
    return this.child.pid;
  }

  /** Whether it is over with it. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Ends it and all that it started, at once, and waits. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return;
    let descendants: number[] = [];
    try {
      descendants = (await family(this.pid)).slice(1);
    } catch {
      // It is ending right now.
    }
    // It first: a master starts anew what it finds ended.
    const kills = [() => this.child.kill("SIGKILL")];
    kills.push(...descendants.map((pid) => () => Deno.kill(pid, "SIGKILL")));
    for (const kill of kills) {
      try {
        kill();
      } catch {
        // It has ended.
      }
    }
    await this.child.status;
  }
}

/** A process whose output goes to a file. */
export class LoggedChild extends Child {
  /** When it was started, in milliseconds since 1970. */
  readonly startedAt: number;
  readonly #log: string;

  /** Starts it. */
  constructor(argv: readonly string[], placement: Placement, log: string, cwd: string) {
    const startedAt = now();
    super(
      argv,
      placement,
      { cwd, env: { NO_COLOR: "1" }, stdin: "null", stdout: "null", stderr: "inherit" },
      ["sh", "-c", 'exec "$@" >>"$0" 2>&1', log],
    );
    this.startedAt = startedAt;
    this.#log = log;
  }

  /** The end of what it has printed. */
  async tail(): Promise<string> {
    return (await Deno.readTextFile(this.#log)).slice(-2000).trim();
  }
}

/** What a tool has printed. */
export type ToolOutput = { readonly stdout: string; readonly stderr: string };

/** A program that runs to its end by itself. */
export class Tool extends Child {
  readonly #name: string;

  /** Starts it. */
  constructor(argv: readonly string[], placement: Placement) {
    super(argv, placement, { stdin: "null", stdout: "piped", stderr: "piped" });
    this.#name = argv.slice(0, 2).join(" ");
  }

  /**
   * Waits for its end.
   *
   * @throws {Error} when it fails or takes too long.
   */
  async output(): Promise<ToolOutput> {
    const timer = setTimeout(() => void this[Symbol.asyncDispose](), PATIENCE);
    try {
      const { code, stdout, stderr } = await this.child.output();
      const text = new TextDecoder();
      const said = { stdout: text.decode(stdout), stderr: text.decode(stderr) };
      if (code === 0) return said;
      const words = `${said.stdout}\n${said.stderr}`.trim().slice(-400);
      throw new Error(`Cannot run ${this.#name}: status ${code}: ${words}`);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** A module of the bench that answers a line with a line. */
export class TalkingChild extends Child {
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: ReadableStreamDefaultReader<string>;

  /** Starts it. */
  constructor(module: string, args: readonly string[], placement: Placement) {
    const argv = [Deno.execPath(), "run", "--no-prompt", "--allow-all", module, ...args];
    super(argv, placement, { stdin: "piped", stdout: "piped", stderr: "inherit" });
    this.#writer = this.child.stdin.getWriter();
    this.#lines = this.child.stdout.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream()).getReader();
  }

  /**
   * The next line that it prints.
   *
   * @throws {Error} when it has ended.
   */
  async line(): Promise<string> {
    const { value, done } = await this.#lines.read();
    if (done) throw new Error("Cannot read from a process of the bench: it has ended");
    return value;
  }

  /** Says one line. */
  async say(line: string): Promise<void> {
    await this.#writer.write(new TextEncoder().encode(`${line}\n`));
  }

  /** Ends it. */
  override async [Symbol.asyncDispose](): Promise<void> {
    await super[Symbol.asyncDispose]();
    await this.#lines.cancel();
    // Its standard input went with it.
    await this.#writer.abort().catch(() => {});
  }
}
