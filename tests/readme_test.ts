/**
 * The README against the code: whatever it lists is there, and whatever is there it lists. The
 * commands that it shows are run by `examples_test.ts` and `demo_test.ts`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { formatBasis } from "../src/acl/decision.ts";
import { DIMENSIONS, parseRule } from "../src/acl/rule.ts";
import { COMMAND_NAMES, helpText } from "../src/cli.ts";
import { explain } from "../src/commands/explain.ts";
import { parseConfig } from "../src/config/load.ts";
import { formatProblem } from "../src/config/problem.ts";
import { knownKeys } from "../src/config/schema.ts";
import { createMetrics } from "../src/metrics.ts";
import { CLOSE_REASONS, HANDSHAKE_REASONS } from "../src/proxy/outcome.ts";
import { parse, stringify } from "yaml";
import { ROOT } from "./support/daemon.ts";
import { dns, makeCa, makeLeaf } from "./support/pki.ts";
import { blocks, code, headings, prose, README, section, table } from "./support/readme.ts";

const { tasks } = JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json"))) as {
  readonly tasks: Readonly<Record<string, string>>;
};

/** All files of `src/`, by their path in it. */
function sources(dir = "src"): string[] {
  return [...Deno.readDirSync(join(ROOT, dir))].flatMap(({ name, isDirectory }) =>
    isDirectory ? sources(`${dir}/${name}`) : [`${dir}/${name}`]
  );
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(join(ROOT, path)) !== undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** What a fragment is put into. */
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

function merge(base: unknown, more: unknown): unknown {
  if (!isMap(base) || !isMap(more)) return more;
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(more)) {
    merged[key] = key in merged ? merge(merged[key], value) : value;
  }
  return merged;
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

Deno.test("readme: every YAML block is a config, or a part of one", () => {
  const all = blocks("yaml");
  assert.ok(all.length >= 6, `${all.length} blocks`);
  for (const { text, line } of all) {
    const whole = text.startsWith("# fragment")
      // Some keys are for one mode only.
      ? Object.values(MINIMAL).map((base) => stringify(merge(base, parse(text))))
      : [text];
    const results = whole.map((config) => parseConfig(config, `README.md, line ${line}`));
    const problems = results.flatMap((result) => result.ok ? [] : result.problems);
    assert.ok(results.some(({ ok }) => ok), problems.map(formatProblem).join("\n"));
  }
});

Deno.test("readme: the config with all defaults has all keys and the defaults", () => {
  const [full] = blocks("yaml").filter(({ text }) => text.includes("shutdown_timeout"));
  assert.ok(full !== undefined);
  const written = parseConfig(full.text, "full.yaml");
  const base = parse(full.text) as Record<string, Record<string, unknown>>;
  const { cert, key, ca } = base.tls ?? {};
  const { mode, listen, target } = base;
  const bare = parseConfig(stringify({ mode, listen, target, tls: { cert, key, ca } }), "x.yaml");
  assert.ok(written.ok && bare.ok);
  assert.deepEqual(written.config, bare.config);
  const missing = keys().filter((path) => {
    const [block = "", name] = path.split(".");
    return !(block in base) || (name !== undefined && !(name in (base[block] ?? {})));
  });
  assert.deepEqual(missing, ["tls.server_name"]);
});

/** Every key that a config may have. */
function keys(): readonly string[] {
  return knownKeys([]).flatMap((name) => {
    const inner = knownKeys([name]);
    return inner.length === 0 ? [name] : inner.map((key) => `${name}.${key}`);
  });
}

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
  const text = (value: unknown): string => {
    if (Array.isArray(value)) return "[]";
    if (isMap(value)) return `${value.host}:${value.port}`;
    return String(value);
  };
  for (const [key = "", type = "", shown = ""] of table("key")) {
    const path = code(key)[0] ?? "";
    // Fourteen lists of the file are two of the config.
    const list = path.replace(/^acl\.(allow|deny)_(?!anonymous)\w+$/, "acl.$1");
    const [block = "", name] = list.split(".").map((part) =>
      part.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase())
    );
    const [wanted] = code(shown);
    if (shown.startsWith("required") || path === "tls.server_name") continue;
    const values = config as unknown as Record<string, unknown>;
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
      assert.equal(text(value), wanted, path);
    }
  }
});

