/**
 * Real mtlsd processes for the scenario tests, under the grants that `mtlsd grants` prints for their
 * config and nothing else.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { parseConfig } from "../../src/config/load.ts";
import { formatProblem } from "../../src/config/problem.ts";
import { formatGrants, grantsFor } from "../../src/control/grants.ts";
import { until } from "./wait.ts";
/** The repository. */
export const ROOT: string = fileURLToPath(new URL("../../", import.meta.url));
/**
 * The program: `src/main.ts`, or what `TEST_PROGRAM` names, by its path in the repository. The name has
 * no `MTLSD_` in front, for those are settings of the daemon.
 */
export const MAIN: string = join(ROOT, Deno.env.get("TEST_PROGRAM") ?? "src/main.ts");

/** One log line, taken apart. */
export type LogLine = { readonly raw: string; readonly fields: Readonly<Record<string, string>> };

/** Settings of {@linkcode startDaemon}. */
export type DaemonSettings = {
  /** The config, as YAML will hold it. Health and metrics are added on free ports. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Where the config file goes. */
  readonly dir: string;
  /** A command that runs the daemon, such as `["prlimit", "--nofile=100:100"]`. */
  readonly wrapper?: readonly string[];
  /** Resolve on the first line rather than on readiness; for daemons that are to fail. */
  readonly expectFailure?: boolean;
  /** In place of the grants of the config. */
  readonly flags?: readonly string[];
  /** In place of {@linkcode MAIN}. */
  readonly program?: string;
  /** A module that runs before the program. */
  readonly preload?: string;
  /** The words after the program, from the config's path; default: the path alone. */
  readonly args?: (configPath: string) => readonly string[];
  /** Give the config on standard input; `args` should say `-`. */
  readonly stdin?: boolean;
};

let count = 0;

/** A running daemon. */
export class TestDaemon implements AsyncDisposable {
  /** Every line so far. */
  readonly lines: LogLine[] = [];
  /** The config file. */
  readonly configPath: string;
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<void>;
  #status: Deno.CommandStatus | undefined;

  /** Use {@linkcode startDaemon}. */
  constructor(child: Deno.ChildProcess, configPath: string) {
    this.#child = child;
    this.configPath = configPath;
    this.#reading = this.#read();
    child.status.then((status) => this.#status = status);
  }

  async #read(): Promise<void> {
    let rest = "";
    for await (const text of this.#child.stderr.pipeThrough(new TextDecoderStream())) {
      const parts = (rest + text).split("\n");
      rest = parts.pop() ?? "";
      for (const raw of parts) this.lines.push({ raw, fields: parseLogLine(raw) });
    }
    if (rest !== "") this.lines.push({ raw: rest, fields: parseLogLine(rest) });
  }

  /** The process id (of the wrapper, if there is one that stays). */
  get pid(): number {
    return this.#child.pid;
  }

  /** Everything it has logged. */
  get log(): string {
    return this.lines.map(({ raw }) => raw).join("\n");
  }

  /** The first line from `from` on with this message and these fields; waits for it. */
  async waitForLog(
    message: string,
    fields: Readonly<Record<string, string | RegExp>> = {},
    from = 0,
  ): Promise<LogLine> {
    const match = () =>
      this.lines.slice(from).find((line) =>
        line.fields.msg === message &&
        Object.entries(fields).every(([key, wanted]) => {
          const value = line.fields[key] ?? "";
          return typeof wanted === "string" ? value === wanted : wanted.test(value);
        })
      );
    return await until(match, {
      what: () => `log line ${message} ${JSON.stringify(fields)} in:\n${this.log}`,
      failed: () => this.#status !== undefined && match() === undefined,
    });
  }

  /** Where the tunnel listens, `host:port`. */
  get listen(): string {
    const line = this.lines.find(({ fields }) =>
      fields.msg === "listener: serving mTLS" || fields.msg === "dialer: listening"
    );
    assert.ok(line?.fields.listen, `no listen address in:\n${this.log}`);
    return line.fields.listen;
  }

  /** The tunnel's port. */
  get port(): number {
    return Number(this.listen.slice(this.listen.lastIndexOf(":") + 1));
  }

