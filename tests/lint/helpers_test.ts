/**
 * Where the helpers of tests are: in tests/support, each used by several files. Programs that tests
 * start, and the tools in bench, faults and fuzz, are no helpers.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { filesOf, isRelative, pathIn, ROOT, targetOf } from "./source.ts";

/** What a file exports and imports. */
type Names = {
  readonly exports: Set<string>;
  /** What it uses of other files' exports, `path#name`. */
  readonly uses: Set<string>;
  /** Which of its own exports it uses itself. */
  readonly own: Set<string>;
  /** Files all of whose exports it exports too. */
  readonly passesOn: Set<string>;
};

/** Folders whose files other than tests may export something: they are programs of several files. */
const PROGRAMS = ["support", "bench", "faults", "fuzz", "lint"];

/** Parts of programs that tests start, in other folders. */
const PROGRAM_PARTS = ["interop/grpc_js.ts"];

/** Files elsewhere that still export helpers. */
const STILL_HELPERS: readonly string[] = [
  "scenarios/adversary/chains.ts",
  "scenarios/adversary/denied.ts",
  "scenarios/adversary/forms.ts",
  "scenarios/adversary/keys.ts",
  "scenarios/adversary/names.ts",
  "scenarios/adversary/openings.ts",
  "scenarios/adversary/protocol.ts",
  "scenarios/adversary/sans.ts",
  "scenarios/adversary/server_protocol.ts",
  "scenarios/adversary/servers.ts",
  "scenarios/adversary/sessions.ts",
  "scenarios/adversary/slow.ts",
  "scenarios/adversary/tables.ts",
  "scenarios/adversary/usage.ts",
  "unit/certstore/crl_memory.ts",
  "unit/proxy/connection_support.ts",
  "unit/proxy/fake_conn.ts",
  "unit/proxy/listener_support.ts",
  "unit/proxy/load_balancer_support.ts",
  "unit/proxy/proxy_header_support.ts",
  "unit/tls/support_holding.ts",
  "unit/x509/pkits_cases.ts",
];

/** Exports of tests/support that fewer than two files use. */
const STILL_UNUSED: readonly string[] = [
  "support/chapter.ts#furnish",
  "support/deploy/examples.ts#grantsOf",
  "support/deploy/manifests.ts#portNumber",
  "support/deploy/manifests.ts#selects",
  "support/deploy/unit.ts#systemCalls",
  "support/postgres.ts#clientEnv",
  "support/postgres.ts#psqlSession",
  "support/postgres.ts#psqlTerminal",
  "support/postgres.ts#makeBenchTables",
  "support/postgres.ts#pgbench",
  "support/symptoms.ts#symptoms",
  "support/symptoms.ts#onLoopback",
  "support/symptoms.ts#opensslSays",
  "support/symptoms.ts#allSay",
  "support/adversary/crypto.ts#protection12",
  "support/adversary/front.ts#SECRET",
  "support/adversary/front.ts#Front",
  "support/adversary/hello.ts#randomOf",
  "support/adversary/hello.ts#shareOf",
  "support/adversary/hello.ts#offeredShare",
  "support/adversary/hybrid.ts#hybridShare",
  "support/adversary/hybrid.ts#hybridAnswer",
  "support/bridge_testbed.ts#TlsEchoTarget",
  "support/credential_files.ts#rsaLeaf",
  "support/daemon.ts#parseLogLine",
  "support/hostile_chains.ts#hostileChains",
  "support/keys.ts#mixedKey",
  "support/plain_tls.ts#plainClient",
  "support/process.ts#isListening",
  "support/proxy_protocol.ts#parseInPieces",
  "support/proxy_protocol.ts#RUNS",
  "support/proxy_protocol.ts#anyEndpoint",
  "support/proxy_protocol.ts#anyTls",
  "support/proxy_protocol.ts#anyConnection",
  "support/proxy_protocol_peers.ts#atLeast",
  "support/proxy_protocol_peers.ts#exchange",
  "support/proxy_protocol_peers.ts#plainClient",
  "support/proxy_protocol_peers.ts#tlsClient",
  "support/readme.ts#CONFIGS",
  "support/readme.ts#links",
  "support/readme.ts#anchorOf",
  "support/stand_in.ts#standIn",
  "support/stand_in.ts#kindOf",
  "support/stand_in.ts#embedded",
  "support/tls/ends.ts#carriedBy",
  "support/tls/memory_conn.ts#MeddlingConn",
  "support/unix.ts#unixPair",
  "support/x509/der_tree.ts#parentNode",
  "support/x509/mutate.ts#certificateTree",
  "support/x509_parts.ts#isExtension",
];

