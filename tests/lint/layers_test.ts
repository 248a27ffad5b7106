import assert from "node:assert/strict";
import { join } from "node:path";
import plugin from "./layers.ts";

const ROOT = join(import.meta.dirname ?? ".", "..", "..");

/** What the rules say of a file at `path` in the project: `rule: message`. */
function lint(path: string, source: string): string[] {
  return Deno.lint.runPlugin(plugin, join(ROOT, path), source)
    .map(({ id, message }) => `${id.replace("layers/", "")}: ${message}`);
}

/** For each rule: where a piece of code is wrong, and where the same, or the right one, is fine. */
type Sample = {
  readonly name: string;
  readonly bad: readonly (readonly [path: string, source: string, message: RegExp])[];
  readonly good: readonly (readonly [path: string, source: string])[];
};

const SAMPLES: readonly Sample[] = [
  {
    name: "downwards",
    bad: [
      ["src/acl/mod.ts", 'import { x } from "../log/mod.ts";', /acl must not import log/],
      ["src/acl/mod.ts", 'import type { X } from "../log/mod.ts";', /acl must not import log/],
      ["src/acl/mod.ts", 'type X = import("../net/mod.ts").X;', /acl must not import net/],
      ["src/config/load.ts", 'export * from "../tls/client.ts";', /"\.\.\/tls\/client\.ts"/],
      ["src/x509/path.ts", 'export { x } from "../tls/client.ts";', /x509 must not import tls/],
      ["src/tls/server.ts", 'import "../proxy/pipeline.ts";', /tls must not import proxy/],
      ["src/admin/probes.ts", 'await import("../control/daemon.ts");', /must not import control/],
      ["src/proxy/tunnel.ts", 'import { x } from "../control/daemon.ts";', /must not import/],
      ["src/control/daemon.ts", 'import "../commands/run.ts";', /must not import commands/],
      ["src/commands/run.ts", 'import "../main.ts";', /commands must not import main/],
      ["src/acl/mod.ts", 'import "../../tests/support/pki.ts";', /is outside src/],
      ["src/acl/mod.ts", 'import "../../src/../tests/x.ts";', /is outside src/],
      ["src/new.ts", "export {};", /"new\.ts" has no layer/],
      ["src/new/thing.ts", "export {};", /"new\/thing\.ts" has no layer/],
    ],
    good: [
      ["src/acl/mod.ts", 'import { x } from "../identity.ts";'],
      ["src/tls/handshake.ts", 'import type { X } from "../outcome.ts";'],
      ["src/net/mod.ts", 'export { x } from "./dial.ts";'],
      ["src/proxy/pipeline.ts", 'import { x } from "../tls/client.ts"; import "../acl/mod.ts";'],
      ["src/control/daemon.ts", 'import { x } from "../proxy/tunnel.ts";'],
      ["src/main.ts", 'await import("./commands/run.ts"); import "./cli/mod.ts";'],
      ["src/config/schema.ts", 'import { z } from "zod"; export { z };'],
      ["tests/unit/acl/mod_test.ts", 'import "../../../src/main.ts";'],
      ["examples/echo.ts", 'import "../src/main.ts";'],
    ],
  },
  {
    name: "pure-domain",
    bad: [
      ["src/acl/mod.ts", 'Deno.readTextFile("x");', /must not use Deno/],
      ["src/acl/mod.ts", "const { env } = Deno;", /must not use Deno/],
      ["src/x509/path.ts", "globalThis.Deno.pid;", /must not use globalThis/],
      [
        "src/x509/path.ts",
        'import { verify } from "node:crypto";',
        /must not import "node:crypto"/,
      ],
      ["src/x509/path.ts", 'import { verify } from "crypto";', /must not import "crypto"/],
      ["src/identity.ts", 'await import("node:fs/promises");', /"node:fs\/promises"/],
      ["src/config/load.ts", 'import "node:process";', /"node:process"/],
      ["src/config/yaml.ts", 'import fs from "node:fs";', /"node:fs"/],
      ["src/config/load.ts", "process.env.HOME;", /must not use process/],
      ["src/config/load.ts", 'fetch("https://example.com");', /must not use fetch/],
      ["src/outcome.ts", "export const x = Deno.pid;", /must not use Deno/],
      ["src/cli/mod.ts", "export const x = Deno.args;", /must not use Deno/],
    ],
    good: [
      ["src/acl/mod.ts", 'const a = { Deno: 1 }; a.Deno; export const text = "Deno.exit";'],
      ["src/config/yaml.ts", 'import process from "node:process"; process.env = {};'],
      ["src/config/schema.ts", 'import { z } from "zod"; export { z };'],
      ["src/tls/signature.ts", 'import { verify } from "node:crypto"; verify; Deno.pid;'],
      ["src/net/mod.ts", "Deno.listen({ port: 0 });"],
      ["tests/unit/acl/mod_test.ts", "Deno.test(() => {});"],
    ],
  },
  {
    name: "tls-in-its-place",
    bad: [
      ["src/net/mod.ts", 'import tls from "node:tls";', /only src\/tls\//],
      ["src/certstore/load.ts", 'import type { X } from "node:tls";', /only src\/tls\//],
      ["src/proxy/tunnel.ts", 'await import("tls");', /only src\/tls\//],
      ["src/commands/run.ts", 'export { connect } from "node:tls";', /only src\/tls\//],
    ],
    good: [
      ["src/tls/server.ts", 'import tls from "node:tls";'],
      ["src/net/mod.ts", 'import net from "node:net";'],
      ["tests/unit/commands/certs_test.ts", 'import * as tls from "node:tls";'],
    ],
  },
  {
    name: "exit-in-main",
    bad: [
      ["src/control/daemon.ts", "Deno.exit(1);", /only src\/main\.ts may use Deno\.exit/],
      ["src/control/signals.ts", "globalThis.Deno?.exit(1);", /may use globalThis\.Deno\.exit/],
      ["src/admin/probes.ts", 'Deno["exit"](1);', /only src\/main\.ts/],
      ["src/admin/probes.ts", "const { exit } = Deno;", /only src\/main\.ts may use Deno\.exit/],
      [
        "src/admin/probes.ts",
        'import process from "node:process"; process.exit();',
        /process\.exit/,
      ],
    ],
    good: [
      ["src/main.ts", "Deno.exit(1);"],
      ["src/control/daemon.ts", "const exit = 1; exits.exit(exit); Deno.exitCode = 1;"],
      ["tests/x_test.ts", "Deno.exit(1);"],
    ],
  },
  {
    name: "pki-apart",
    bad: [
      ["src/commands/certs.ts", 'import "reflect-metadata";', /"reflect-metadata"/],
      ["src/tls/peer_verifier.ts", 'import * as x from "@peculiar/x509";', /"@peculiar\/x509"/],
      [
        "src/tls/peer_verifier.ts",
        'import type * as x from "@peculiar/x509";',
        /"@peculiar\/x509"/,
      ],
      ["src/admin/probes.ts", 'await import("npm:@peculiar/x509@2.2.0");', /"npm:@peculiar/],
      ["src/commands/certs.ts", 'import { makePki } from "../pki/mod.ts";', /must not be loaded/],
      ["src/commands/certs.ts", 'export * from "../pki/mod.ts";', /must not be loaded/],
    ],
    good: [
      ["src/pki/mod.ts", 'import "reflect-metadata"; import * as x from "@peculiar/x509";'],
      ["src/pki/names.ts", 'import * as x from "@peculiar/x509";'],
      [
        "src/commands/certs.ts",
        'import type { Pki } from "../pki/mod.ts"; await import("../pki/mod.ts");',
      ],
      ["tests/unit/pki/mod_test.ts", 'import { makePki } from "../src/pki.ts";'],
    ],
  },
  {
    name: "tests-apart",
    bad: [
      ["src/acl/mod.ts", 'import fc from "fast-check";', /src\/ must not import "fast-check"/],
      ["src/main.ts", 'await import("npm:fast-check@4.10.2");', /"fast-check"/],
    ],
    good: [
      ["tests/acl/properties_test.ts", 'import fc from "fast-check";'],
      ["src/main.ts", 'import "./fast-check.ts";'],
    ],
  },
];

for (const { name, bad, good } of SAMPLES) {
  Deno.test(`${name}: wrong code is found`, () => {
    for (const [path, source, message] of bad) {
      const found = lint(path, source).filter((line) => line.startsWith(`${name}: `));
      assert.equal(found.length, 1, `${path}: ${source}: ${found.join("; ")}`);
      assert.match(found[0] ?? "", message);
    }
  });

  Deno.test(`${name}: right code is let be, by all rules`, () => {
    for (const [path, source] of good) assert.deepEqual(lint(path, source), [], path);
  });
}

Deno.test("every rule has samples", () => {
  assert.deepEqual(Object.keys(plugin.rules).sort(), SAMPLES.map(({ name }) => name).sort());
});

Deno.test("deno lint runs the plugin and fails on what it finds", async () => {
  const { lint } = JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json")));
  assert.deepEqual(lint.plugins, ["./tests/lint/layers.ts"]);
  const dir = await Deno.makeTempDir();
  try {
    await Deno.mkdir(join(dir, "src"));
    await Deno.mkdir(join(dir, "tests", "lint"), { recursive: true });
    await Deno.writeTextFile(join(dir, "deno.json"), JSON.stringify({ lint }));
    await Deno.copyFile(join(ROOT, lint.plugins[0]), join(dir, lint.plugins[0]));
    await Deno.writeTextFile(join(dir, "src", "identity.ts"), 'export * from "./acl/mod.ts";\n');
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["lint", "src"],
      cwd: dir,
      env: { NO_COLOR: "1" },
    }).output();
    assert.equal(code, 1);
    assert.match(new TextDecoder().decode(stderr), /error\[layers\/downwards\]: identity must not/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

async function sources(dir: string): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of Deno.readDir(join(ROOT, dir))) {
    const path = `${dir}/${entry.name}`;
    if (entry.isDirectory) found.push(...await sources(path));
    else if (path.endsWith(".ts")) found.push(path);
  }
  return found;
}

Deno.test("the tree keeps to the rules", async () => {
  const files = await sources("src");
  assert.ok(files.includes("src/main.ts"));
  for (const file of files) {
    assert.deepEqual(lint(file, await Deno.readTextFile(join(ROOT, file))), [], file);
  }
});