function tlsOf(block: string): object {
  return block === "tls" ? MINIMAL.server.tls : {};
}

Deno.test("readme: every task that it names is there, and every task is named", () => {
  const named = new Set(
    [...README.matchAll(/\bdeno(?:@[\d.]+)? task ([\w:-]+)/g)].map(([, t]) => t),
  );
  for (const name of named) assert.ok(name !== undefined && name in tasks, `deno task ${name}`);
  assert.deepEqual(Object.keys(tasks).filter((name) => !named.has(name)), []);
});

Deno.test("readme: the two commands are there, with the version that the project is made for", () => {
  const [first] = blocks("sh");
  assert.equal(first?.text, "npx -y deno@2.9.6 task demo\nnpx -y deno@2.9.6 task test");
  assert.deepEqual(
    [...new Set([...README.matchAll(/deno@([\d.]+\d)/g)].map(([, version]) => version))],
    ["2.9.6"],
  );
});

Deno.test("readme: commands and flags are those of the program", () => {
  const rows = table("command");
  const listed = rows.map(([command = ""]) => code(command)[0] ?? "");
  for (const name of COMMAND_NAMES) {
    assert.ok(listed.some((words) => words.split(" ")[0] === name), name);
  }
  for (const words of listed) {
    const [name = ""] = words.split(" ");
    assert.ok(COMMAND_NAMES.some((known) => known === name), words);
  }
  const text = section("Command line");
  const flagsOf = (said: string) => new Set(said.match(/(?<![\w-])--[a-z][\w-]+/g));
  const real = new Set([
    "--help",
    ...COMMAND_NAMES.flatMap((name) => [...flagsOf(helpText(name))]),
  ]);
  for (const flag of real) assert.ok(flagsOf(text).has(flag), `${flag} is not in the README`);
  for (const flag of flagsOf(text)) {
    assert.ok(real.has(flag) || flag.startsWith("--allow-"), `${flag} is not in the program`);
  }
});

Deno.test("readme: the exit statuses are those that help tells", () => {
  assert.deepEqual(table("code").map(([status]) => status), ["0", "1", "2"]);
  const statuses = helpText("run").match(/\b[0-9] (?=clean|failed|wrong)/g);
  assert.deepEqual(statuses, ["0 ", "1 ", "2 "]);
});

Deno.test("readme: the table of metrics is what is exposed: names, types and labels", async () => {
  const metrics = createMetrics({ version: "1" });
  // There from the first list on.
  metrics.crlNextUpdate(1);
  const text = await metrics.render();
  const types = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name, type]);
  const rows = table("metric");
  assert.deepEqual(
    rows.map(([name = "", type]) => [code(name)[0], type]).toSorted(),
    types.toSorted(),
  );
  for (const [cell = "", , labels = ""] of rows) {
    const name = code(cell)[0] ?? "";
    const found = new Map<string, Set<string>>();
    for (const [, inside = ""] of text.matchAll(new RegExp(`^${name}\\{(.*)\\}`, "gm"))) {
      for (const [, label = "", value = ""] of inside.matchAll(/(\w+)="([^"]*)"/g)) {
        found.set(label, (found.get(label) ?? new Set()).add(value));
      }
    }
    const [label, ...values] = code(labels);
    // The series of a certificate are there once one is loaded.
    if (label === "role") assert.deepEqual(values, ["own", "ca"]);
    else assert.deepEqual([...found.keys()], label === undefined ? [] : [label], name);
    if (label !== undefined && label !== "role" && values.length > 0) {
      assert.deepEqual(values, [...found.get(label) ?? []], name);
    }
  }
});

