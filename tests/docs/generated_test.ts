/**
 * `deno task docs`: pages show what is in the files and tables that they name, and nothing else of them
 * is touched.
 *
 * @module
 */

import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { fillFiles, fillTables } from "../../.ci/docs.ts";
import { TABLES } from "../../.ci/docs_tables.ts";
import { ROOT } from "../support/daemon.ts";
import { blocks, DOCS } from "../support/readme.ts";
import { Clone } from "../support/walkthrough.ts";

Deno.test("docs: every config that a page shows is a file, and the same", () => {
  const shown = blocks("yaml");
  assert.ok(shown.length >= 15);
  for (const { text, doc, line } of shown) {
    assert.match(text, /^# (part of )?[\w-]+\.yaml\n/, `${doc}:${line}`);
  }
  const marked = DOCS.flatMap(({ text }) => [...text.matchAll(/<!-- file: /g)]);
  assert.equal(marked.length, shown.length);
  for (const { path, text } of DOCS) {
    const read = (file: string) => Deno.readTextFileSync(join(ROOT, dirname(path), file));
    assert.equal(fillFiles(text, read), text, `${path}: run "deno task docs"`);
  }
});

Deno.test("docs: the tables of the reference pages are those of the program", async () => {
  let count = 0;
  for (const { path, text } of DOCS) {
    count += text.match(/^<!-- generated: /gm)?.length ?? 0;
    assert.equal(await fillTables(text, TABLES), text, `${path}: run "deno task docs"`);
  }
  assert.equal(count, Object.keys(TABLES).length);
});

Deno.test("docs: a table is written between its comments, and nothing else is touched", async () => {
  const page = (table: string) =>
    `# a\n\nBy hand.\n\n<!-- generated: some rows -->\n\n${table}<!-- end -->\n\n- by hand\n`;
  const tables = { "some rows": () => "- new\n-   row" };
  const filled = await fillTables(page("- old\n\n"), tables);
  assert.equal(filled, page("- new\n- row\n\n"));
  assert.equal(await fillTables(filled, tables), filled);
  assert.equal(
    await fillTables(page("").replace("generated", "other"), tables),
    page("").replace("generated", "other"),
  );
  await assert.rejects(
    fillTables(page(""), { other: () => "" }),
    /Cannot fill "some rows".* other/,
  );
});

Deno.test("docs: a page that differs is named, and written", async () => {
  await using clone = await Clone.make((text) => text);
  for (const name of ["README.md", "tests"]) {
    await clone.run(`cp -r "${join(ROOT, name)}" .`);
  }
  const check = await clone.run("deno task docs --check");
  assert.equal(check.code, 0, check.stderr);
  await clone.run("echo '{}' > examples/mtlsd.schema.json");
  const path = join(clone.dir, "examples/bridge/bridge.yaml");
  await Deno.writeTextFile(path, `${await Deno.readTextFile(path)}# changed\n`);
  const differs = await clone.run("deno task docs --check || exit $?");
  assert.equal(differs.code, 1);
  assert.match(differs.stderr, /^examples\/bridge\/README\.md: not what "deno task docs" writes$/m);
  assert.match(differs.stderr, /^examples\/mtlsd\.schema\.json: not/m);
  assert.doesNotMatch(differs.stderr, /^examples\/targets/m);
  const written = await clone.run("deno task docs && deno task docs --check");
  assert.equal(written.code, 0, written.stderr);
  assert.match(
    await Deno.readTextFile(join(clone.dir, "examples/bridge/README.md")),
    /^# changed$/m,
  );
});

Deno.test("docs: a block is filled with a file, or with some of its keys", () => {
  const page = (words: string) =>
    `a\n\n  <!-- file: x/y.yaml${words} -->\n\n  \`\`\`yaml\n  old\n  \`\`\`\nb\n`;
  const file = "# yaml-language-server: $schema=z\nmode: server\ntls:\n  key: k\n\nacl:\n  - 1\n";
  const fill = (words: string) => fillFiles(page(words), (path) => path === "x/y.yaml" ? file : "");
  const whole = fill("");
  assert.equal(
    whole,
    page("").replace("old", "# y.yaml\n  mode: server\n  tls:\n    key: k\n\n  acl:\n    - 1"),
  );
  assert.equal(fillFiles(whole, () => file), whole);
  assert.equal(
    fill(" acl tls"),
    page(" acl tls").replace("old", "# part of y.yaml\n  acl:\n    - 1\n  tls:\n    key: k"),
  );
  assert.throws(() => fill(" proxy"), /Cannot show "proxy" of x\/y\.yaml/);
});
