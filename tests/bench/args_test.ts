import assert from "node:assert/strict";
import { help, type Options, parse } from "./args.ts";

const MEASURES = ["handshake", "echo", "bulk"];

function options(...args: string[]): Options {
  const parsed = parse(args, MEASURES);
  assert.equal(parsed.kind, "run", JSON.stringify(parsed));
  assert(parsed.kind === "run");
  return parsed.options;
}

function message(...args: string[]): string {
  const parsed = parse(args, MEASURES);
  assert(parsed.kind === "error", JSON.stringify(parsed));
  return parsed.message;
}

Deno.test("by default everything runs, but no other tree", () => {
  const { only, modes, subjects, quick, strict, rounds } = options();
  assert.equal(only, undefined);
  assert.deepEqual(modes, ["server", "tunnel"]);
  assert.deepEqual(subjects, ["mtlsd", "haproxy", "nginx", "stunnel"]);
  assert.deepEqual([quick, strict, rounds], [false, false, undefined]);
});

Deno.test("--base adds a subject; base without it is an error", () => {
  assert.deepEqual(options("--base", "..").subjects.slice(0, 2), ["mtlsd", "base"]);
  assert.deepEqual(options("--base", "..", "--subjects", "base,mtlsd").subjects, ["mtlsd", "base"]);
  assert.match(message("--subjects", "mtlsd,base"), /^Cannot run base: .*--base DIR$/);
});

Deno.test("lists are checked and put in order", () => {
  assert.deepEqual(options("--only", "bulk,handshake").only, ["handshake", "bulk"]);
  assert.match(message("--only", "handshakes"), /"handshakes": there are handshake, echo, bulk/);
  assert.match(message("--subjects", "envoy"), /"envoy"/);
  assert.match(message("--mode", "bridge"), /"bridge": there are server, tunnel/);
});

Deno.test("rounds are a whole number from 1 up", () => {
  assert.equal(options("--rounds", "5").rounds, 5);
  for (const wrong of ["0", "1.5", "many", "-1", ""]) {
    assert.match(message(`--rounds=${wrong}`), /--rounds/);
  }
});

Deno.test("unknown flags and words are errors", () => {
  assert.match(message("--fast"), /--fast/);
  assert.match(message("handshake"), /handshake/);
});

Deno.test("help names every measure", () => {
  assert.deepEqual(parse(["--help"], MEASURES), { kind: "help" });
  const text = help(MEASURES.map((name) => ({ name, title: `what ${name} is` })));
  for (const name of MEASURES) assert.match(text, new RegExp(`${name} +what ${name} is`));
});