Deno.test("readme: the decision table has every way in which the rules decide", () => {
  const rows = table("the peer shows");
  const logged = (row: readonly string[]) => row[3] ?? "";
  const decided = (words: string) => rows.filter((row) => logged(row).includes(`"${words}"`));
  const outcomes = (words: string) => [...new Set(decided(words).map((row) => row[2]))];
  assert.deepEqual(outcomes(formatBasis({ kind: "anonymous" })), ["in"]);
  assert.deepEqual(outcomes(formatBasis({ kind: "anonymous_denied" })), ["out"]);
  assert.deepEqual(outcomes(formatBasis({ kind: "open" })), ["in"]);
  assert.deepEqual(outcomes(formatBasis({ kind: "no_match", nearest: undefined })), ["out"]);
  for (const side of ["allow", "deny"]) {
    const found = rows.filter((row) => logged(row).includes(`rule="acl.${side}_`));
    assert.deepEqual(found.map((row) => row[2]), [side === "allow" ? "in" : "out"]);
  }
  const result = rows.flatMap((row) => [...(row[4] ?? "").matchAll(/acl_decisions\{(\w+)\}/g)]);
  assert.deepEqual(
    [...new Set(result.map(([, value]) => value))].toSorted(),
    ["allowed", "denied", "would_deny"],
  );
  const messages = table("message").flatMap(([cell = ""]) => code(cell));
  for (const row of rows) {
    const [message = ""] = code(logged(row));
    assert.ok(messages.includes(message), message);
  }
});

Deno.test("readme: the table of dimensions has all of them, and its rules are rules", () => {
  const rows = table("dimension");
  assert.deepEqual(rows.map(([cell = ""]) => code(cell)[0]), [...DIMENSIONS]);
  for (const [index, dimension] of DIMENSIONS.entries()) {
    const examples = code(rows[index]?.[2] ?? "");
    assert.ok(examples.length > 0, dimension);
    for (const text of examples) {
      const rule = text === "sha256:" ? `sha256:${"A".repeat(43)}=` : text;
      assert.ok(parseRule(dimension, rule).ok, rule);
    }
  }
});

