/**
 * What the tests of the deployment examples share: the examples as text and as data, the grants that
 * their configs take, and the same configs made fit for this machine.
 *
 * @module
 */

import assert from "node:assert/strict";
import { basename, join } from "node:path";
import { parse } from "yaml";
import { parseConfig } from "../../../src/config/load.ts";
import { formatProblem } from "../../../src/config/problem.ts";
import { formatGrants, grantsFor } from "../../../src/control/grants.ts";
import { ROOT } from "../daemon.ts";

/** Where a file or directory of `examples/` is. */
export function examplePath(...names: readonly string[]): string {
  return join(ROOT, "examples", ...names);
}

/** The text of a file of `examples/`. */
export function example(...names: readonly string[]): Promise<string> {
  return Deno.readTextFile(examplePath(...names));
}

/**
 * Whether tests that need a program are to be left out: it is not there, which is said. With `CI` set
 * they are not, and fail.
 */
export function absent(command: string, debianPackage: string): boolean {
  const found = (Deno.env.get("PATH") ?? "").split(":").some((dir) => {
    try {
      return Deno.statSync(join(dir, command)).isFile;
    } catch {
      return false; // Not in this one.
    }
  });
  if (found || Deno.env.has("CI")) return false;
  const text = `ignored: no ${command}; Debian has it in the package ${debianPackage}\n`;
  Deno.stderr.writeSync(new TextEncoder().encode(text));
  return true;
}

/** How a program came out. */
export type Outcome = { readonly code: number; readonly stdout: string; readonly stderr: string };

/** Runs a program to its end. */
export async function run(
  command: string,
  args: readonly string[],
  options: {
    readonly cwd?: string;
    readonly stdin?: string;
    readonly env?: Record<string, string>;
  } = {},
): Promise<Outcome> {
  const { stdin, ...rest } = options;
  const child = new Deno.Command(command, {
    args: [...args],
    ...rest,
    stdin: stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const output = child.output();
  if (stdin !== undefined) await new Blob([stdin]).stream().pipeTo(child.stdin);
  const { code, stdout, stderr } = await output;
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

/** What stands at a path of parsed YAML or JSON; `undefined` where there is nothing. */
export function at(value: unknown, ...keys: readonly (string | number)[]): unknown {
  return keys.reduce<unknown>(
    (outer, key) =>
      typeof outer === "object" && outer !== null
        ? (outer as Readonly<Record<string | number, unknown>>)[key]
        : undefined,
    value,
  );
}

/** The text that stands there. */
export function textAt(value: unknown, ...keys: readonly (string | number)[]): string {
  const found = at(value, ...keys);
  assert.ok(typeof found === "string", `${keys.join(".")}: ${JSON.stringify(found)} is no text`);
  return found;
}

/** The number that stands there. */
export function numberAt(value: unknown, ...keys: readonly (string | number)[]): number {
  const found = at(value, ...keys);
  assert.ok(typeof found === "number", `${keys.join(".")}: ${JSON.stringify(found)} is no number`);
  return found;
}

/** The list that stands there; where there is nothing, an empty one. */
export function listAt(value: unknown, ...keys: readonly (string | number)[]): readonly unknown[] {
  const found = at(value, ...keys) ?? [];
  assert.ok(Array.isArray(found), `${keys.join(".")}: ${JSON.stringify(found)} is no list`);
  return found;
}

/** The list of texts that stands there. */
export function textsAt(value: unknown, ...keys: readonly (string | number)[]): readonly string[] {
  return listAt(value, ...keys).map((item) => textAt({ item }, "item"));
}

/** Seconds of `45s`, `15m` or `2h`. */
export function seconds(text: string): number {
  const [, number = "", unit = ""] = /^(\d+)([smh])$/.exec(text) ?? [];
  const factor = { s: 1, m: 60, h: 3600 }[unit];
  assert.ok(factor !== undefined, `${text} is no duration`);
  return Number(number) * factor;
}

/** The port of `host:port`. */
export function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(":") + 1));
}

/** The flags that `mtlsd grants` prints for a config at a path that need not be there. */
export function grantsOf(text: string, path: string): readonly string[] {
  const result = parseConfig(text, path);
  assert.ok(result.ok, result.ok ? "" : result.problems.map(formatProblem).join("\n"));
  const grants = formatGrants(grantsFor(result.config, path));
  assert.ok(grants.ok, grants.ok ? "" : grants.problems.join("\n"));
  return grants.line.split(" ");
}

/**
 * A command line that runs mtlsd has, after what is for Deno, the grants of its config, the program and
 * the config's path, and nothing else.
 */
export function assertGranted(words: readonly string[], text: string, path: string): void {
  const from = words.indexOf("--no-prompt");
  assert.notEqual(from, -1, words.join(" "));
  assert.deepEqual(words.slice(from, -2), grantsOf(text, path));
  assert.match(words.at(-2) ?? "", /(^|\/)src\/main\.ts$/);
  assert.equal(words.at(-1), path);
  for (const word of words.slice(0, from)) assert.doesNotMatch(word, /^(-A|--allow|--deny)/);
}

/** How a command line starts Deno. */
export type Start = {
  /** All that Deno finds in its environment. */
  readonly variables: Readonly<Record<string, string>>;
  /** The path of Deno. */
  readonly deno: string;
  /** What Deno is given. */
  readonly rest: readonly string[];
};

/** Takes a command line apart that gives Deno an environment of its own, and keeps SIGUSR1 from it. */
export function startOf(words: readonly string[]): Start {
  const at = words.findIndex((word) => /(^|\/)deno$/.test(word));
  const [env, clean, block, ...assignments] = words.slice(0, at);
  assert.deepEqual([env, clean, block], ["/usr/bin/env", "-i", "--block-signal=USR1"], `${words}`);
  const variables = Object.fromEntries(assignments.map((word) => {
    const [, name = "", value = ""] = /^(\w+)=(.*)$/.exec(word) ?? [];
    assert.notEqual(name, "", `${word} is no variable`);
    return [name, value];
  }));
  return { variables, deno: words[at] ?? "", rest: words.slice(at + 1) };
}

/** What a config of a deployment cannot have here. */
export type Local = {
  readonly target: string;
  /** The directory of a UNIX socket that it listens on. */
  readonly sockets?: string;
  readonly tls: Readonly<Record<string, unknown>>;
};

/** A config of a deployment, with addresses and files of this machine in place of its own. */
export function localConfig(text: string, local: Local): Readonly<Record<string, unknown>> {
  const config: unknown = parse(text);
  const endpoint = (name: string) => ({
    enabled: at(config, name, "enabled"),
    listen: "127.0.0.1:0",
  });
  return {
    ...config as Readonly<Record<string, unknown>>,
    listen: localListen(textAt(config, "listen"), local.sockets),
    target: local.target,
    tls: { ...at(config, "tls") as Readonly<Record<string, unknown>>, ...local.tls },
    health: endpoint("health"),
    metrics: endpoint("metrics"),
  };
}

function localListen(address: string, sockets: string | undefined): string {
  if (!address.startsWith("unix:")) return "127.0.0.1:0";
  assert.ok(sockets !== undefined, `${address}: no directory is given for it`);
  return `unix:${join(sockets, basename(address))}`;
}
