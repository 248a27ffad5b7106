/**
 * The binaries cannot be built without the runtime that `deno compile` downloads, so the tasks are
 * kept right by their words: `deno compile` itself has to understand them, and they have to grant
 * what `deno task start` grants.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";

const ROOT = join(import.meta.dirname ?? ".", "..");

const { tasks } = JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json"))) as {
  readonly tasks: Readonly<Record<string, string>>;
};

/** Words of a task after `deno compile` or `deno run`. */
function words(name: string): readonly string[] {
  const [deno, command, ...rest] = (tasks[name] ?? "").split(" ");
  assert.equal(deno, "deno");
  assert.equal(command, name.startsWith("compile") ? "compile" : "run");
  return rest;
}

function valueOf(args: readonly string[], flag: string): string | undefined {
  const at = args.indexOf(flag);
  return at === -1 ? undefined : args[at + 1];
}

const COMPILE = Object.keys(tasks).filter((name) => /^compile(:|$)/.test(name));

async function compile(args: readonly string[]): Promise<string> {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["compile", "--no-config", ...args],
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
  const engine = (name: string) => words(name).filter((word) => word.startsWith("--v8-flags="));
  assert.deepEqual(grants("start"), ["--no-prompt", "--allow-net", "--allow-read"]);
  for (const name of COMPILE) {
    assert.deepEqual(grants(name), grants("start"), name);
    assert.equal(words(name).at(-1), "src/main.ts", name);
    assert.deepEqual(engine(name), engine("start"), name);
    const rest = words(name).filter((word) =>
      word.startsWith("-") && ![...grants(name), ...engine(name)].includes(word)
    );
    assert.deepEqual(rest, name === "compile" ? ["--output"] : ["--target", "--output"], name);
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

Deno.test("deno compile takes the flags: all that it misses is the module", async () => {
  // A module that is not there ends it before anything is downloaded.
  for (const name of COMPILE) {
    const said = await compile([...words(name).slice(0, -1), "tests/no_such_module.ts"]);
    assert.match(said, /Cannot find module|Module not found/, `${name}: ${said}`);
  }
  assert.match(await compile(["--allow-nett", "tests/no_such_module.ts"]), /unexpected argument/);
});

Deno.test("the program runs under these grants", async () => {
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", ...words("start"), "version"],
    cwd: ROOT,
  }).output();
  assert.equal(code, 0);
  assert.match(new TextDecoder().decode(stdout), /^mtlsd \d+\.\d+\.\d+ \(Deno .*\)\n$/);
});