Deno.test("readme: what explain shows is what it prints", async () => {
  const shown = blocks("text").find(({ text }) => text.startsWith("verdict:"))?.text ?? "";
  const ca = makeCa({ subject: "example tunnel CA" });
  const own = makeLeaf({ subject: "db.example.com", san: [dns("db.example.com")] }, ca);
  const notAfter = new Date(Date.now() + 90 * 86_400_000);
  const peer = makeLeaf({ subject: { O: "acme", CN: "Frontend-Service" }, notAfter }, ca);
  const dir = await Deno.makeTempDir({ prefix: "mtlsd-readme-" });
  const lines: string[] = [];
  try {
    const write = async (name: string, text: string) => {
      await Deno.writeTextFile(join(dir, name), text);
      return join(dir, name);
    };
    const config = await write(
      "server.yaml",
      stringify({
        ...MINIMAL.server,
        tls: {
          cert: await write("server.pem", own.pem),
          key: await write("server-key.pem", own.keyPem),
          ca: await write("ca.pem", ca.pem),
        },
        acl: { allow_cn: ["frontend-service"] },
      }),
    );
    const cert = await write("peer.pem", peer.pem);
    const code = await explain({ config, cert }, {
      stdout: (line) => void lines.push(line),
      stderr: (line) => assert.fail(line),
    });
    assert.equal(code, 1);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
  // What differs from one certificate to the next.
  const general = (text: string) =>
    text.replace(/^(serial|valid|spki): .*$/gm, "$1: ...")
      .replace(/^chain: holds until \S+ \(\d+ days? left\)/m, "chain: holds");
  assert.equal(general(lines.join("\n")), general(shown));
});

Deno.test("readme: every reason is explained", () => {
  const reasons = (first: string) => table(first).map(([cell = ""]) => code(cell)[0]);
  assert.deepEqual(reasons("handshake reason"), [...HANDSHAKE_REASONS]);
  assert.deepEqual(reasons("close reason"), [...CLOSE_REASONS]);
});

Deno.test("readme: every message of the log that it lists is written somewhere", async () => {
  const text = (await Promise.all(sources().map((path) => Deno.readTextFile(join(ROOT, path)))))
    .join("\n");
  const listed = table("message").flatMap(([cell = ""]) => code(cell));
  assert.ok(listed.length >= 30);
  for (const message of listed) {
    // Both roles, and both small servers, write some of theirs through one line of code, which has
    // "${...}" in place of the name.
    const [, name, rest] =
      /^(listener|dialer|health server|metrics server)(:? .+)$/.exec(message) ??
        [];
    const shared = name !== undefined && text.includes(`"${name}"`) &&
      text.includes(`}${rest}\``);
    assert.ok(shared || text.includes(`"${message}"`), message);
  }
});

/** What the project promises to scripts; none may be missing from the table. */
const PROMISED = [
  "mtlsd starting",
  "certificates loaded",
  "listener: serving mTLS",
  "dialer: listening",
  "health server listening",
  "metrics server listening",
  "certstore: watching files for changes",
  "listener: accepted connection",
  "dialer: connected",
  "listener: denied connection",
  "listener: accept failed",
  "certstore: file changed, scheduling reload",
  "certstore: certificates reloaded successfully",
  "certstore: reload failed, keeping the previous certificates",
  "received SIGHUP, reloading certificates",
  "shutting down",
  "shutdown complete",
];

Deno.test("readme: every message that scripts look for is listed", () => {
  const listed = table("message").flatMap(([cell = ""]) => code(cell));
  assert.deepEqual(PROMISED.filter((message) => !listed.includes(message)), []);
});

Deno.test("readme: links lead somewhere", () => {
  const anchors = headings().map((title) =>
    title.toLowerCase().replace(/[^\w\- ]/g, "").replaceAll(" ", "-")
  );
  assert.equal(new Set(anchors).size, anchors.length, "two headings of one name");
  const links = [...prose().matchAll(/\]\(([^)]+)\)/g)].map(([, target = ""]) => target);
  assert.ok(links.length >= 4);
  for (const target of links) {
    if (target.startsWith("#")) assert.ok(anchors.includes(target.slice(1)), target);
    else assert.ok(exists(target), target);
  }
});

Deno.test("readme: every file that it names is there", () => {
  const paths = code(prose()).filter((text) =>
    /^(src|tests|examples|testdata|\.ci)\/[\w./]*$/.test(text)
  );
  assert.ok(paths.length >= 8);
  for (const path of paths) {
    if (/^testdata\/certs\b/.test(path)) continue; // which `deno task certs` makes
    assert.ok(exists(path), path);
  }
});

Deno.test("readme: the modules are those of src, each in its place", () => {
  const [layout] = blocks("text").filter(({ text }) => text.startsWith("src/\n"));
  const names = (layout?.text ?? "").split("\n").slice(1).flatMap((line) =>
    line.startsWith("─")
      ? []
      : /^ {2}((?:[\w/]+(?:\.ts|\/) ?)+)/.exec(line)?.[1]?.trim().split(" ") ?? []
  );
  const real = [...Deno.readDirSync(join(ROOT, "src"))].map(({ name, isDirectory }) =>
    isDirectory ? `${name}/` : name
  );
  assert.deepEqual(names.toSorted(), real.toSorted());
});

