/**
 * What the README and the chapters say of the repository: links, files, modules, and the bounds that
 * are in the code; and that the front page stays one.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { PEER_BOUNDS } from "../../src/log/format.ts";
import { PER_MESSAGE, PER_SOURCE, REPORT_EVERY } from "../../src/log/limiter.ts";
import { ROOT } from "../support/daemon.ts";
import {
  ALL_DOCS,
  anchorOf,
  blocks,
  code,
  DOCS,
  headings,
  links,
  prose,
  section,
} from "../support/readme.ts";

function exists(path: string): boolean {
  try {
    return Deno.statSync(join(ROOT, path)) !== undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

Deno.test("readme: links lead somewhere", () => {
  const docs = new Map(ALL_DOCS.map((doc) => [doc.path, headings(doc).map(anchorOf)]));
  let count = 0;
  for (const doc of ALL_DOCS) {
    for (const { target, path, anchor } of links(doc)) {
      const where = `${doc.path}: ${target}`;
      assert.ok(exists(path), where);
      if (anchor !== undefined) assert.ok(docs.get(path)?.includes(anchor), where);
      count++;
    }
  }
  assert.ok(count >= 100, `${count} links`);
});

Deno.test("readme: each heading is there once", () => {
  const anchors = DOCS.flatMap((doc) => headings(doc).map(anchorOf));
  const twice = anchors.filter((anchor, at) => anchors.indexOf(anchor) !== at);
  assert.deepEqual(twice, []);
});

Deno.test("readme: it is a front page of 250 lines and 100 columns, which leads to every chapter", () => {
  const [front] = DOCS;
  assert.ok(front?.path === "README.md");
  const lines = front.text.trimEnd().split("\n");
  assert.ok(lines.length <= 250, `${lines.length} lines`);
  assert.deepEqual(lines.filter((line) => [...line].length > 100), []);
  const reached = new Set(links(front).map(({ path }) => path));
  const missing = ALL_DOCS.map(({ path }) => path).filter((path) =>
    path !== "README.md" && path !== "examples/README.md" && !reached.has(path)
  );
  assert.deepEqual(missing, []);
  // Names of links that are used and have no target are plain text.
  const named = [...front.text.matchAll(/^\| \[([^\]]+)\] +\|/gm)].map(([, name = ""]) => name);
  assert.ok(named.length >= 20);
  for (const name of named) assert.ok(front.text.includes(`\n[${name}]: `), name);
});

Deno.test("readme: no line of a chapter is longer than 120 columns, but what programs print", () => {
  const long = ALL_DOCS.flatMap(({ path, text }) => {
    let printed = false;
    return text.split("\n").filter((line) => {
      if (/^ *```/.test(line)) printed = !printed && /```text$/.test(line);
      return !printed && [...line].length > 120;
    }).map((line) => `${path}: ${line}`);
  });
  assert.deepEqual(long, []);
});

/** Words that say less than those of the field, or need two readings; `tests/lint/words.ts` has those of the code. */
const AVOIDED =
  /\b(whoever|somebody|nobody|anybody|strangers?|callers?|(re)?judg\w+|second verdict|so many|(is|are|be|been) told(?! apart)|(near|far) (end|side|peer|server|client))\b/gi;

