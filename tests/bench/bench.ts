/**
 * The stage: backend, load generator, certificates, and subjects that are set up in front of them.
 *
 * @module
 */

import { join } from "node:path";
import { type PkiFiles, type TestPki, testPki, writePki } from "../support/pki.ts";
import { until } from "../support/wait.ts";
import { allowedCpus, listens } from "./account.ts";
import type { BackendPorts } from "./backend.ts";
import {
  freePort,
  LoggedChild,
  type Placement,
  TalkingChild,
  Tool,
  type ToolOutput,
} from "./child.ts";
import { Load } from "./generator.ts";
import type { Scale } from "./scale.ts";
import type { Side } from "./side.ts";
import type { Subject } from "./subjects.ts";
import { type End, type Mode, Running } from "./running.ts";
import { which } from "./which.ts";

/** More than any measure opens. */
const CONNECTIONS = 8000;
const DESCRIPTORS = 20_000;
/** Milliseconds until a subject must serve. */
const STARTING = 20_000;

/** What all measures work with. */
export class Bench implements AsyncDisposable {
  readonly scale: Scale;
  readonly dir: string;
  readonly pki: TestPki;
  readonly files: PkiFiles;
  readonly ports: BackendPorts;
  /** Where subjects run, and where everything else does. */
  readonly subjectPlace: Placement;
  readonly loadPlace: Placement;
  readonly #stack: AsyncDisposableStack;
  readonly #tools = new Set<Tool>();
  readonly #made = new Map<string, Promise<string>>();
  #load: Load;
  #count = 0;

  private constructor(
    fields: Pick<
      Bench,
      "scale" | "dir" | "pki" | "files" | "ports" | "subjectPlace" | "loadPlace"
    >,
    load: Load,
    stack: AsyncDisposableStack,
  ) {
    this.scale = fields.scale;
    this.dir = fields.dir;
    this.pki = fields.pki;
    this.files = fields.files;
    this.ports = fields.ports;
    this.subjectPlace = fields.subjectPlace;
    this.loadPlace = fields.loadPlace;
    this.#load = load;
    this.#stack = stack;
  }

  /** Starts backend and generator. */
  static async create(scale: Scale): Promise<Bench> {
    await using stack = new AsyncDisposableStack();
    const dir = await Deno.makeTempDir({ prefix: "mtlsd-bench-" });
    stack.defer(() => Deno.remove(dir, { recursive: true }));
    // nginx's worker need not be who we are.
    await Deno.chmod(dir, 0o755);
    const pki = testPki();
    const files = writePki(dir, pki);
    const [own, ...others] = await allowedCpus();
    const descriptors = Math.min(DESCRIPTORS, await hardLimit());
    const place = (cpus: string | undefined) => ({ cpus, descriptors });
    const apart = scale.pinned && others.length > 0;
    const subjectPlace = place(apart ? String(own) : undefined);
    const loadPlace = place(apart ? others.join(",") : undefined);
    const backend = stack.use(
      new TalkingChild(new URL("./backend.ts", import.meta.url).href, [], loadPlace),
    );
    const ports: BackendPorts = JSON.parse(await backend.line());
    const fields = { scale, dir, pki, files, ports, subjectPlace, loadPlace };
    return new Bench(fields, stack.use(new Load(files, loadPlace)), stack.move());
  }

  /** The load generator. */
  get load(): Load {
    return this.#load;
  }

  /** Begins with a new load generator, after a measure that went wrong. */
  async renewLoad(): Promise<void> {
    await this.#load[Symbol.asyncDispose]();
    this.#load = this.#stack.use(new Load(this.files, this.loadPlace));
  }