Deno.test("readme: the top level holds what it says and nothing else", async () => {
  const said = section("How it is built");
  const allowed = new Set(["README.md", "LICENSE"]);
  for (const name of code(/The top level holds([^.]*\.)+/.exec(said)?.[0] ?? "")) {
    allowed.add(name.replace(/\/$/, ""));
  }
  for (const name of ["src", "tests", "testdata", "examples", "deno.json", "deno.lock"]) {
    assert.ok(allowed.has(name), name);
  }
  for (const name of await tracked()) {
    assert.ok(name.startsWith(".") || allowed.has(name), `${name} does not belong there`);
  }
});

/** What is at the top level: as git sees it, or, where there is no git, what is not ignored. */
async function tracked(): Promise<readonly string[]> {
  const git = await run("git", ["ls-files", "--cached", "--others", "--exclude-standard"]);
  if (git !== undefined) {
    return [...new Set(git.split("\n").map((path) => path.split("/")[0] ?? ""))]
      .filter((name) => name !== "");
  }
  const ignored = (await Deno.readTextFile(join(ROOT, ".gitignore"))).split("\n")
    .map((line) => line.replace(/^\/|\/$/g, ""));
  return [...Deno.readDirSync(ROOT)].map(({ name }) => name)
    .filter((name) => !ignored.includes(name));
}

async function run(command: string, args: readonly string[]): Promise<string | undefined> {
  try {
    const { success, stdout } = await new Deno.Command(command, {
      args: [...args],
      cwd: ROOT,
      stderr: "null",
    }).output();
    return success ? new TextDecoder().decode(stdout) : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

Deno.test("readme: bounds that it tells are those of the code", async () => {
  const constant = async (path: string, name: string): Promise<string> => {
    const text = await Deno.readTextFile(join(ROOT, "src", path));
    return new RegExp(`${name}(?:: \\w+)? = ([\\w_* ]+)[;,]`).exec(text)?.[1] ?? "";
  };
  assert.equal(await constant("certstore/bundle.ts", "MAX_CAS"), "256");
  assert.equal(await constant("certstore/bundle.ts", "MANY_CAS"), "20");
  assert.match(README, /a warning from 21 CAs on, an error from 257 on/);
  assert.match(section("Configuration"), /PEM, at most 256\./);
  const path = await Promise.all(
    ["MAX_SIGNATURES", "MAX_PATHS", "MAX_PATH_LENGTH"].map((name) =>
      constant("x509/path.ts", name)
    ),
  );
  const [signatures, paths, length] = path;
  const said = `${signatures} signature checks, ${paths} paths, ${length} certificates a path`;
  assert.ok(section("The second verdict").replaceAll("\n", " ").includes(said), said);
  assert.equal(await constant("logging/format.ts", "MAX_VALUE_LENGTH"), "1024");
  assert.match(section("Logging"), /cut at 1024 characters/);
  assert.match(section("Configuration"), /at most `596h`/);
  assert.equal(await constant("config/duration.ts", "MAX_DURATION_MS"), "596 * 3_600_000");
  const poll = /poll: (\d+),/.exec(
    await Deno.readTextFile(join(ROOT, "src/certstore/watch.ts")),
  )?.[1];
  assert.equal(poll, "5000");
  assert.match(section("Rotation").replaceAll("\n", " "), /looked at every 5 s/);
  assert.equal(await constant("certstore/files.ts", "MAX_LIST_BYTES"), "64 * 1024 * 1024");
  assert.match(section("Configuration"), /at most 64 MiB each/);
  assert.equal(await constant("proxy/admission.ts", "MAX_HANDSHAKES"), "256");
  assert.equal(await constant("proxy/admission.ts", "FAIR_CHANCE"), "1000");
  const limits = section("Limits for each peer").replaceAll("\n", " ");
  assert.match(limits, /256 slots .* not before it had 1 s;/);
  assert.equal(await constant("proxy/deadlines.ts", "LONGEST_SLEEP"), "1000");
  assert.match(section("Open connections").replaceAll("\n", " "), /looked at every second/);
});
