/**
 * The products that are compared, and which of them are on this machine.
 *
 * @module
 */

import { join } from "node:path";
import { stringify } from "yaml";
import { flagsFor, ROOT } from "../support/daemon.ts";
import { nginxModule, setUpHaproxy, setUpNginx, setUpStunnel } from "./peers.ts";
import { IDLE_TIMEOUT, type Setup, type Side } from "./side.ts";
import { which } from "./which.ts";

/** Names of the subjects; `base` is mtlsd of another tree. */
export const SUBJECTS = ["mtlsd", "base", "haproxy", "nginx", "stunnel"] as const;

/** Name of a subject. */
export type SubjectName = typeof SUBJECTS[number];

/** A product. */
export type Subject = {
  readonly name: SubjectName;
  /** The Debian package, where it has one. */
  readonly debian?: string;
  /** What it says its version is. */
  readonly version: string;
  /** Writes the config and gives the command line. */
  readonly setUp: (side: Side) => Promise<Setup>;
};

/** A product that is not installed. */
export type Missing = { readonly name: SubjectName; readonly debian: string };

async function firstLine(argv: readonly string[]): Promise<string> {
  const [command = "", ...args] = argv;
  const { stdout, stderr } = await new Deno.Command(command, { args, stdin: "null" }).output();
  const text = new TextDecoder();
  const lines = `${text.decode(stdout)}\n${text.decode(stderr)}`.split("\n");
  return lines.find((line) => /\d\.\d/.test(line))?.trim() ?? "unknown version";
}

/** Finds a product on this machine; `tree` is where mtlsd's source is. */
export async function findSubject(name: SubjectName, tree: string): Promise<Subject | Missing> {
  switch (name) {
    case "mtlsd":
    case "base":
      return { name, version: await mtlsdVersion(tree), setUp: (side) => setUpMtlsd(tree, side) };
    case "haproxy":
      return await installed(name, "haproxy", "haproxy", setUpHaproxy);
    case "nginx": {
      const module = await nginxModule();
      if (module === undefined) return { name, debian: "libnginx-mod-stream" };
      return await installed(
        name,
        "libnginx-mod-stream",
        "nginx",
        (path, side) => setUpNginx(path, module, side),
      );
    }
    case "stunnel":
      return await installed(name, "stunnel4", "stunnel", setUpStunnel);
    default:
      return name satisfies never;
  }
}

async function installed(
  name: SubjectName,
  debian: string,
  binary: string,
  setUp: (path: string, side: Side) => Promise<Setup>,
): Promise<Subject | Missing> {
  const path = await which(binary);
  if (path === undefined) return { name, debian };
  const version = await firstLine([path, name === "stunnel" ? "-version" : "-v"]);
  return { name, debian, version, setUp: (side) => setUp(path, side) };
}

async function mtlsdVersion(tree: string): Promise<string> {
  const args = ["-C", tree, "log", "-1", "--format=%h %s"];
  const { code, stdout } = await new Deno.Command("git", { args, stderr: "null" }).output();
  const commit = code === 0 ? new TextDecoder().decode(stdout).trim() : "no git";
  return `Deno ${Deno.version.deno}, on top of ${commit}`;
}

/** Under its own grants, and with its defaults: a line of log when a connection comes. */
async function setUpMtlsd(tree: string, side: Side): Promise<Setup> {
  const { mode, files, dir, connections } = side;
  const server = mode === "server";
  const config = join(dir, "mtlsd.yaml");
  await Deno.writeTextFile(
    config,
    stringify({
      mode,
      listen: `127.0.0.1:${side.listen}`,
      target: `127.0.0.1:${side.target}`,
      tls: {
        cert: server ? files.server : files.client,
        key: server ? files.serverKey : files.clientKey,
        ca: side.ca ?? files.ca,
        min_version: "TLS1.3",
        ...(server ? {} : { server_name: "localhost" }),
        ...(side.crl === undefined ? {} : { crl: side.crl }),
      },
      proxy: { idle_timeout: IDLE_TIMEOUT, max_connections: connections },
    }),
  );
  const main = join(tree, "src", "main.ts");
  const flags = tree === await Deno.realPath(ROOT)
    ? await flagsFor(config)
    : await flagsOf(tree, main, config);
  const v8Flags = await v8FlagsOf(tree);
  return { argv: [Deno.execPath(), "run", ...v8Flags, ...flags, main, config], cwd: tree };
}

/** The flags of V8 that a tree's `start` task has. */
async function v8FlagsOf(tree: string): Promise<readonly string[]> {
  const { tasks } = JSON.parse(await Deno.readTextFile(join(tree, "deno.json")));
  const start: unknown = tasks?.start;
  if (typeof start !== "string") return [];
  return start.split(" ").filter((word) => word.startsWith("--v8-flags="));
}

/** What mtlsd of another tree says its grants are. */
async function flagsOf(tree: string, main: string, config: string): Promise<readonly string[]> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--allow-net", "--allow-read", main, "grants", config],
    cwd: tree,
  }).output();
  const text = new TextDecoder();
  if (code !== 0) throw new Error(`Cannot get the grants of mtlsd: ${text.decode(stderr).trim()}`);
  return text.decode(stdout).trim().split(" ");
}
