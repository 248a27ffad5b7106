/**
 * The JSON Schema against what validates, with generated values: an editor never marks
 * what the daemon takes, and whatever is wrong with a key or the type of a value, both refuse.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Ajv } from "ajv";
import fc from "fast-check";
import { configJsonSchema, type JsonSchema } from "../../src/config/schema.ts";
import { parseConfig } from "../../src/config/load.ts";
import { formatProblem } from "../../src/config/problem.ts";

const SCHEMA = configJsonSchema();
const validate = new Ajv({ strict: true, allowUnionTypes: true }).compile(SCHEMA);

/** Every block and every key that there is, and some that there are not. */
function paths(schema: JsonSchema, path: readonly string[] = []): (readonly string[])[] {
  const own = path.length === 0 ? [] : [path];
  return [
    ...own,
    ...Object.entries(schema.properties ?? {}).flatMap(([key, inner]) =>
      paths(inner, [...path, key])
    ),
  ];
}

const PATHS = [...paths(SCHEMA), ["constructor"], ["tls", "Cert"], ["acl", "toString"]];

const scalar = fc.oneof(
  fc.constantFrom<unknown>(null, true, false, 0, 1, -1, 1.5, 1e15, -0),
  fc.constantFrom(
    "0",
    "10s",
    "1.5h",
    "-1s",
    "1m30s",
    ".5s",
    "5.s",
    "+3s",
    "0s",
    "00",
    "10",
    "3\u00b5s",
  ),
  fc.constantFrom("server", "client", "bridge", ":1", "127.0.0.1:1", "a.x:1", "unix:/a", "c.pem"),
  fc.constantFrom("required", "request", "none", "TLS1.2", "TLS1.3", "h2", "off", "v2-tls", "0600"),
  fc.constantFrom("text", "json", "debug", "audit", "enforce", "failover", "10.0.0.0/8", "a.x"),
  fc.string({ maxLength: 4 }),
);
const value = fc.oneof(
  { weight: 4, arbitrary: scalar },
  { weight: 2, arbitrary: fc.array(scalar, { maxLength: 3 }) },
  { weight: 1, arbitrary: fc.dictionary(fc.string({ maxLength: 3 }), scalar, { maxKeys: 2 }) },
);

/** A copy with the value at the path; values that stand in the way are replaced. */
function put(to: unknown, [key, ...rest]: readonly string[], what: unknown): unknown {
  if (key === undefined) return what;
  const block = typeof to === "object" && to !== null && !Array.isArray(to) ? to : {};
  return { ...block, [key]: put(Reflect.get(block, key), rest, what) };
}

const VALID = {
  mode: "server",
  listen: ":1",
  target: "127.0.0.1:2",
  tls: { cert: "c", key: "k", ca: "ca" },
};
const STRUCTURAL = /: must be (true or false|a list|a whole number|a block)|unknown key/;

Deno.test({ name: "json schema: it agrees with what validates", permissions: "none" }, () => {
  let [accepted, refused] = [0, 0];
  const edits = fc.array(fc.tuple(fc.constantFrom(...PATHS), value), {
    minLength: 1,
    maxLength: 3,
  });
  fc.assert(
    fc.property(edits, fc.boolean(), (all, inside) => {
      const entry = all.reduce<unknown>((to, [path, what]) => put(to, path, what), VALID);
      const config = inside ? { tunnels: [put(entry, ["name"], "a")] } : entry;
      const text = JSON.stringify(config);
      const result = parseConfig(text, "c.yaml");
      const fits = validate(JSON.parse(text));
      if (result.ok) {
        accepted++;
        assert.ok(fits, `${text}: ${JSON.stringify(validate.errors)}`);
        return;
      }
      refused++;
      const lines = result.problems.map(formatProblem);
      if (lines.some((line) => STRUCTURAL.test(line))) assert.ok(!fits, lines.join("\n"));
    }),
    { numRuns: 4000, seed: 20260328 },
  );
  assert.ok(accepted > 50 && refused > 50, `${accepted} accepted, ${refused} refused`);
});
