/**
 * The JSON Schema of the config, against a validator that knows nothing of it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Ajv } from "ajv";
import { parse } from "yaml";
import {
  configJsonSchema,
  configJsonSchemaText,
  type JsonSchema,
} from "../../../src/config/schema.ts";
import type { Config } from "../../../src/config/config.ts";
import { parseConfig } from "../../../src/config/load.ts";
import { mtlsd } from "../../support/daemon.ts";

const CORPUS = new URL("../../../testdata/config/", import.meta.url);
const EXAMPLES = new URL("../../../examples/", import.meta.url);

const validate = new Ajv({ strict: true, allowUnionTypes: true, allErrors: true }).compile(
  configJsonSchema(),
);

function read(directory: URL): [name: string, text: string][] {
  return [...Deno.readDirSync(directory)].filter(({ name }) => name.endsWith(".yaml"))
    .map(({ name }) => [name, Deno.readTextFileSync(new URL(name, directory))]);
}

Deno.test("json schema: every valid config and example is valid", () => {
  const all = [...read(new URL("valid/", CORPUS)), ...read(EXAMPLES)];
  assert.ok(all.length >= 10);
  for (const [name, text] of all) {
    assert.ok(validate(parse(text)), `${name}: ${JSON.stringify(validate.errors)}`);
  }
});

/** What is wrong with keys, types and words; the rest is about texts, files and each other. */
const STRUCTURAL =
  /Cannot use (unknown key|\S+: must be (true or false|a list:|a whole number|a block|"\w)|a (list|block): must)/;

Deno.test("json schema: every invalid config whose keys, types or words are wrong is not", () => {
  let structural = 0;
  for (const [name, text] of read(new URL("invalid/", CORPUS))) {
    const expected = /^# expect: (.*)$/m.exec(text)?.[1] ?? "";
    if (!STRUCTURAL.test(expected)) continue;
    structural++;
    let value: unknown;
    try {
      value = parse(text, { logLevel: "silent" });
    } catch {
      continue; // No YAML, then.
    }
    assert.ok(!validate(value), `${name}: ${expected}`);
  }
  assert.ok(structural >= 40, String(structural));
});

/** Every key and its schema; those of `tunnels` are the same again. */
function leaves(schema: JsonSchema, path: readonly string[] = []): [string, JsonSchema][] {
  if (schema.properties === undefined) return [[path.join("."), schema]];
  return Object.entries(schema.properties).flatMap(([key, inner]) =>
    key === "tunnels" ? [] : leaves(inner, [...path, key])
  );
}

Deno.test("json schema: every key says what it is for", () => {
  for (const [key, { description }] of leaves(configJsonSchema())) {
    assert.ok(description !== undefined && description.length > 5, key);
    assert.doesNotMatch(description, /\.$/, key);
  }
});

Deno.test("json schema: the defaults are those of the code", () => {
  const base = { listen: ":1", targets: ["a.example:1"] };
  const tls = { cert: "c.pem", key: "k.pem", ca: "ca.pem" };
  const config = (more: Record<string, unknown>): Config | undefined => {
    const result = parseConfig(JSON.stringify({ ...base, tls, ...more }), "x.yaml");
    return result.ok ? result.config : undefined;
  };
  let compared = 0;
  for (const [key, schema] of leaves(configJsonSchema())) {
    if (schema.default === undefined || key === "proxy.socket_mode") continue;
    const [block = "", name = ""] = key.split(".");
    const own = block === "tls" ? tls : {};
    // Some keys are for other modes.
    const fitting = ["server", "bridge", "client"].flatMap((mode) => {
      const written = config({ mode, [block]: { ...own, [name]: schema.default } });
      return written === undefined ? [] : [[written, config({ mode })] as const];
    });
    assert.ok(fitting.length > 0, key);
    for (const [written, bare] of fitting) assert.deepEqual(written, bare, key);
    compared++;
  }
  assert.ok(compared > 40, String(compared));
});

Deno.test("json schema: what is printed is what the examples name", async () => {
  const { code, stdout, stderr } = await mtlsd(["schema"], { flags: ["--no-prompt"] });
  assert.deepEqual([code, stderr], [0, ""]);
  assert.equal(stdout, `${configJsonSchemaText()}\n`);
  // `deno task docs` writes it.
  assert.equal(Deno.readTextFileSync(new URL("mtlsd.schema.json", EXAMPLES)), stdout);
  for (const [name, text] of read(EXAMPLES)) {
    assert.ok(text.startsWith("# yaml-language-server: $schema=mtlsd.schema.json\n"), name);
  }
});
