import assert from "node:assert/strict";
import { join } from "node:path";
import plugin, {
  LOADED_BY_DATA_PLANE,
  PACKAGES,
  PRIVATE_EXCEPTIONS,
  roomOf,
  ROOMS,
} from "./layers.ts";
import { filesOf, ROOT } from "./source.ts";

/** What the rules report for a file at `path` in the repository: `rule: message`. */
function lint(path: string, source: string): string[] {
  return Deno.lint.runPlugin(plugin, join(ROOT, path), source)
    .map(({ id, message }) => `${id.replace("layers/", "")}: ${message}`);
}

/** For each rule: code that it must report, and code that no rule may report. */
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
      ["src/acl/mod.ts", 'import "../../tests/support/x.ts";', /is outside src/],
      ["src/acl/mod.ts", 'import "../../src/../tests/x.ts";', /is outside src/],
      ["src/tls/server.ts", 'await import("../worker.ts");', /tls must not import worker/],
      [
        "src/worker.ts",
        'import type { X } from "./control/x.ts";',
        /worker must not import control/,
      ],
      ["src/proxy/x.ts", 'import "../certstore/load.ts";', /proxy must not import certstore/],
      ["src/new.ts", "export {};", /"new\.ts" belongs to no room/],
      ["src/new/thing.ts", "export {};", /"new\/thing\.ts" belongs to no room/],
      ["src/control/x.ts", "await import(name);", /target of an import must be a string/],
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
    name: "pure",
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
    name: "tls-in-its-rooms",
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
    name: "packages",
    bad: [
      ["src/proxy/x.ts", 'import * as z from "zod";', /only src\/config\/ may import "zod"/],
      [
        "src/worker.ts",
        'await import("npm:yaml@2.9.1");',
        /only src\/config\/ may import "npm:yaml/,
      ],
      ["src/tls/x.ts", 'import type { Counter } from "prom-client";', /only src\/admin\//],
      ["src/control/x.ts", 'import * as x509 from "@peculiar/x509";', /only src\/pki\//],
      ["src/commands/x.ts", 'import "reflect-metadata/lite";', /only src\/pki\//],
      ["src/acl/mod.ts", 'import fc from "fast-check";', /src\/ must not import "fast-check"/],
      ["src/main.ts", 'await import("npm:fast-check@4.10.2");', /"npm:fast-check@4\.10\.2"/],
      ["src/net/x.ts", 'import { delay } from "jsr:@std/async";', /src\/ must not import "jsr:/],
      ["src/net/x.ts", 'import "https://deno.land/x/y.ts";', /src\/ must not import "https:/],
      [
        "src/commands/certs.ts",
        'import { makePki } from "../pki/mod.ts";',
        /must not be loaded with/,
      ],
      ["src/commands/certs.ts", 'export * from "../pki/mod.ts";', /must not be loaded with/],
      ["src/proxy/x.ts", 'import { x } from "../config/load.ts";', /data plane must not load/],
      ["src/worker.ts", 'await import("./config/schema.ts");', /data plane must not load/],
      ["src/log/x.ts", 'export { x } from "../config/yaml.ts";', /data plane must not load/],
    ],
    good: [
      ["src/config/x.ts", 'import * as z from "zod"; import { parse } from "yaml";'],
      ["src/config/x.ts", 'import { x } from "./schema.ts";'],
      ["src/admin/x.ts", 'import { Counter } from "prom-client";'],
      ["src/pki/mod.ts", 'import "reflect-metadata"; import * as x from "@peculiar/x509";'],
      ["src/pki/names.ts", 'import { x } from "./mod.ts";'],
      [
        "src/commands/certs.ts",
        'import type { Pki } from "../pki/mod.ts"; await import("../pki/mod.ts");',
      ],
      ["src/proxy/x.ts", 'import type { TunnelConfig } from "../config/load.ts";'],
      ["src/proxy/x.ts", 'import { formatAddress } from "../config/address.ts";'],
      ["src/control/x.ts", 'import { parseConfig } from "../config/load.ts";'],
      ["src/main.ts", 'import "./fast-check.ts";'],
      ["tests/unit/acl/properties_test.ts", 'import fc from "fast-check";'],
      ["tests/unit/pki/mod_test.ts", 'import { makePki } from "../../../src/pki/mod.ts";'],
    ],
  },
  {
    name: "private-parts",
    bad: [
      ["src/tls/x.ts", 'Reflect.get(socket, "_handle");', /only src\/native\/ may use _handle/],
      ["src/net/x.ts", "socket._handle.close();", /may use _handle/],
      ["src/net/x.ts", 'socket["_handle"];', /may use _handle/],
      ["src/net/x.ts", '"_handle" in socket;', /may use _handle/],
      ["src/net/x.ts", "const { _handle: handle } = socket;", /may use _handle/],
      ["src/proxy/x.ts", 'process.binding("tcp_wrap");', /may use process\.binding/],
      ["src/proxy/x.ts", 'Reflect.get(process, "binding");', /may use binding/],
      ["src/proxy/x.ts", "internalBinding(name);", /may use internalBinding/],
      ["src/proxy/x.ts", "Deno[Deno.internal];", /may use Deno\.internal/],
      ["src/net/x.ts", 's.description === "Deno.internal.rid";', /may use Deno\.internal\.rid/],
      ["src/net/x.ts", "Object.getOwnPropertySymbols(conn);", /may use getOwnPropertySymbols/],
      ["src/tls/x.ts", "socket.emit = mine;", /may use an emit of its own/],
      [
        "src/control/x.ts",
        'import { x } from "../native/tls.ts";',
        /only src\/worker\.ts may import/,
      ],
      ["src/control/x.ts", 'import type { X } from "../native/tls.ts";', /only src\/worker\.ts/],
    ],
    good: [
      ["src/native/x.ts", 'Reflect.get(socket, "_handle"); Reflect.get(process, "binding");'],
      ["src/native/x.ts", 'import { x } from "./tcp.ts"; Object.getOwnPropertySymbols(x);'],
      ["src/worker.ts", 'import { nativeTls } from "./native/tls.ts";'],
      ["src/tls/x.ts", 'stream.emit("data", bytes); function f(_permit: Permit) { _permit; }'],
      [
        "src/tls/x.ts",
        'const text = "binding"; channel.binding; config.internal; "_"; "snake_case";',
      ],
      ["tests/unit/native/x_test.ts", 'Reflect.get(socket, "_handle");'],
    ],
  },
  {
    name: "support-alone",
    bad: [
      [
        "tests/support/x.ts",
        'import { y } from "../unit/tls/y.ts";',
        /must not import "\.\.\/unit/,
      ],
      ["tests/support/x.ts", 'import type { Y } from "../bench/y.ts";', /must not import/],
      ["tests/support/a/x.ts", 'await import("../../faults/y.ts");', /must not import/],
    ],
    good: [
      [
        "tests/support/x.ts",
        'import { y } from "./y.ts"; import "../../src/main.ts"; import "yaml";',
      ],
      ["tests/support/a/x.ts", 'import { y } from "../y.ts";'],
      ["tests/bench/x.ts", 'import { y } from "../faults/y.ts"; import "../support/z.ts";'],
    ],
  },
];

for (const { name, bad, good } of SAMPLES) {
  Deno.test(`${name}: wrong code is reported`, () => {
    for (const [path, source, message] of bad) {
      const found = lint(path, source).filter((line) => line.startsWith(`${name}: `));
      assert.equal(found.length, 1, `${path}: ${source}: ${found.join("; ")}`);
      assert.match(found[0] ?? "", message);
    }
  });

  Deno.test(`${name}: right code is not reported by any rule`, () => {
    for (const [path, source] of good) assert.deepEqual(lint(path, source), [], path);
  });
}

Deno.test("every rule has samples", () => {
  assert.deepEqual(Object.keys(plugin.rules).sort(), SAMPLES.map(({ name }) => name).sort());
});

Deno.test("deno lint runs the plugins of deno.json and fails on what they report", async () => {
  const { lint } = JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json")));
  assert.deepEqual(lint.plugins, ["./tests/lint/layers.ts", "./tests/lint/words.ts"]);
  const dir = await Deno.makeTempDir();
  try {
    await Deno.mkdir(join(dir, "src"));
    await Deno.mkdir(join(dir, "tests", "lint"), { recursive: true });
    await Deno.writeTextFile(join(dir, "deno.json"), JSON.stringify({ lint }));
    for (const name of ["layers.ts", "source.ts", "words.ts"]) {
      await Deno.copyFile(join(ROOT, "tests", "lint", name), join(dir, "tests", "lint", name));
    }
    await Deno.writeTextFile(
      join(dir, "src", "identity.ts"),
      '// Judges peers.\nexport * from "./acl/mod.ts";\n',
    );
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["lint", "src"],
      cwd: dir,
      env: { NO_COLOR: "1" },
    }).output();
    assert.equal(code, 1);
    const text = new TextDecoder().decode(stderr);
    assert.match(text, /error\[layers\/downwards\]: identity must not/);
    assert.match(text, /error\[words\/words\]: "Judges" in a comment/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("every file of src has a room, and every room of the table has files", async () => {
  const files = await filesOf(join(ROOT, "src"));
  const rooms = new Set(files.map((file) => roomOf(file)));
  assert.deepEqual(ROOMS.filter((room) => !rooms.has(room)), []);
  const without = files.filter((file) => file.endsWith(".ts") && roomOf(file) === undefined);
  assert.deepEqual(without, []);
  const both = ROOMS.filter((room) =>
    files.includes(`${room}.ts`) && files.some((file) => file.startsWith(`${room}/`))
  );
  assert.deepEqual(both, [], "a module is a folder or a file, never both");
});

Deno.test("the exceptions in the rules exist", async () => {
  for (const [path, names] of Object.entries(PRIVATE_EXCEPTIONS)) {
    const source = await Deno.readTextFile(join(ROOT, "src", path));
    for (const name of names) assert.ok(source.includes(name), `${path} does not use ${name}`);
  }
  const { imports } = JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json")));
  assert.deepEqual(Object.keys(PACKAGES).filter((name) => !(name in imports)), []);
});

/** A module of `deno info --json`; a dependency without `code` is of types alone. */
type Module = {
  readonly specifier: string;
  readonly dependencies?: readonly { readonly code?: { readonly specifier?: string } }[];
};

/** Every module that a program loads, by its URL, on demand too; not those of which it has types. */
async function graphOf(path: string): Promise<string[]> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", path],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  const info: { readonly roots: readonly string[]; readonly modules: readonly Module[] } = JSON
    .parse(new TextDecoder().decode(stdout));
  const modules = new Map(info.modules.map((module) => [module.specifier, module]));
  const loaded = new Set(info.roots);
  for (const specifier of loaded) {
    for (const { code } of modules.get(specifier)?.dependencies ?? []) {
      if (code?.specifier !== undefined) loaded.add(code.specifier);
    }
  }
  return [...loaded];
}

/** Neither ours nor the runtime's. */
function packagesIn(modules: readonly string[]): string[] {
  return modules.filter((specifier) => !/^(file|node):/.test(specifier));
}

Deno.test("the data plane loads no package and no file of the control plane", async () => {
  const modules = await graphOf("src/worker.ts");
  assert.ok(modules.some((specifier) => specifier.endsWith("/src/proxy/pipeline.ts")));
  assert.deepEqual(packagesIn(modules), []);
  const source = new URL("../../src/", import.meta.url).href;
  const above = ROOMS.slice(ROOMS.indexOf("worker") + 1);
  for (const specifier of modules.filter((specifier) => specifier.startsWith(source))) {
    const room = roomOf(specifier.slice(source.length));
    assert.ok(room !== undefined && !above.some((other) => other === room), specifier);
  }
  // The check finds what there is to find.
  assert.notDeepEqual(packagesIn(await graphOf("src/main.ts")), []);
});

for (const path of LOADED_BY_DATA_PLANE) {
  Deno.test(`${path}, which the data plane may load, loads no package`, async () => {
    assert.deepEqual(packagesIn(await graphOf(`src/${path}`)), []);
  });
}

Deno.test("the tree keeps to the rules", async () => {
  for (const folder of ["src", "tests/support"]) {
    for (const file of await filesOf(join(ROOT, folder))) {
      if (!file.endsWith(".ts")) continue;
      const path = `${folder}/${file}`;
      assert.deepEqual(lint(path, await Deno.readTextFile(join(ROOT, path))), [], path);
    }
  }
});
