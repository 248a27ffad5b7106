/**
 * What every command line and every config of the deployment examples has, wherever it stands.
 *
 * @module
 */

import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { ROOT } from "../support/daemon.ts";
import { examplePath, textAt } from "./support.ts";

/** The files of a folder of `examples` and of those below it, with their text. */
async function texts(folder: string): Promise<readonly (readonly [path: string, text: string])[]> {
  const found: (readonly [string, string])[] = [];
  const dir = examplePath(folder);
  for (const { name, isDirectory } of Deno.readDirSync(dir)) {
    if (isDirectory) found.push(...await texts(join(folder, name)));
    else found.push([join(dir, name), await Deno.readTextFile(join(dir, name))]);
  }
  return found;
}

async function everything(): Promise<readonly (readonly [path: string, text: string])[]> {
  return (await Promise.all(["docker", "kubernetes", "systemd"].map(texts))).flat();
}

Deno.test("deployment: wherever mtlsd is run, the engine's memory is kept small, as by the task", async () => {
  const tasks: unknown = JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json")));
  const flags = /--v8-flags=(\S+)/.exec(textAt(tasks, "tasks", "start"))?.[1] ?? "";
  assert.match(flags, /^--max-semi-space-size=\d+$/);
  const running = (await everything()).filter(([path, text]) =>
    !path.endsWith(".md") && text.includes("--no-prompt") && text.includes("src/main.ts")
  );
  // An image, a composition, two units, two workloads.
  assert.equal(running.length, 6);
  for (const [path, text] of running) {
    assert.match(text, new RegExp(`--v8-flags=\\S*${flags}(?=[\\s",\\]])`), path);
  }
});

Deno.test("deployment: every config names the schema, for editors", async () => {
  const configs = (await everything()).filter(([path, text]) =>
    path.endsWith(".yaml") && /^mode: (server|client|bridge)$/m.test(text)
  );
  assert.equal(configs.length, 4);
  for (const [path, text] of configs) {
    const [, schema = ""] = /^# yaml-language-server: \$schema=(\S+)\n/.exec(text) ?? [];
    // What is installed beside the program, or a file of the repository.
    if (schema.startsWith("/opt/mtlsd/")) {
      const readme = await Deno.readTextFile(join(dirname(path), "README.md"));
      assert.match(readme, new RegExp(`^cp .*${schema.split("/").at(-1)}.* /opt/mtlsd/$`, "m"));
    } else {
      assert.ok(await Deno.stat(join(dirname(path), schema || "no schema is named")), path);
    }
  }
});
