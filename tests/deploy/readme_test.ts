/**
 * The README of each deployment example: it names every file that is there, and what it names is there.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { parse } from "yaml";
import { example, examplePath, listAt, textAt } from "../support/deploy/examples.ts";

/** The files of a directory and of those below it, by their path in it. */
function files(dir: string, inside = ""): readonly string[] {
  return [...Deno.readDirSync(join(dir, inside))].flatMap(({ name, isDirectory }) =>
    isDirectory ? files(dir, join(inside, name)) : [join(inside, name)]
  );
}

/** The first column of the table whose head has this word there. */
function column(text: string, head: string): readonly string[] {
  const rows = text.split("\n").filter((line) => line.startsWith("|")).map((line) =>
    line.split("|").slice(1, -1).map((cell) => cell.trim())
  );
  const from = rows.findIndex(([first]) => first === head);
  assert.notEqual(from, -1, head);
  const rest = rows.slice(from + 2);
  const end = rest.findIndex(([first = ""]) => !first.startsWith("`"));
  return rest.slice(0, end === -1 ? undefined : end).map(([first = ""]) => first.slice(1, -1));
}

for (const name of ["systemd", "docker", "kubernetes", "prometheus"]) {
  Deno.test(`deployment: the README of ${name} lists its files`, async () => {
    const there = files(examplePath(name)).filter((file) => file !== "README.md");
    const listed = column(await example(name, "README.md"), "file");
    assert.deepEqual(listed.toSorted(), there.toSorted());
  });
}

Deno.test("deployment: the README of prometheus lists the alerts", async () => {
  const groups = listAt(parse(await example("prometheus", "alerts.yaml")), "groups");
  const names = groups.flatMap((group) => listAt(group, "rules")).map((rule) =>
    textAt(rule, "alert")
  );
  const readme = await example("prometheus", "README.md");
  const listed = [...readme.matchAll(/^- `(\w+)`\n {2}- fires when: /gm)].map(([, name]) => name);
  assert.deepEqual(listed, names);
});

Deno.test("deployment: what is applied to a cluster is all that is meant for it", async () => {
  const readme = await example("kubernetes", "README.md");
  const applied = [...readme.matchAll(/kubectl apply -f examples\/kubernetes\/(\w+)/g)]
    .map(([, name = ""]) => name);
  assert.deepEqual(applied, ["pki", "gateway", "sidecar"]);
  for (const name of applied) {
    for (const file of files(examplePath("kubernetes", name))) assert.match(file, /\.yaml$/);
  }
});
