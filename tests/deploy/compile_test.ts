/**
 * The binaries cannot be run without the runtime that `deno compile` downloads, which may not be
 * reachable: each task is run as it stands with a program that stands in for it, and what comes of that
 * is looked into.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { join } from "node:path";
import { shell } from "../support/readme.ts";
import { type Cpu, embedded, kindOf, standIn, type System } from "../support/stand_in.ts";
import { Clone } from "../support/walkthrough.ts";

const ROOT = join(import.meta.dirname ?? ".", "..", "..");

const { tasks } = JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json"))) as {
  readonly tasks: Readonly<Record<string, string>>;
};

const BUNDLE = "deno task bundle && ";

/** Words of a task after `deno compile` or `deno run`. */
function words(name: string): readonly string[] {
  const task = tasks[name] ?? "";
  if (name === "start") return task.replace(/^deno run /, "").split(" ");
  assert.ok(task.startsWith(`${BUNDLE}deno compile `), task);
  return task.slice(`${BUNDLE}deno compile `.length).split(" ");
}

function valueOf(args: readonly string[], flag: string): string | undefined {
  const at = args.indexOf(flag);
  return at === -1 ? undefined : args[at + 1];
}

const COMPILE = Object.keys(tasks).filter((name) => /^compile(:|$)/.test(name));

