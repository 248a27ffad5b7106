/**
 * The resources of `examples/kubernetes` by the published schemas of their kinds, unknown keys refused.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { ROOT } from "../support/daemon.ts";
import { PARTS, type Resource, resources } from "../support/deploy/manifests.ts";
import { run, textsAt } from "../support/deploy/examples.ts";

const DIR = join(ROOT, "tests", "deploy");

/** What is wrong with each. */
async function problemsOf(bodies: readonly unknown[]): Promise<readonly (readonly string[])[]> {
  const args = ["--no-prompt", "--config", join(DIR, "schemas.json"), join(DIR, "schemas.ts")];
  const { code, stdout, stderr } = await run(Deno.execPath(), ["run", ...args], {
    stdin: JSON.stringify(bodies),
    env: { NO_COLOR: "1" },
  });
  assert.equal(code, 0, stderr);
  const answer: unknown = JSON.parse(stdout);
  assert.ok(Array.isArray(answer) && answer.length === bodies.length);
  return answer.map((list) => textsAt({ list }, "list"));
}

async function everything(): Promise<readonly Resource[]> {
  return (await Promise.all(PARTS.map(resources))).flat();
}

/** Maps whose keys are the user's. */
const FREE = /\/(labels|matchLabels|data|requests|limits|nodeSelector|spec\/selector)$/;

/** Every object of a value that may not have just any key, by its path. */
function objects(value: unknown, path = ""): readonly string[] {
  if (typeof value !== "object" || value === null) return [];
  const inner = Object.entries(value).flatMap(([key, item]) => objects(item, `${path}/${key}`));
  return Array.isArray(value) || FREE.test(path) ? inner : [path, ...inner];
}

/** A copy with one more key in the object at a path. */
function withKey(value: unknown, path: string, key: string): unknown {
  const copy: unknown = structuredClone(value);
  const target = path.split("/").slice(1).reduce<unknown>(
    (outer, name) => (outer as Record<string, unknown>)[name],
    copy,
  );
  (target as Record<string, unknown>)[key] = "x";
  return copy;
}

Deno.test("kubernetes: every resource is what its schema says", async () => {
  const all = await everything();
  assert.ok(all.length >= 15, `${all.length} resources`);
  const problems = await problemsOf(all.map(({ body }) => body));
  const found = all.flatMap(({ file }, i) => (problems[i] ?? []).map((text) => `${file}: ${text}`));
  assert.deepEqual(found, []);
});

Deno.test("kubernetes: an unknown key would be found, wherever it stood", async () => {
  const cases = (await everything()).flatMap(({ file, body }) =>
    objects(body).map((path) => ({ name: `${file}${path}`, body: withKey(body, path, "tpyo") }))
  );
  assert.ok(cases.length > 150, `${cases.length} objects`);
  const problems = await problemsOf(cases.map(({ body }) => body));
  const missed = cases.filter((_, i) => !(problems[i] ?? []).some((text) => text.includes("tpyo")));
  assert.deepEqual(missed.map(({ name }) => name), []);
});

Deno.test("kubernetes: a wrong type, a missing key and an unknown kind would be found", async () => {
  const [known = { body: {} }] = (await resources("gateway")).filter(({ file }) =>
    file.endsWith("/service.yaml")
  );
  const wrong = [
    { ...known.body as object, kind: "Servce" },
    { ...known.body as object, spec: { ports: [{ port: "8443" }] } },
    { ...known.body as object, spec: { ports: [{ name: "tunnel" }] } },
  ];
  for (const found of await problemsOf(wrong)) assert.notDeepEqual(found, []);
});
