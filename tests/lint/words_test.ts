import assert from "node:assert/strict";
import { join } from "node:path";
import { filesOf, ROOT } from "./source.ts";
import plugin, { IDENTIFIERS, NOT_YET } from "./words.ts";

/** What the rule reports for a file at `path` in the repository. */
function lint(source: string, path = "src/proxy/sample.ts"): string[] {
  return Deno.lint.runPlugin(plugin, join(ROOT, path), source).map(({ message }) => message);
}

/** Code, and the word in it that has a better one. */
const BAD: readonly (readonly [source: string, message: string])[] = [
  ["export const near = 1;", '"near" in near'],
  ["type FarEnd = { receive(): void };", '"far" in FarEnd'],
  ["class A { #seats = 1; }", '"seats" in seats'],
  ["function judgePeer(peer: Peer) { return peer; }", '"judge" in judgePeer'],
  ["const MAX_SLOTS = 3;", '"slots" in MAX_SLOTS'],
  ["import { Wire } from './x.ts';", '"wire" in Wire'],
  ["import { a as engine } from 'node:tls';", '"engine" in engine'],
  ["type T = { readonly material: string };", '"material" in material'],
  ["const { life } = state;", '"life" in life'],
  ["function splice() { return 1; }", '"splice" in splice'],
  ["class A { pump() { return 1; } }", '"pump" in pump'],
  ["// The near end is closed.", '"near end" in a comment'],
  ["// Opens a channel to the target.", '"channel" in a comment'],
  ["/** Writes to the wire twice, and a wire breaks. */", '"wire" in a comment'],
  ["// What was spliced is counted.", '"spliced" in a comment'],
  ["// The judgement stands.", '"judgement" in a comment'],
  ["// Judge it.", '"Judge" in a comment'],
  ["// Remembers its standing.", '"its standing" in a comment'],
  ["/** The\n * second\n * verdict. */", '"second verdict" in a comment'],
  ["// New material takes effect.", '"material" in a comment'],
  ["// An engine starts.", '"engine" in a comment'],
  ["// Takes a slot.", '"slot" in a comment'],
  ["// A target on trial.", '"trial" in a comment'],
  ["// Idle connections give way.", '"give way" in a comment'],
  ["// Whoever comes first.", '"Whoever" in a comment'],
  ["// Nobody listens.", '"Nobody" in a comment'],
  ["// Lets strangers in.", '"strangers" in a comment'],
  ["/** After so\n * many ms. */", '"so many" in a comment'],
  ["// The peer is told.", '"is told" in a comment'],
  ["/** See {@linkcode Seat}. */", '"seat" in Seat'],
  ["// Closed by `pump`.", '"pump" in pump'],
  ["// See `wire.ts`.", '"wire" in wire.ts'],
];

/** Code in which the same letters are in order. */
const GOOD: readonly string[] = [
  "const nearest = nearby + farthest;",
  "list.splice(0, 1); list.standing; handle.engine;",
  "const lifetime = 1; const lively = 2; const placeholder = 3;",
  "const { port1 } = new MessageChannel(); new BroadcastChannel('x');",
  "import { Channel } from 'node:diagnostics_channel'; new Channel();",
  'const text = "nobody listens there; listener: cannot take a caller";',
  "type NearMiss = string;",
  "// As far as is known, so far; near the threshold, far from it, nearly.",
  "// Bytes on the wire, in the wire format; a side channel; channel binding.",
  "// The TLS engine of the runtime. Keying material. Keeps its place, in place of another.",
  '// Runs as `nobody` or as user "nobody"; outstanding and long-standing.',
  "// The caller closes it. Proof of possession. Entries are told apart by name.",
  "// A life as long as the process's, so that many wait; as many as there are.",
];

Deno.test("words that have a better one are reported, with the better one", () => {
  for (const [source, message] of BAD) assert.deepEqual(lint(source), [message], source);
  const [found] = Deno.lint.runPlugin(plugin, join(ROOT, "src/x.ts"), "let\n near = 1;");
  assert.equal(found?.hint, "The word for it is downstream");
});

Deno.test("other words with the same letters, strings and foreign names are not", () => {
  for (const source of GOOD) assert.deepEqual(lint(source), [], source);
});

Deno.test("a name is reported once, a comment at each place, a file by its name", () => {
  assert.equal(lint("let near = 1; near = near + 1;").length, 1);
  assert.equal(lint("// somebody and somebody").length, 2);
  assert.deepEqual(lint("", "src/tls/engine_wire.ts"), [
    '"engine" in src/tls/engine_wire.ts',
    '"wire" in src/tls/engine_wire.ts',
  ]);
  assert.equal(lint("const near = 1;", "tests/bench/x.ts").length, 1);
  assert.deepEqual(lint("const near = 1;", "tests/lint/x.ts"), []);
  assert.deepEqual(lint("const near = 1;", "examples/x.ts"), []);
});

Deno.test("a report points at the word in the comment", () => {
  const source = "const a = 1;\n/**\n * Asks somebody. */\n";
  const [found] = Deno.lint.runPlugin(plugin, join(ROOT, "src/x.ts"), source);
  assert.equal(found === undefined ? "" : source.slice(...found.range), "somebody");
});

Deno.test("the words of the table are single lower-case words", () => {
  for (const word of Object.keys(IDENTIFIERS)) assert.match(word, /^[a-z]+$/);
});

Deno.test("files that do not keep to the words yet are there", async () => {
  for (const path of NOT_YET) {
    const { isDirectory } = await Deno.stat(join(ROOT, path));
    assert.equal(isDirectory, path.endsWith("/"), path);
  }
});

/** `path.ts` in backticks, in the comments of a source. */
function filesNamedIn(source: string): string[] {
  const named: string[] = [];
  const collector: Deno.lint.Plugin = {
    name: "files",
    rules: {
      files: {
        create: (context) => ({
          Program() {
            for (const { value } of context.sourceCode.getAllComments()) {
              for (const [, name = ""] of value.matchAll(/`((?:[\w.-]+\/)*[\w.-]+\.(?:ts|md))`/g)) {
                named.push(name);
              }
            }
          },
        }),
      },
    },
  };
  Deno.lint.runPlugin(collector, join(ROOT, "src", "x.ts"), source);
  return named;
}

Deno.test("files that comments of src name are there", async () => {
  assert.deepEqual(filesNamedIn('// See `a/b.ts`, `c.md`.\nconst x = "`d.ts`"; // `x`'), [
    "a/b.ts",
    "c.md",
  ]);
  const folders = ["src", "tests", "examples"];
  const files = (await Promise.all(
    folders.map(async (folder) =>
      (await filesOf(join(ROOT, folder))).map((file) => `/${folder}/${file}`)
    ),
  )).flat();
  const missing: string[] = [];
  for (const file of files) {
    if (!/^\/src\/.*\.ts$/.test(file) || NOT_YET.includes(file.slice(1))) continue;
    for (const named of filesNamedIn(await Deno.readTextFile(join(ROOT, file)))) {
      if (!files.some((other) => other.endsWith(`/${named}`))) missing.push(`${file}: ${named}`);
    }
  }
  assert.deepEqual(missing, []);
});