async function compile(args: readonly string[]): Promise<string> {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["compile", ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  assert.equal(success, false, "it was to fail");
  return new TextDecoder().decode(stderr);
}

Deno.test("there is a task for this machine and for each system", () => {
  assert.deepEqual(COMPILE, [
    "compile",
    "compile:linux-x64",
    "compile:linux-arm64",
    "compile:macos-x64",
    "compile:macos-arm64",
    "compile:windows-x64",
  ]);
});

Deno.test("each binary is granted what the daemon is started with, and nothing else", () => {
  const grants = (name: string) =>
    words(name).filter((word) => word === "-A" || /^--(allow|deny|no-prompt|ignore)/.test(word));
  const v8Flags = (name: string) => words(name).filter((word) => word.startsWith("--v8-flags="));
  assert.deepEqual(grants("start"), ["--no-prompt", "--allow-net", "--allow-read"]);
  for (const name of COMPILE) {
    assert.deepEqual(grants(name), grants("start"), name);
    assert.equal(words(name).at(-1), "dist/mtlsd.js", name);
    assert.deepEqual(v8Flags(name), v8Flags("start"), name);
    const rest = words(name).filter((word) =>
      word.startsWith("-") && ![...grants(name), ...v8Flags(name)].includes(word)
    );
    const own = name === "compile" ? ["--output"] : ["--target", "--output"];
    // The bundle is whole: with the config of this directory, all of its packages would come along.
    assert.deepEqual(rest, ["--no-config", "--no-npm", ...own], name);
  }
});

Deno.test("each target is one that this Deno knows, and the one that its name says", async () => {
  const [, list = ""] = /possible values: (.+)/.exec(await compile(["--target", "none", "x.ts"])) ??
    [];
  const known = list.split(", ");
  assert.ok(known.length >= 5, list);
  const parts = {
    linux: "unknown-linux-gnu",
    macos: "apple-darwin",
    windows: "pc-windows-msvc",
    x64: "x86_64",
    arm64: "aarch64",
  } as Readonly<Record<string, string>>;
  for (const name of COMPILE.slice(1)) {
    const target = valueOf(words(name), "--target") ?? "";
    const [, system = "", cpu = ""] = /^compile:(\w+)-(\w+)$/.exec(name) ?? [];
    assert.equal(target, `${parts[cpu]}-${parts[system]}`);
    assert.ok(known.includes(target), target);
  }
});

Deno.test("no two binaries have one name, and all are in dist/, which git ignores", async () => {
  const outputs = COMPILE.map((name) => valueOf(words(name), "--output") ?? "");
  assert.equal(new Set(outputs).size, COMPILE.length);
  for (const output of outputs) assert.match(output, /^dist\/mtlsd(-\w+-\w+)?(\.exe)?$/);
  assert.deepEqual(outputs.filter((output) => output.endsWith(".exe")), [
    "dist/mtlsd-windows-x64.exe",
  ]);
  assert.match(await Deno.readTextFile(join(ROOT, ".gitignore")), /^\/dist\/$/m);
});

Deno.test("a wrong flag would be found", async () => {
  assert.match(await compile(["--allow-nett", "tests/no_such_module.ts"]), /unexpected argument/);
});

/** The flags that give a program what a binary gives it. */
function flagsOf(permissions: Readonly<Record<string, readonly string[] | boolean | null>>) {
  return Object.entries(permissions).flatMap(([key, value]) => {
    if (key === "prompt") return value === true ? [] : ["--no-prompt"];
    if (value === null || typeof value === "boolean") return [];
    const flag = `--${key.replaceAll("_", "-")}`;
    return [value.length === 0 ? flag : `${flag}=${value.join(",")}`];
  });
}

Deno.test("each task makes a binary for its system that holds the bundle and its grants", async (t) => {
  await using clone = await Clone.make((text) => text);
  const bundlePath = join(clone.dir, "dist", "mtlsd.js");
  for (const name of COMPILE) {
    await t.step(name, async () => {
      const [, system, cpu] = /^compile:(\w+)-(\w+)$/.exec(name) ?? [];
      // For this machine, the runtime that runs this test.
      let runtime = Deno.execPath();
      if (system !== undefined) {
        runtime = join(clone.dir, `runtime-${system}-${cpu}`);
        await Deno.writeFile(runtime, standIn(system as System, cpu as Cpu), { mode: 0o755 });
      }
      const made = await clone.run(`DENORT_BIN='${runtime}' deno task ${name}`);
      assert.equal(made.code, 0, made.stderr);

      const output = valueOf(words(name), "--output") ?? "";
      const path = join(clone.dir, output);
      const { mode } = await Deno.stat(path);
      assert.equal((mode ?? 0) & 0o111, 0o111);
      const binary = Buffer.from(await Deno.readFile(path));
      if (system !== undefined) assert.deepEqual(kindOf(binary), { system, cpu });
      const { metadata, files } = embedded(binary);

      assert.deepEqual([...files.keys()], ["mtlsd.js"]);
      assert.equal(metadata.entrypoint_key, "mtlsd.js");
      const bundle = Buffer.from(await Deno.readFile(bundlePath));
      assert.ok(files.get("mtlsd.js")?.equals(bundle), "another program");
      assert.deepEqual(metadata.argv, []);
      assert.equal(metadata.node_modules, null);
      assert.equal(metadata.workspace_resolver.import_map, null);
      assert.deepEqual(metadata.env_vars_from_env_file, {});
      assert.equal(metadata.unsafely_ignore_certificate_errors, null);
      assert.ok(metadata.v8_flags.includes("--max-semi-space-size=4"), String(metadata.v8_flags));

      const { allow_import: _, ...permissions } = metadata.permissions;
      const given = Object.entries(permissions).filter(([, value]) => value !== null);
      assert.deepEqual(Object.fromEntries(given), { allow_net: [], allow_read: [], prompt: false });

      // What is in it is a program that runs with what is granted to it.
      const program = await Deno.makeTempFile({ dir: clone.dir, suffix: ".js" });
      await Deno.writeFile(program, files.get("mtlsd.js") ?? new Uint8Array());
      const run = await clone.run(`deno run ${flagsOf(permissions).join(" ")} ${program} version`);
      assert.equal(run.code, 0, run.stderr);
      assert.match(run.stdout, /^mtlsd \d+\.\d+\.\d+ \(Deno .*\)\n$/);
    });
  }
  // Over what was there before, too.
  const again = await clone.run(`DENORT_BIN='${Deno.execPath()}' deno task compile`);
  assert.equal(again.code, 0, again.stderr);
});

Deno.test("README: a binary with the grants of one config", async () => {
  await using clone = await Clone.make((text) => text);
  await Deno.copyFile(join(clone.dir, "examples/server.yaml"), join(clone.dir, "server.yaml"));
  const [command = ""] = shell("compile");
  const made = await clone.run(
    `deno task bundle\nexport DENORT_BIN='${Deno.execPath()}'\n${command}`,
  );
  assert.equal(made.code, 0, made.stderr);
  const grants = await clone.run("deno task start grants server.yaml");
  const binary = Buffer.from(await Deno.readFile(join(clone.dir, "dist", "mtlsd")));
  const { allow_import: _, ...permissions } = embedded(binary).metadata.permissions;
  assert.deepEqual(
    flagsOf(permissions).toSorted(),
    grants.stdout.trim().split(" ").filter((flag) => !flag.startsWith("--v8-flags=")).toSorted(),
  );
});

Deno.test("a program that is none is not taken for one", () => {
  for (const system of ["linux", "macos", "windows"] as const) {
    for (const cpu of ["x64", "arm64"] as const) {
      const bytes = standIn(system, cpu);
      assert.deepEqual(kindOf(bytes), { system, cpu });
      assert.throws(() => embedded(Buffer.from(bytes)), /Cannot find a program/);
    }
  }
  assert.equal(kindOf(new Uint8Array(64)), undefined);
});

Deno.test("the program runs under these grants", async () => {
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", ...words("start"), "version"],
    cwd: ROOT,
  }).output();
  assert.equal(code, 0);
  assert.match(new TextDecoder().decode(stdout), /^mtlsd \d+\.\d+\.\d+ \(Deno .*\)\n$/);
});
