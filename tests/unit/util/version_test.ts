/**
 * A runtime that mtlsd cannot run on is refused in one line, before anything that it may not know.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { isUntested, OLDEST_DENO, TESTED_DENO, unfitRuntime } from "../../../src/util/version.ts";

const ROOT = join(import.meta.dirname ?? ".", "..", "..", "..");
const MAIN = join(ROOT, "src", "main.ts");

Deno.test("version: what is older than the oldest is refused, and told what to do", () => {
  for (const old of ["1.0.0", "1.46.3", "2.0.0", "2.8.3", "2.8.99", "0.42.0", "1.46.3+1a2b3c4"]) {
    const said = unfitRuntime(old) ?? "";
    assert.match(said, /^Cannot run on Deno \S+: mtlsd needs Deno 2\.9 or newer; update it /, old);
    assert.ok(said.includes(`Deno ${old}:`) && !said.includes("\n"), said);
  }
  assert.match(unfitRuntime(undefined) ?? "", /^Cannot run without Deno: mtlsd needs Deno 2\.9 /);
});

Deno.test("version: the oldest and what is newer is taken", () => {
  for (const fit of ["2.9.0", "2.9.0-rc.1", "2.9.6", "2.9.6+abc", "2.10.0", "3.0.0", "10.0.0"]) {
    assert.equal(unfitRuntime(fit), undefined, fit);
  }
  assert.equal(unfitRuntime(OLDEST_DENO), undefined);
});

Deno.test("version: newer than what was tested is untested", () => {
  for (const old of ["2.9.0", TESTED_DENO, "2.8.7"]) assert.ok(!isUntested(old), old);
  for (const newer of ["2.9.7", "2.10.0", "3.0.0"]) assert.ok(isUntested(newer), newer);
  // What the tests run on is what they test.
  assert.ok(!isUntested(Deno.version.deno));
});

/** Runs mtlsd on a runtime that calls itself something else. */
async function under(version: string, ...args: readonly string[]) {
  const fake = `Object.defineProperty(Deno, "version", { value: ${
    JSON.stringify({ ...Deno.version, deno: version })
  } });`;
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--no-prompt", "--preload", `data:text/javascript,${encodeURIComponent(fake)}`],
      ...[MAIN, ...args],
    ],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

Deno.test("version: an older runtime gets one line and exit status 2, whatever it is asked", async () => {
  for (const args of [["version"], ["server.yaml"], ["no-such-command"], []]) {
    const { code, stdout, stderr } = await under("1.46.3", ...args);
    assert.deepEqual({ code, stdout }, { code: 2, stdout: "" });
    assert.equal(stderr, `${unfitRuntime("1.46.3")}\n`);
  }
});

Deno.test("version: on one that is too new it works, and says so", async () => {
  const { code, stdout, stderr } = await under("3.0.0", "version");
  assert.equal(code, 0);
  assert.match(stdout, /^mtlsd \S+ \(Deno 3\.0\.0, V8 \S+, native I\/O not in use\)\n$/);
  assert.equal(
    stderr,
    `warning: Deno 3.0.0 is newer than ${TESTED_DENO}, the newest that was tested\n`,
  );
});

Deno.test("version: mtlsd names itself, Deno, V8, and whether it uses native I/O", async () => {
  const { deno, v8 } = Deno.version;
  const { code, stdout, stderr } = await under(deno, "version");
  assert.deepEqual({ code, stderr }, { code: 0, stderr: "" });
  const { version } = JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json")));
  assert.equal(stdout, `mtlsd ${version} (Deno ${deno}, V8 ${v8}, native I/O in use)\n`);
});

Deno.test("version: what runs before the check is linked by every Deno", async () => {
  const imports = async (name: string): Promise<readonly string[]> => {
    const text = await Deno.readTextFile(join(ROOT, "src", name));
    return [...text.matchAll(/^(?:import|export)\b[^;]*?\bfrom "(.*)";|^import "(.*)";/gm)]
      .map(([, from, bare]) => from ?? bare ?? "");
  };
  assert.deepEqual(await imports("main.ts"), ["./util/version.ts"]);
  assert.deepEqual(await imports("util/version.ts"), []);
  // Deno 1.x ends over a config with this key in words, with a line that says nothing of versions.
  const config = JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json")));
  assert.ok(!("nodeModulesDir" in config));
});
