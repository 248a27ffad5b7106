/**
 * `dist/mtlsd.js`, as `deno task bundle` makes it in a clone: the same bytes everywhere, all that it
 * needs, and a daemon like the one of `src/main.ts`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { portable } from "../../.ci/bundle.ts";
import { MAIN, mtlsd, startDaemon } from "../support/daemon.ts";
import { ask, lineBackend } from "../support/peers.ts";
import { testPki, writePki } from "../support/pki.ts";
import { shell } from "../support/readme.ts";
import { Clone, loopback } from "../support/walkthrough.ts";

const LOCK = JSON.stringify({
  npm: { "zod@4.6.7": {}, "@a/b@1.2.3-rc.1": {}, "p@1.0.0_q@2.0.0": {} },
});

Deno.test("bundle: modules are named by what they are, wherever the package cache lies", () => {
  const bundle = (cache: string) =>
    [
      "// src/main.ts",
      'var x = "// src/none.js";',
      `// ${cache}zod/4.6.7/v4/core/util.js`,
      "var init_util = __esm({",
      `  "${cache}zod/4.6.7/v4/core/util.js"() {`,
      `// ${cache}@a/b/1.2.3-rc.1/build/index.mjs`,
      `  "${cache}p/1.0.0/lib/9.9.9/p.cjs"(exports, module) {`,
      "// @__NO_SIDE_EFFECTS__",
    ].join("\n");
  const expected = [
    "// src/main.ts",
    'var x = "// src/none.js";',
    "// npm:zod@4.6.7/v4/core/util.js",
    "var init_util = __esm({",
    '  "npm:zod@4.6.7/v4/core/util.js"() {',
    "// npm:@a/b@1.2.3-rc.1/build/index.mjs",
    '  "npm:p@1.0.0/lib/9.9.9/p.cjs"(exports, module) {',
    "// @__NO_SIDE_EFFECTS__",
  ].join("\n");
  for (
    const cache of [
      "../../../root/.cache/deno/npm/registry.npmjs.org/",
      "../.deno/npm/packages.example.com/repository/npm/",
      "/var/cache/npm/registry.npmjs.org/",
    ]
  ) {
    assert.equal(portable(bundle(cache), LOCK), expected, cache);
  }
  // Once done it is done.
  assert.equal(
    portable(expected.replace(/.*npm:.*\n/g, ""), LOCK),
    expected.replace(/.*npm:.*\n/g, ""),
  );
});

Deno.test("bundle: a module that is neither of this program nor of the lock file is an error", () => {
  for (
    const path of [
      "../npm/registry.npmjs.org/zod/4.6.8/index.js",
      "../npm/registry.npmjs.org/zodd/4.6.7/index.js",
      "../../src/main.ts",
      "tests/support/wait.ts",
    ]
  ) {
    assert.throws(() => portable(`// ${path}\n`, LOCK), /neither in src\/ nor in deno\.lock/, path);
  }
});

Deno.test("bundle: of the program", async (t) => {
  const own = loopback();
  await using clone = await Clone.make((text) => text.replaceAll("127.0.0.1", own));
  const made = await clone.run("deno task bundle");
  assert.equal(made.code, 0, made.stderr);
  const program = join(clone.dir, "dist", "mtlsd.js");
  const text = await Deno.readTextFile(program);

  await t.step("is the same from another directory with another package cache", async () => {
    // The real cache by another name: nothing is fetched twice.
    const cache = await clone.run("deno info --json");
    const { denoDir } = JSON.parse(cache.stdout) as { readonly denoDir: string };
    const other = await clone.run(
      `mkdir -p cache other/place && ln -s '${denoDir}'/* cache/
       cp -r .ci deno.json deno.lock src other/place && cd other/place
       DENO_DIR="$PWD/../../cache" deno task bundle`,
    );
    assert.equal(other.code, 0, other.stderr);
    assert.ok(await Deno.readTextFile(join(clone.dir, "other/place/dist/mtlsd.js")) === text);
    const here = new RegExp([clone.dir, denoDir, "\\.cache/", "registry\\.npmjs"].join("|"));
    assert.deepEqual(text.match(here), null);
  });

  await t.step("runs as the chapter says", async () => {
    const [, build, start = ""] = (shell("bundle")[0] ?? "").split("\n");
    assert.equal(build, "deno task bundle");
    const certs = await clone.run("deno task certs");
    assert.equal(certs.code, 0, certs.stderr);
    await using daemon = clone.start(start);
    await daemon.waitFor("certstore: watching files for changes");
    const [, find = ""] = (shell("find")[0] ?? "").split("\n");
    const found = await clone.run(find.replace("pgrep", `pgrep -g ${daemon.group}`));
    assert.match(daemon.printed, new RegExp(`msg="mtlsd starting" .* pid=${found.stdout.trim()} `));
    daemon.interrupt();
    assert.equal(await daemon.exit(), 0, daemon.printed);
  });

  await t.step("is asked before it replaces another one, as the chapter says", async () => {
    const config =
      "mkdir new && cp dist/mtlsd.js . && cp dist/mtlsd.js new && cp examples/server.yaml .";
    assert.equal((await clone.run(config)).code, 0);
    const said = await clone.run(shell("upgrade")[0] ?? "exit 9");
    assert.equal(said.code, 0, said.stderr);
    assert.match(said.stdout, /^mtlsd \S+ \(Deno [^]*\nserver\.yaml: ok\n$/);
    // Another version that takes another grant.
    await clone.run("sed -i 's/--no-prompt/--no-prompt --other/' new/mtlsd.js");
    const differs = await clone.run(`${shell("upgrade")[0]} || exit $?`);
    assert.equal(differs.code, 1);
    assert.match(differs.stdout, /^> --no-prompt --other /m);
  });

  await t.step("takes nothing but the runtime's own modules", () => {
    const taken = [
      ...text.matchAll(/^import (?:[^"'\n]* from )?["']([^"']+)["'];$/gm),
      ...text.matchAll(/\b(?:__require|import|require)\(["']([^"']+)["']\)/g),
    ].map(([, name = ""]) => name);
    assert.ok(taken.length > 20, String(taken));
    assert.deepEqual(taken.filter((name) => !name.startsWith("node:")), []);
    // Languages of which no message is ever shown.
    assert.ok(!text.includes("ltige Eingabe"), "zod in German");
  });

  // Away from the repository, with an empty package cache and no way to fill it.
  const alone = await Deno.makeTempDir({ prefix: "mtlsd-bundle-" });
  await Deno.copyFile(program, join(alone, "mtlsd.js"));
  const bundle = join(alone, "mtlsd.js");
  const sealed = ["--no-config", "--no-remote", "--no-npm", "--cached-only", "--deny-import"];
  const cache = join(alone, "empty");
  const run = async (flags: readonly string[], ...args: readonly string[]) => {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", ...sealed, ...flags, bundle, ...args],
      cwd: clone.dir,
      env: { NO_COLOR: "1", DENO_DIR: cache },
    }).output();
    const decoder = new TextDecoder();
    return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
  };

  try {
    await t.step("says what the source says, without a package cache", async () => {
      const config = join(clone.dir, "examples/server.yaml");
      const wrong = ["several", "listen_bare_port", "unknown_key_hint", "tls_null", "null_key"];
      const calls = [
        ["version"],
        ["help"],
        ["help", "grants"],
        ["schema"],
        ["nonsense"],
        ["grants", config],
        ...wrong.map((name) => ["check", join("testdata/config/invalid", `${name}.yaml`)]),
      ];
      await clone.run(
        `mkdir -p testdata/config && cp -r '${
          join(MAIN, "../../testdata/config/invalid")
        }' testdata/config/`,
      );
      for (const args of calls) {
        const flags = ["--allow-read"];
        const said = await run(flags, ...args);
        const source = await mtlsd(args, { cwd: clone.dir });
        assert.deepEqual(said, source, args.join(" "));
        assert.ok(said.code === 0 || said.stderr !== "", args.join(" "));
        assert.doesNotMatch(said.stderr, /^ {4}at /m);
      }
    });

    await t.step("makes certificates", async () => {
      const out = join(alone, "certs");
      const said = await run(
        [`--allow-read=${out}`, `--allow-write=${out}`],
        "certs",
        "--out",
        out,
      );
      assert.equal(said.code, 0, said.stderr);
      assert.match(
        await Deno.readTextFile(join(out, "server.pem")),
        /^-----BEGIN CERTIFICATE-----/,
      );
    });

    await t.step("serves under the grants of its config, and asks for nothing else", async () => {
      const pki = testPki();
      const dir = join(alone, "daemon");
      await Deno.mkdir(dir);
      const files = writePki(join(dir, "certs"), pki);
      const audit = join(alone, "audit.jsonl");
      await using backend = lineBackend();
      await using daemon = await startDaemon({
        config: {
          mode: "server",
          listen: "127.0.0.1:0",
          target: backend.address,
          tls: { cert: files.server, key: files.serverKey, ca: files.ca },
          acl: { allow_cn: ["frontend-service"] },
          logging: { level: "debug" },
        },
        dir,
        program: bundle,
        wrapper: ["env", `DENO_DIR=${cache}`, `DENO_AUDIT_PERMISSIONS=${audit}`],
      });
      // The same handles of the runtime as from source.
      await daemon.waitForLog("carrying connections", { tcp: "native", tls: "native" });
      const hello = () => ask({ port: daemon.port, ca: pki.ca.pem, identity: pki.client }, "hello");
      assert.equal(await hello(), "echo: hello");
      assert.equal((await daemon.probe("/readyz")).status, 200);
      assert.ok((await daemon.metrics()).has("process_cpu_seconds_total"));
      daemon.kill("SIGHUP");
      await daemon.waitForLog("certstore: certificates reloaded successfully");
      assert.equal(await hello(), "echo: hello");
      assert.equal(await daemon.stop(), 0);
      assert.doesNotMatch(daemon.log, /NotCapable|Requires|internal error/);

      const asked = (await Deno.readTextFile(audit)).trim().split("\n").map((line) =>
        JSON.parse(line) as { readonly permission: string; readonly value: string }
      );
      for (const { permission, value } of asked) {
        if (permission === "net") assert.match(value, /^127\.0\.0\.1:/);
        else if (permission === "read" || permission === "write") {
          assert.ok(value.startsWith(dir), `${permission} ${value}`);
        } else assert.fail(`asked for ${permission} ${value}`);
      }
      assert.ok(asked.some(({ permission }) => permission === "net"));
    });
  } finally {
    await Deno.remove(alone, { recursive: true });
  }
});