/** Reads the imports and exports of a file below tests/. */
function namesOf(path: string, source: string): Names {
  const exports = new Set<string>();
  const uses = new Set<string>();
  const passesOn = new Set<string>();
  /** How often each name occurs. */
  const counts = new Map<string, number>();
  const target = (specifier: string) =>
    isRelative(specifier) ? targetOf("tests", path, specifier) : undefined;
  /** Local names of whole modules, by the module's path. */
  const modules = new Map<string, string>();
  const collector: Deno.lint.Plugin = {
    name: "names",
    rules: {
      names: {
        create: () => ({
          ImportDeclaration(node) {
            const from = target(node.source.value);
            if (from === undefined) return;
            for (const specifier of node.specifiers) {
              if (specifier.type === "ImportSpecifier") {
                if (specifier.imported.type === "Identifier") {
                  uses.add(`${from}#${specifier.imported.name}`);
                }
              } else modules.set(specifier.local.name, from);
            }
          },
          // `support.name`, of `import * as support`
          MemberExpression({ object, property }) {
            if (object.type !== "Identifier" || property.type !== "Identifier") return;
            const from = modules.get(object.name);
            if (from !== undefined) uses.add(`${from}#${property.name}`);
          },
          TSQualifiedName({ left, right }) {
            if (left.type !== "Identifier") return;
            const from = modules.get(left.name);
            if (from !== undefined) uses.add(`${from}#${right.name}`);
          },
          // `const { name } = await import("...")`
          VariableDeclarator({ id, init }) {
            if (id.type !== "ObjectPattern" || init?.type !== "AwaitExpression") return;
            const { argument } = init;
            if (argument.type !== "ImportExpression" || argument.source.type !== "Literal") return;
            const from = target(String(argument.source.value));
            if (from === undefined) return;
            for (const property of id.properties) {
              if (property.type !== "Property" || property.key.type !== "Identifier") continue;
              uses.add(`${from}#${property.key.name}`);
            }
          },
          ExportAllDeclaration({ source }) {
            const from = target(source.value);
            if (from !== undefined) passesOn.add(from);
          },
          Identifier({ name }) {
            counts.set(name, (counts.get(name) ?? 0) + 1);
          },
          ExportNamedDeclaration({ declaration, specifiers, source }) {
            const from = source === null ? undefined : target(source.value);
            for (const { local, exported } of specifiers) {
              if (local.type !== "Identifier" || exported.type !== "Identifier") continue;
              exports.add(exported.name);
              if (from !== undefined) uses.add(`${from}#${local.name}`);
            }
            switch (declaration?.type) {
              case "FunctionDeclaration":
              case "ClassDeclaration":
                if (declaration.id) exports.add(declaration.id.name);
                return;
              case "VariableDeclaration":
                for (const { id } of declaration.declarations) {
                  if (id.type === "Identifier") exports.add(id.name);
                }
            }
          },
        }),
      },
    },
  };
  Deno.lint.runPlugin(collector, join(ROOT, "tests", path), source);
  const own = new Set([...exports].filter((name) => (counts.get(name) ?? 0) > 1));
  return { exports, uses, own, passesOn };
}

async function readTree(): Promise<ReadonlyMap<string, Names>> {
  const tree = new Map<string, Names>();
  for (const path of await filesOf(join(ROOT, "tests"))) {
    if (!path.endsWith(".ts")) continue;
    tree.set(path, namesOf(path, await Deno.readTextFile(join(ROOT, "tests", path))));
  }
  assert.ok(tree.has(pathIn("tests", import.meta.filename ?? "") ?? ""));
  return tree;
}

Deno.test("exports and uses of a file are found, in each form", () => {
  const { exports, uses } = namesOf(
    "unit/x_test.ts",
    `import { a, type B as C } from "../support/one.ts";
     import * as two from "../support/two.ts";
     import { z } from "zod";
     two.b(); let t: two.T = z;
     const { c } = await import("../support/three.ts");
     export { d } from "../support/four.ts";
     export const e = 1, f = 2;
     export async function g() {}
     export class H {}
     export type I = string;
     function j() {}
     export { j };`,
  );
  assert.deepEqual([...exports], ["d", "e", "f", "g", "H", "j"]);
  assert.deepEqual([...uses], [
    "support/one.ts#a",
    "support/one.ts#B",
    "support/two.ts#b",
    "support/two.ts#T",
    "support/three.ts#c",
    "support/four.ts#d",
  ]);
});

Deno.test("helpers of tests are in tests/support only", async () => {
  const found = [...await readTree()].filter(([path, { exports }]) =>
    !PROGRAMS.includes(path.replace(/\/.*/, "")) && !PROGRAM_PARTS.includes(path) &&
    exports.size > 0
  ).map(([path]) => path);
  assert.deepEqual(
    found.filter((path) => !STILL_HELPERS.includes(path)),
    [],
    "move what they export to tests/support",
  );
});

/** How many files use each export, the one that it stands in included. */
function countUsers(tree: ReadonlyMap<string, Names>): ReadonlyMap<string, number> {
  const users = new Map<string, number>();
  const count = (path: string, name: string): void => {
    const key = `${path}#${name}`;
    users.set(key, (users.get(key) ?? 0) + 1);
    for (const from of tree.get(path)?.passesOn ?? []) count(from, name);
  };
  for (const [path, { own, uses }] of tree) {
    for (const name of own) count(path, name);
    for (const use of uses) {
      const [from = "", name = ""] = use.split("#");
      count(from, name);
    }
  }
  return users;
}

Deno.test("users are counted through files that pass exports on", () => {
  const tree = new Map([
    ["support/a.ts", namesOf("support/a.ts", "export function f() {} export const g = f();")],
    ["support/b.ts", namesOf("support/b.ts", 'export * from "./a.ts";')],
    ["unit/c_test.ts", namesOf("unit/c_test.ts", 'import { f } from "../support/b.ts";')],
  ]);
  const users = countUsers(tree);
  assert.equal(users.get("support/a.ts#f"), 2);
  assert.equal(users.get("support/a.ts#g"), undefined);
});

Deno.test("every value that tests/support exports is used by two files at least", async () => {
  const tree = await readTree();
  const users = countUsers(tree);
  const found = [...tree].flatMap(([path, { exports }]) =>
    path.startsWith("support/") ? [...exports].map((name) => `${path}#${name}`) : []
  ).filter((name) => (users.get(name) ?? 0) < 2);
  assert.deepEqual(
    found.filter((name) => !STILL_UNUSED.includes(name)),
    [],
    "remove the export, or move it to the file that uses it",
  );
});
