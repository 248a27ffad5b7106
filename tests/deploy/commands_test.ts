/**
 * What every command line and every config of the deployment examples has, wherever it stands.
 *
 * @module
 */

import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { parse } from "yaml";
import { ROOT } from "../support/daemon.ts";
import { commandOf, workload } from "../support/deploy/manifests.ts";
import { example, examplePath, run, startOf, textAt, textsAt } from "../support/deploy/examples.ts";
import { readUnit } from "../support/deploy/unit.ts";

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

/** Every command line of the examples that starts mtlsd. */
async function commands(): Promise<readonly (readonly string[])[]> {
  const dockerfile = (await example("docker", "Dockerfile")).replaceAll(/\\\n\s*/g, "");
  const lists = [...dockerfile.matchAll(/^ENTRYPOINT (\[.*\])$| CMD (\["\/.*\])$/gm)]
    .map(([, entry, check]) => textsAt({ list: JSON.parse(entry ?? check ?? "") }, "list"));
  const compose: unknown = parse(await example("docker", "compose.yaml"), { merge: true });
  const units = await Promise.all(
    ["server", "client"].map(async (mode) =>
      readUnit(await example("systemd", `mtlsd-${mode}.service`)).words("Service", "ExecStart")
    ),
  );
  const pods = await Promise.all(
    (["gateway", "sidecar"] as const).map(async (part) =>
      commandOf((await workload(part)).container)
    ),
  );
  return [...lists, textsAt(compose, "services", "client", "entrypoint"), ...units, ...pods];
}

Deno.test("deployment: Deno finds the variables of its command and no others, and never gets SIGUSR1", async () => {
  const all = await commands();
  // The image's two, the composition's, two units', two workloads'.
  assert.equal(all.length, 7);
  const hostile = {
    NODE_OPTIONS: "--require /nowhere/evil.cjs",
    DENO_SERVE_ADDRESS: "tcp:0.0.0.0:1",
  };
  for (const words of all) {
    const { variables, deno } = startOf(words);
    assert.deepEqual(Object.keys(variables), ["DENO_DIR", "DENO_NO_UPDATE_CHECK", "NO_COLOR"]);
    const [env = "", ...args] = words.slice(0, words.indexOf(deno));
    const see = ["/bin/cat", "/proc/self/environ", "/proc/self/status"];
    const { code, stdout, stderr } = await run(env, [...args, ...see], { env: hostile });
    assert.equal(code, 0, stderr);
    const found = stdout.split("\0");
    const status = found.pop() ?? "";
    assert.deepEqual(found, Object.entries(variables).map(([name, value]) => `${name}=${value}`));
    const blocked = BigInt(`0x${/^SigBlk:\s*(\w+)$/m.exec(status)?.[1] ?? "0"}`);
    assert.equal(blocked, 1n << 9n, status);
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
