/**
 * What the daemon loads, and what it asks the runtime for while it starts, serves and stops.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { ROOT, startDaemon } from "../../support/daemon.ts";
import { ask, lineBackend } from "../../support/peers.ts";
import { testPki, writePki } from "../../support/pki.ts";

type Dependency = {
  readonly code?: { readonly specifier?: string };
  readonly isDynamic?: boolean;
};
type Module = {
  readonly specifier: string;
  readonly kind: string;
  readonly npmPackage?: string;
  readonly dependencies?: readonly Dependency[];
};
type Graph = {
  readonly modules: readonly Module[];
  readonly redirects: Readonly<Record<string, string>>;
  readonly npmPackages: Readonly<
    Record<string, { readonly name: string; readonly dependencies: readonly string[] }>
  >;
};

/** What is loaded with a module at once: no types, nothing that is imported while it runs. */
type Loaded = { readonly modules: ReadonlySet<string>; readonly packages: ReadonlySet<string> };

async function loadedBy(path: string): Promise<Loaded> {
  const { stdout, success } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", path],
    cwd: ROOT,
    stderr: "null",
  }).output();
  assert.ok(success);
  const graph = JSON.parse(new TextDecoder().decode(stdout)) as Graph;
  const all = new Map(graph.modules.map((module) => [module.specifier, module]));
  const modules = new Set<string>();
  const packages = new Set<string>();
  const addPackage = (id: string): void => {
    const found = graph.npmPackages[id];
    assert.ok(found !== undefined, `${id} is not in the graph`);
    if (packages.has(found.name)) return;
    packages.add(found.name);
    for (const dependency of found.dependencies) addPackage(dependency);
  };
  const add = (specifier: string): void => {
    const real = graph.redirects[specifier] ?? specifier;
    if (modules.has(real)) return;
    modules.add(real);
    const module = all.get(real);
    if (module?.npmPackage !== undefined) addPackage(module.npmPackage);
    for (const { code, isDynamic = false } of module?.dependencies ?? []) {
      if (code?.specifier !== undefined && !isDynamic) add(code.specifier);
    }
  };
  add(new URL(`file://${join(ROOT, path)}`).href);
  return { modules, packages };
}

/** The packages that the daemon imports, and what these bring along. */
const DAEMON_PACKAGES = [
  "@opentelemetry/api",
  "bintrees",
  "prom-client",
  "tdigest",
  "yaml",
  "zod",
];

Deno.test("startup: the daemon's module graph has what it needs, and no certificate library", async () => {
  const { modules, packages } = await loadedBy("src/commands/run.ts");
  assert.ok([...modules].some((name) => name.endsWith("/src/tls/server.ts")));
  assert.deepEqual([...packages].sort(), DAEMON_PACKAGES);
  for (const name of modules) assert.doesNotMatch(name, /peculiar|reflect-metadata|src\/pki/);
});

Deno.test("startup: the program itself loads no package before it knows the command", async () => {
  const { packages } = await loadedBy("src/main.ts");
  assert.deepEqual([...packages], []);
});

Deno.test("startup: the walk does see a certificate library where there is one", async () => {
  const { packages } = await loadedBy("src/pki/mod.ts");
  assert.ok(packages.has("@peculiar/x509") && packages.has("reflect-metadata"));
});

Deno.test("startup: reflect-metadata, which marks the global it extends, was not loaded", async () => {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      'await import("./src/commands/run.ts"); console.log("getMetadata" in Reflect);' +
      'await import("./src/pki/mod.ts"); console.log("getMetadata" in Reflect);',
    ],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder();
  assert.equal(code, 0, text.decode(stderr));
  assert.equal(text.decode(stdout), "false\ntrue\n");
});

Deno.test("startup: nothing but sockets and files is asked for from start to stop", async () => {
  const dir = await Deno.makeTempDir({ prefix: "mtlsd-startup-" });
  try {
    const pki = testPki();
    const files = writePki(join(dir, "certs"), pki);
    const audit = join(dir, "audit.jsonl");
    await using backend = lineBackend();
    const config = {
      mode: "server",
      listen: "127.0.0.1:0",
      target: backend.address,
      tls: { cert: files.server, key: files.serverKey, ca: files.ca },
    };
    await using daemon = await startDaemon({
      config,
      dir,
      // Deno itself writes each thing that a program asks for to this file.
      wrapper: ["env", `DENO_AUDIT_PERMISSIONS=${audit}`],
      flags: ["--no-prompt", "--allow-net", "--allow-read"],
    });
    const answer = await ask({ port: daemon.port, ca: pki.ca.pem, identity: pki.client }, "hello");
    assert.equal(answer, "echo: hello");
    assert.equal((await daemon.probe("/certz")).status, 200);
    assert.ok((await daemon.metrics()).has("process_cpu_seconds_total"));
    daemon.kill("SIGHUP");
    await daemon.waitForLog("certstore: certificates reloaded successfully");
    assert.equal(await daemon.stop(), 0);

    const asked = (await Deno.readTextFile(audit)).trim().split("\n").map((line) =>
      JSON.parse(line) as { readonly permission: string; readonly value: string }
    );
    const kinds = new Set(asked.map(({ permission }) => permission));
    // Opening a file to read notes "write" too, of the same path, which no flag granted.
    kinds.delete("write");
    assert.deepEqual([...kinds].sort(), ["net", "read"]);
    const read = new Set(
      asked.filter(({ permission }) => permission === "read").map(({ value }) => value),
    );
    for (const { permission, value } of asked) {
      if (permission === "write") assert.ok(read.has(value), value);
      if (permission === "read") assert.ok(value.startsWith(dir), value);
      if (permission === "net") assert.match(value, /^127\.0\.0\.1:/);
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("startup: it serves where everything else is denied outright", async () => {
  const dir = await Deno.makeTempDir({ prefix: "mtlsd-startup-" });
  try {
    const pki = testPki();
    const files = writePki(join(dir, "certs"), pki);
    await using backend = lineBackend();
    const config = {
      mode: "server",
      listen: "127.0.0.1:0",
      target: backend.address,
      tls: { cert: files.server, key: files.serverKey, ca: files.ca },
      logging: { level: "debug" },
    };
    await using daemon = await startDaemon({
      config,
      dir,
      flags: [
        ...["--no-prompt", "--allow-net", "--allow-read"],
        ...["--deny-env", "--deny-sys", "--deny-write", "--deny-run", "--deny-ffi"],
        ...["--deny-import", "--cached-only"],
      ],
    });
    const answer = await ask({ port: daemon.port, ca: pki.ca.pem, identity: pki.client }, "hello");
    assert.equal(answer, "echo: hello");
    assert.equal((await daemon.probe("/readyz")).status, 200);
    assert.ok((await daemon.metrics()).has("process_resident_memory_bytes"));
    assert.equal(await daemon.stop(), 0);
    assert.doesNotMatch(daemon.log, /NotCapable|Requires|internal error/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