Deno.test("readme: chapters use the words of the field", () => {
  const found = ALL_DOCS.flatMap((doc) => {
    const text = prose(doc).replace(/`[^`]*`/g, "");
    return [...text.matchAll(AVOIDED)].map(([word]) => `${doc.path}: ${word}`);
  });
  assert.deepEqual(found, []);
});

Deno.test("readme: the index of the chapters has all below examples/", () => {
  const index = ALL_DOCS.find(({ path }) => path === "examples/README.md");
  assert.ok(index !== undefined);
  const reached = links(index).map(({ path }) => path);
  assert.deepEqual(
    reached.toSorted(),
    ALL_DOCS.map(({ path }) => path)
      .filter((path) => path.startsWith("examples/") && path !== index.path).toSorted(),
  );
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
  const real = [...Deno.readDirSync(join(ROOT, "src"))].filter(({ name }) => name !== "README.md")
    .map(({ name, isDirectory }) => isDirectory ? `${name}/` : name);
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

/**
 * What is at the top level: what git has, or, where there is no git, what is not ignored. Configs and
 * certificates that "Two machines" leaves there are not tracked, and do not count.
 */
async function tracked(): Promise<readonly string[]> {
  const git = await run("git", ["ls-files", "--cached"]);
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

/** What stands under a heading, however its lines are broken. */
function flat(title: string): string {
  return section(title).replace(/\s+/g, " ");
}

Deno.test("readme: bounds that it tells are those of the code", async () => {
  const constant = async (path: string, name: string): Promise<string> => {
    const text = await Deno.readTextFile(join(ROOT, "src", path));
    return new RegExp(`${name}(?:: \\w+)? = ([\\w_* ]+)[;,]`).exec(text)?.[1] ?? "";
  };
  assert.equal(await constant("certstore/bundle.ts", "MAX_CAS"), "256");
  assert.match(flat("Configuration"), /PEM, at most 256\./);
  const path = await Promise.all(
    ["MAX_SIGNATURES", "MAX_PATHS", "MAX_PATH_LENGTH"].map((name) =>
      constant("x509/path.ts", name)
    ),
  );
  const [signatures, paths, length] = path;
  const said = `${signatures} signature checks, ${paths} paths, ${length} certificates a path`;
  assert.ok(flat("Independent verification").includes(said), said);
  const logging = flat("Logging");
  const { value, line } = PEER_BOUNDS;
  assert.match(logging, new RegExp(`cut at ${value} bytes .* more than ${line} for all values`));
  const source = `${PER_SOURCE.burst} lines at a stretch and ${PER_SOURCE.perSecond} a second`;
  const all = `all together ${PER_MESSAGE.burst} and ${PER_MESSAGE.perSecond}`;
  assert.match(logging, new RegExp(`${source} from then on, ${all}`));
  assert.match(logging, new RegExp(`every ${REPORT_EVERY / 1000} s while it goes on`));
  assert.match(flat("Configuration"), /at most `596h`/);
  assert.equal(await constant("util/duration.ts", "MAX_DURATION_MS"), "596 * 3_600_000");
  const poll = /poll: (\d+),/.exec(
    await Deno.readTextFile(join(ROOT, "src/certstore/watch.ts")),
  )?.[1];
  assert.equal(poll, "5000");
  assert.match(flat("Rotation"), /looked at every 5 s/);
  assert.equal(await constant("certstore/files.ts", "MAX_LIST_BYTES"), "64 * 1024 * 1024");
  assert.match(flat("Configuration"), /at most 64 MiB each/);
  assert.equal(await constant("proxy/limits.ts", "MAX_HANDSHAKES"), "256");
  const limits = flat("Limits for each peer");
  assert.match(limits, /256 slots .* evicts the oldest one of the address that has the most/);
  assert.equal(await constant("proxy/deadlines.ts", "LONGEST_SLEEP"), "1000");
  assert.match(flat("Open connections"), /looked at every second/);
  assert.equal(await constant("proxy_protocol/format.ts", "MAX_HEADER"), "4096");
  assert.match(flat("PROXY protocol"), /of 4096 bytes at most/);
  assert.equal(await constant("proxy/target_pool.ts", "MIN_BACKOFF"), "1000");
  assert.equal(await constant("proxy/target_pool.ts", "MAX_BACKOFF"), "30_000");
  assert.match(flat("Several targets"), /passed over for 1 s, .* up to 30 s/);
  assert.equal(await constant("config/address.ts", "MAX_SOCKET_PATH"), "107");
  assert.match(flat("UNIX sockets"), /at most 107 bytes long/);
});
