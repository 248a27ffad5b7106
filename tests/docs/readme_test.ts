/**
 * The README and the chapters against the code: their keys, defaults, commands and flags are those of
 * the program, their configs are files, and the reference is what `deno task docs` writes.
 *
 * @module
 */

import assert from "node:assert/strict";
import { basename, dirname, join } from "node:path";
import { COMMAND_NAMES, helpText } from "../../src/cli/mod.ts";
import { parseConfig } from "../../src/config/load.ts";
import { formatProblem } from "../../src/config/problem.ts";
import { knownKeys } from "../../src/config/keys.ts";
import { parse, stringify } from "yaml";
import { ROOT } from "../support/daemon.ts";
import {
  blocks,
  code,
  config,
  CONFIGS,
  DOCS,
  headings,
  section,
  table,
  TEXT,
} from "../support/readme.ts";

const { tasks } = JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json"))) as {
  readonly tasks: Readonly<Record<string, string>>;
};

/** The least that a config must have. */
const MINIMAL = {
  server: {
    mode: "server",
    listen: "127.0.0.1:8443",
    target: "127.0.0.1:8080",
    tls: { cert: "a.pem", key: "a-key.pem", ca: "ca.pem" },
  },
  client: {
    mode: "client",
    listen: "127.0.0.1:8081",
    target: "192.0.2.1:8443",
    tls: { cert: "a.pem", key: "a-key.pem", ca: "ca.pem" },
  },
};

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

Deno.test("readme: every config is a file that loads, and editors have its schema", async () => {
  assert.ok(CONFIGS.length >= 25, CONFIGS.join(" "));
  for (const path of CONFIGS) {
    const text = config(path);
    const result = parseConfig(text, path);
    assert.ok(result.ok, result.ok ? "" : result.problems.map(formatProblem).join("\n"));
    const [, schema = ""] = /^# yaml-language-server: \$schema=(\S+)\n/.exec(text) ?? [];
    // The units' configs lie in /etc, and the schema is installed with the program.
    if (path.startsWith("systemd/")) assert.equal(schema, "/opt/mtlsd/mtlsd.schema.json");
    else await Deno.stat(join(ROOT, "examples", dirname(path), schema));
  }
});

Deno.test("readme: the config with all defaults has all keys and the defaults", () => {
  const full = config("reference/defaults.yaml");
  const written = parseConfig(full, "full.yaml");
  const base = parse(full) as Record<string, Record<string, unknown>>;
  const { cert, key, ca } = base.tls ?? {};
  const { mode, listen, target } = base;
  const bare = parseConfig(stringify({ mode, listen, target, tls: { cert, key, ca } }), "x.yaml");
  assert.ok(written.ok && bare.ok);
  assert.deepEqual(written.config, bare.config);
  const missing = keys().filter((path) => {
    const [block = "", name] = path.split(".");
    return !(block in base) || (name !== undefined && !(name in (base[block] ?? {})));
  });
  assert.deepEqual(missing.toSorted(), [
    // Another kind of target or socket, another mode, no default.
    "proxy.balance",
    "proxy.socket_mode",
    "targets",
    "tls.intermediates",
    "tls.server_name",
    "tunnels",
    "upstream_acl.*",
    "upstream_tls.*",
  ]);
});

/** Every key that a config may have; those of the other side of a bridge as one. */
function keys(): readonly string[] {
  return knownKeys([]).flatMap((name) => {
    if (name.startsWith("upstream_")) return [`${name}.*`];
    const inner = knownKeys([name]);
    return inner.length === 0 ? [name] : inner.map((key) => `${name}.${key}`);
  });
}

Deno.test("readme: the keys of a bridge are those of the blocks that it says, but for some", () => {
  for (const block of ["tls", "acl"]) {
    const [, said = ""] = table("key").find(([key = ""]) => key === `\`upstream_${block}.*\``)
      ?.slice(2) ?? [];
    const [first, ...without] = code(said);
    assert.equal(first, block);
    assert.deepEqual(
      knownKeys([`upstream_${block}`]).toSorted(),
      knownKeys([block]).filter((key) => !without.includes(key)).toSorted(),
    );
  }
});