  /** Has everything that waits for the load fail. */
  async cut(): Promise<void> {
    await this.#load[Symbol.asyncDispose]();
    for (const tool of this.#tools) await tool[Symbol.asyncDispose]();
  }

  /**
   * Runs a tool that makes load to its end.
   *
   * @throws {Error} where it is not installed, or fails.
   */
  async tool(name: string, debian: string, args: readonly string[]): Promise<ToolOutput> {
    const path = await which(name);
    if (path === undefined) {
      throw new Error(`${name} is not installed (Debian package ${debian})`);
    }
    await using tool = new Tool([path, ...args], this.loadPlace);
    this.#tools.add(tool);
    try {
      return await tool.output();
    } finally {
      this.#tools.delete(tool);
    }
  }

  /** The other end of iperf3, as the target of a tunnel. */
  async iperfServer(port: number): Promise<AsyncDisposable> {
    const path = await which("iperf3");
    if (path === undefined) throw new Error("iperf3 is not installed (Debian package iperf3)");
    const argv = [path, "-s", "-B", "127.0.0.1", "-p", String(port)];
    await using stack = new AsyncDisposableStack();
    const child = stack.use(
      new LoggedChild(argv, this.loadPlace, this.path("iperf3.log"), this.dir),
    );
    await until(() => listens(port), { what: () => "iperf3", failed: () => child.ended });
    return stack.move();
  }

  /** The path of a file that is made when it is first asked for. */
  made(name: string, make: () => string): Promise<string> {
    const made = this.#made.get(name) ?? (async () => {
      const path = this.path(name);
      await Deno.writeTextFile(path, make());
      return path;
    })();
    this.#made.set(name, made);
    return made;
  }

  /** A path of its own for a new file. */
  path(name: string): string {
    return join(this.dir, `${this.#count++}-${name}`);
  }

  /** What one end is set up with, on a free port. */
  async side(
    mode: Side["mode"],
    target: number,
    trust: Pick<Side, "ca" | "crl"> = {},
  ): Promise<Side> {
    const dir = this.path(mode);
    await Deno.mkdir(dir);
    const { files } = this;
    return {
      mode,
      listen: freePort(),
      target,
      files,
      dir,
      connections: CONNECTIONS,
      ...trust,
    };
  }

  #spawn(argv: readonly string[], cwd: string, side: Side): LoggedChild {
    return new LoggedChild(argv, this.subjectPlace, join(side.dir, "log"), cwd);
  }

  async #serving(subject: Subject, side: Side): Promise<LoggedChild> {
    await using stack = new AsyncDisposableStack();
    const { argv, cwd } = await subject.setUp(side);
    const child = stack.use(this.#spawn(argv, cwd, side));
    try {
      await until(() => listens(side.listen), {
        what: () => `${subject.name} to listen`,
        failed: () => child.ended,
        within: STARTING,
      });
    } catch (error) {
      throw new Error(`Cannot start ${subject.name}: ${await child.tail()}`, { cause: error });
    }
    stack.move();
    return child;
  }

  /** Starts one end, has it serve one connection, and ends it: milliseconds, and what `cpu` says. */
  async firstServed(
    subject: Subject,
    side: Side,
    cpu: (pid: number) => Promise<number>,
  ): Promise<{ readonly wall: number; readonly cpu: number }> {
    const target = { port: side.listen, tls: side.mode === "server" };
    const { argv, cwd } = await subject.setUp(side);
    // Already trying when it starts.
    const first = this.load.do({ op: "first", target, within: STARTING });
    await using child = this.#spawn(argv, cwd, side);
    const { at = NaN } = await first;
    return { wall: at - child.startedAt, cpu: await cpu(child.pid) };
  }

  /** Starts a subject in front of a port of the backend, and waits until it listens. */
  async start(
    subject: Subject,
    mode: Mode,
    target: number,
    trust: Pick<Side, "ca" | "crl"> = {},
  ): Promise<Running> {
    await using stack = new AsyncDisposableStack();
    const server = await this.side("server", target, trust);
    const ends: End[] = [
      { side: "server", child: stack.use(await this.#serving(subject, server)) },
    ];
    let port = server.listen;
    if (mode === "tunnel") {
      const client = await this.side("client", server.listen);
      ends.unshift({ side: "client", child: stack.use(await this.#serving(subject, client)) });
      port = client.listen;
    }
    return new Running(
      this.load,
      this.scale.quiet,
      ends,
      { port, tls: mode === "server" },
      stack.move(),
    );
  }

  /** Ends everything and removes the directory. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

async function hardLimit(): Promise<number> {
  const limits = await Deno.readTextFile("/proc/self/limits");
  const limit = /^Max open files\s+\S+\s+(\S+)/m.exec(limits)?.[1];
  return limit === undefined || limit === "unlimited" ? Infinity : Number(limit);
}