  #endpoint(message: string): string {
    // The last: out of descriptors they lose their port, and may be given another for 0.
    const line = this.lines.findLast(({ fields }) => fields.msg === message);
    assert.ok(line?.fields.addr, `no "${message}" in:\n${this.log}`);
    return `http://${line.fields.addr}`;
  }

  /** One of the probes: status and body. */
  async probe(path: string): Promise<{ status: number; body: Record<string, unknown> }> {
    const response = await fetch(this.#endpoint("health server listening") + path);
    return { status: response.status, body: await response.json() };
  }

  /** Where the probes are. */
  get healthUrl(): string {
    return this.#endpoint("health server listening");
  }

  /** Where the metrics are. */
  get metricsUrl(): string {
    return this.#endpoint("metrics server listening");
  }

  /** Every series by `name{labels}`. */
  async metrics(): Promise<ReadonlyMap<string, number>> {
    const response = await fetch(`${this.#endpoint("metrics server listening")}/metrics`);
    const series = new Map<string, number>();
    for (const line of (await response.text()).split("\n")) {
      const match = /^([^#\s]\S*(?:\{[^}]*\})?) (\S+)$/.exec(line);
      if (match?.[1] !== undefined) series.set(match[1], Number(match[2]));
    }
    return series;
  }

  /** Waits until a series has this value. */
  async waitForMetric(
    series: string,
    wanted: number | ((value: number) => boolean),
  ): Promise<void> {
    let seen: number | undefined;
    await until(async () => {
      seen = (await this.metrics()).get(series);
      return seen !== undefined && (typeof wanted === "number" ? seen === wanted : wanted(seen));
    }, { what: () => `${series} ${wanted}, is ${seen}` });
  }

  /** Sends a signal. */
  kill(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  /** Waits for the end; the exit status. */
  async exit(): Promise<number> {
    const { code } = await this.#child.status;
    await this.#reading;
    return code;
  }

  /** SIGTERM and the end; the exit status. */
  async stop(): Promise<number> {
    if (this.#status === undefined) this.kill("SIGTERM");
    return await this.exit();
  }

  /** The process may have ended a moment ago, which nothing has reported yet. */
  #killUnlessEnded(signal: Deno.Signal): void {
    try {
      this.kill(signal);
    } catch (error) {
      if (!(error instanceof TypeError) && !(error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  /** Ends it, whatever it does. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#status === undefined) {
      this.#killUnlessEnded("SIGTERM");
      // A drain may be waiting for connections that the test has forgotten.
      const hard = setTimeout(() => this.#killUnlessEnded("SIGKILL"), 3000);
      await this.#child.status;
      clearTimeout(hard);
    }
    await this.#reading;
  }
}

/** Takes a line of slog's text format, or of JSON, apart. */
export function parseLogLine(line: string): Record<string, string> {
  const fields: Record<string, string> = {};
  if (line.startsWith("{")) {
    for (const [key, value] of Object.entries(JSON.parse(line))) fields[key] = String(value);
    return fields;
  }
  for (const [, key, quoted, bare] of line.matchAll(/([a-z_]+)=(?:("(?:[^"\\]|\\.)*")|(\S*))/g)) {
    if (key !== undefined) fields[key] = quoted === undefined ? bare ?? "" : unquote(quoted);
  }
  return fields;
}

function unquote(quoted: string): string {
  try {
    return JSON.parse(quoted.replace(/\\x([0-9a-f]{2})/g, "\\u00$1").replace(/\\a/g, "\\u0007"));
  } catch {
    return quoted; // An escape that JSON does not know: the raw text says enough.
  }
}

/** Starts a daemon and waits until it serves. */
export async function startDaemon(settings: DaemonSettings): Promise<TestDaemon> {
  const config = {
    health: { enabled: true, listen: "127.0.0.1:0" },
    metrics: { enabled: true, listen: "127.0.0.1:0" },
    ...settings.config,
  };
  const configPath = join(settings.dir, `config-${Deno.pid}-${count++}.yaml`);
  await Deno.writeTextFile(configPath, stringify(config));
  const flags = settings.flags ?? await flagsFor(configPath);
  const [command = Deno.execPath(), ...args] = [
    ...settings.wrapper ?? [],
    Deno.execPath(),
    "run",
    ...flags,
    ...(settings.preload === undefined ? [] : ["--preload", settings.preload]),
    settings.program ?? MAIN,
    ...settings.args?.(configPath) ?? [configPath],
  ];
  const child = new Deno.Command(command, {
    args,
    cwd: ROOT,
    env: { NO_COLOR: "1" },
    stdin: settings.stdin ? "piped" : "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  if (settings.stdin) await giveConfig(child, configPath);
  const daemon = new TestDaemon(child, configPath);
  if (settings.expectFailure) return daemon;
  try {
    await daemon.waitForLog("certstore: watching files for changes");
  } catch (error) {
    await daemon[Symbol.asyncDispose]();
    throw error;
  }
  return daemon;
}

async function giveConfig(child: Deno.ChildProcess, configPath: string): Promise<void> {
  const writer = child.stdin.getWriter();
  await writer.write(await Deno.readFile(configPath));
  await writer.close();
}

/** What `mtlsd grants` prints for a config file. */
export async function flagsFor(configPath: string): Promise<readonly string[]> {
  const result = parseConfig(await Deno.readTextFile(configPath), configPath);
  assert.ok(result.ok, result.ok ? "" : result.problems.map(formatProblem).join("\n"));
  const grants = formatGrants(grantsFor(result.config, configPath));
  assert.ok(grants.ok, grants.ok ? "" : grants.problems.join("\n"));
  return grants.line.split(" ");
}

/** Runs `mtlsd` with these arguments to its end. */
export async function mtlsd(
  args: readonly string[],
  options: { readonly flags?: readonly string[]; readonly stdin?: string; readonly cwd?: string } =
    {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  const { flags = ["--no-prompt", "--allow-net", "--allow-read"], stdin, cwd = ROOT } = options;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", ...flags, MAIN, ...args],
    cwd,
    env: { NO_COLOR: "1" },
    stdin: stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  if (stdin !== undefined) {
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(stdin));
    await writer.close();
  }
  const { code, stdout, stderr } = await child.output();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

/** The lines that the log has at this level. */
export function linesAt(daemon: TestDaemon, level: "DEBUG" | "INFO" | "WARN" | "ERROR"): string[] {
  return daemon.lines.filter(({ fields }) => fields.level === level).map(({ raw }) => raw);
}

/** How many lines have this message. */
export function countLog(daemon: TestDaemon, message: string): number {
  return daemon.lines.filter(({ fields }) => fields.msg === message).length;
}

/** No stack trace, no names of JavaScript's errors. */
export function assertPlain(text: string): void {
  assert.doesNotMatch(text, /^\s+at |\.ts:\d|NotCapable|TypeError|Uncaught|internal error/m, text);
}