Deno.test("readme: every config of a chapter is run by a test, and the chapter names it", () => {
  const dir = join(ROOT, "tests", "docs");
  const tests = [...Deno.readDirSync(dir)].filter(({ name }) => name.endsWith("_test.ts"))
    .map(({ name }) => Deno.readTextFileSync(join(dir, name)));
  const chapters = CONFIGS.filter((path) => dirname(path) !== ".")
    // `tests/deploy` runs these.
    .filter((path) => !/^(docker|systemd)\//.test(path));
  assert.ok(chapters.length >= 20);
  for (const path of chapters) {
    assert.ok(tests.some((text) => text.includes(`${path}"`)), path);
    const pages = DOCS.filter((doc) => dirname(doc.path) === join("examples", dirname(path)));
    const name = basename(path);
    assert.ok(
      pages.some(({ text }) => text.includes(`<!-- file: ${name}`) || text.includes(`](${name})`)),
      path,
    );
  }
});

Deno.test("readme: every command that it shows is run by a test, but what takes Docker", () => {
  const asked = ["docs", "deploy"].flatMap((name) => {
    const dir = join(ROOT, "tests", name);
    return [...Deno.readDirSync(dir)].filter((entry) => entry.name.endsWith(".ts"))
      .map((entry) => Deno.readTextFileSync(join(dir, entry.name)));
  }).flatMap((text) => [...text.matchAll(/\b(?:shell|command|chapter\.run)\(["`]([^"`]+)["`]/g)])
    .map(([, words = ""]) => new RegExp(`^# ${words.replace(/\$\{\w+\}/g, "\\d+")}`));
  const [first, ...others] = blocks("sh");
  assert.equal(first?.doc, "README.md"); // `demo_test.ts` and `.ci/run` run these
  const missing = others.filter(({ text }) => !asked.some((one) => one.test(text)));
  assert.deepEqual(missing.map(({ doc, text }) => `${doc} ${text.split("\n")[0]}`), [
    "examples/upgrade/README.md # image",
  ]);
});

Deno.test("readme: every fault is provoked by a test, but one that only Go has", async () => {
  const dir = join(ROOT, "tests", "docs");
  const tests = await Promise.all(
    [...Deno.readDirSync(dir)].filter(({ name }) => name !== "readme_test.ts")
      .map(({ name }) => Deno.readTextFile(join(dir, name))),
  );
  const missing = table("fault").map(([fault = ""]) => fault)
    .filter((fault) => !tests.some((text) => text.includes(`"${fault}"`)));
  assert.deepEqual(missing, ["a gRPC client wants ALPN and there is none"]);
});

Deno.test("readme: the table of keys has exactly the keys that there are", () => {
  const rows = table("key");
  assert.deepEqual(
    rows.map(([key = ""]) => code(key)[0]).toSorted(),
    keys().toSorted(),
  );
});

Deno.test("readme: the defaults of the table are those of the code", () => {
  const parsed = parseConfig(stringify(MINIMAL.server), "x.yaml");
  assert.ok(parsed.ok);
  const { config } = parsed;
  const text = (path: string, value: unknown): string => {
    if (path === "proxy.socket_mode") return Number(value).toString(8).padStart(4, "0");
    if (Array.isArray(value)) return "[]";
    if (isMap(value)) return `${value.host}:${value.port}`;
    return String(value);
  };
  let count = 0;
  for (const [key = "", type = "", shown = ""] of table("key")) {
    const path = code(key)[0] ?? "";
    // Fourteen lists of the file are two of the config.
    const list = path.replace(/^acl\.(allow|deny)_(?!anonymous)\w+$/, "acl.$1");
    const [block = "", name] = list.split(".").map((part) =>
      part.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase())
    );
    const [wanted] = code(shown);
    // Required, or not there unless asked for.
    if (shown === "") continue;
    count++;
    const values: Readonly<Record<string, unknown>> = { ...config.tunnels[0], ...config };
    const inner = values[block];
    const value = name === undefined ? inner : isMap(inner) ? inner[name] : undefined;
    assert.notEqual(value, undefined, path);
    if (type === "duration") {
      // In the spelling of the config, read by the config.
      const [outer = "", last = ""] = path.split(".");
      const spelled = { ...MINIMAL.server, [outer]: { ...tlsOf(outer), [last]: wanted } };
      const again = parseConfig(stringify(spelled), "x.yaml");
      assert.ok(again.ok, path);
      assert.deepEqual(again.config, config, path);
    } else {
      assert.equal(text(path, value), wanted, path);
    }
  }
  assert.ok(count >= 35, `${count} defaults`);
});

function tlsOf(block: string): object {
  return block === "tls" ? MINIMAL.server.tls : {};
}

Deno.test("readme: every task that it names is there, and every task is named", () => {
  const named = new Set(
    [...TEXT.matchAll(/\bdeno(?:@[\d.]+)? task ([\w:-]+)/g)].map(([, t]) => t),
  );
  for (const name of named) assert.ok(name !== undefined && name in tasks, `deno task ${name}`);
  assert.deepEqual(Object.keys(tasks).filter((name) => !named.has(name)), []);
});

Deno.test("readme: the two commands are there, with the version that the project is made for", () => {
  const [first] = blocks("sh");
  assert.equal(first?.text, "npx -y deno@2.9.6 task demo\nnpx -y deno@2.9.6 task test");
  assert.deepEqual(
    [...new Set([...TEXT.matchAll(/deno@([\d.]+\d)/g)].map(([, version]) => version))],
    ["2.9.6"],
  );
});

Deno.test("readme: commands and flags are those of the program", () => {
  for (const name of COMMAND_NAMES) assert.ok(headings().includes(`mtlsd ${name}`), name);
  const text = section("Command line");
  const flagsOf = (said: string) => new Set(said.match(/(?<![\w-])--[a-z][\w-]+/g));
  const real = new Set([
    "--help",
    ...COMMAND_NAMES.flatMap((name) => [...flagsOf(helpText(name))]),
  ]);
  for (const flag of real) assert.ok(flagsOf(text).has(flag), `${flag} is not in the chapter`);
  for (const flag of flagsOf(text)) {
    assert.ok(real.has(flag) || flag.startsWith("--allow-"), `${flag} is not in the program`);
  }
});

Deno.test("readme: the exit statuses are those that help tells", () => {
  assert.deepEqual(table("code").map(([status]) => status), ["0", "1", "2"]);
  const statuses = helpText("run").match(/\b[0-9] (?=clean|failed|wrong)/g);
  assert.deepEqual(statuses, ["0 ", "1 ", "2 "]);
});
