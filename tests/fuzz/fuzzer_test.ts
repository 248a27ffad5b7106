/**
 * The fuzzer finds what is hidden: faults that chance alone would not reach.
 *
 * @module
 */

import assert from "node:assert/strict";
import * as der from "../support/der.ts";
import { type Finding, Fuzzer } from "./fuzzer.ts";
import { type Code, Counters, EndlessError, instrument } from "./instrument.ts";
import { changeDer, havoc } from "./mutate.ts";
import { parseOptions, usage } from "./options.ts";
import type { Target } from "./target.ts";
import { TARGETS } from "./targets/all.ts";

/** A made-up module, loaded as the code under test is; its one export is `f`. */
async function load(body: string) {
  const { text, places, words } = instrument(`// src/made_up.ts\n${body}\nexport { f };\n`);
  const counters = new Counters(places);
  const stop = () => {
    throw new EndlessError("endless");
  };
  Object.assign(globalThis, { __mtlsdFuzz: { hits: counters.hits, stop } });
  const module: { readonly f: (input: Uint8Array) => unknown } = await import(
    `data:text/javascript,${encodeURIComponent(text)}`
  );
  return { f: module.f, counters, words };
}

const SOUND: Target = {
  name: "made up",
  about: "",
  boundedRuns: 0,
  maxLength: 200,
  maxSteps: () => Infinity,
  seeds: () => [],
  mutate: havoc,
  run: () => ({ accepted: true }),
};

async function search(
  body: string,
  seed: Uint8Array,
  target: Partial<Target> = {},
  runs = 60_000,
): Promise<Finding | undefined> {
  const { f, counters, words } = await load(body);
  const run: Target["run"] = (_, input) => ({ accepted: f(input) === true });
  const subject = { code: {} as Code, counters, words };
  const fuzzer = new Fuzzer({ ...SOUND, run, ...target }, subject, 1);
  let finding = await fuzzer.add(seed);
  while (finding === undefined && fuzzer.runs < runs) finding = await fuzzer.step();
  return finding;
}

Deno.test("fuzz: it learns a word letter by letter, which chance would not guess", async () => {
  const body = `function f(b) {
    if (b[0] === 0x6d) if (b[1] === 0x54) if (b[2] === 0x4c) if (b[3] === 0x73)
      if (b[4] === 0x64) throw new TypeError("found");
  }`;
  const finding = await search(body, new Uint8Array(40));
  assert.equal(finding?.error.message, "found");
  assert.deepEqual(finding.input, new TextEncoder().encode("mTLsd"));
});

Deno.test("fuzz: it finds what is in nested DER behind an identifier of the code's own", async () => {
  const body = `
    const OID = "1.2.840.113549.1.9.99";
    const wanted = "${der.contentOf(der.oid("1.2.840.113549.1.9.99")).toHex()}";
    function f(b) {
      if (b[0] !== 0x30 || b[1] !== b.length - 2) return;
      if (b[2] !== 0x30 || b[3] !== b.length - 4) return;
      if (b[4] === 6 && b.subarray(6, 6 + b[5]).toHex() === wanted) throw new TypeError(OID);
    }`;
  const seed = der.seq(der.seq(der.oid("1.2.3"), der.octet(new Uint8Array(3))));
  const finding = await search(body, seed, { mutate: changeDer });
  assert.equal(finding?.error.name, "TypeError");
});

Deno.test("fuzz: it finds work that grows with the square of the length", async () => {
  const body = `function f(b) {
    if (b[0] !== 0x71) return;
    for (const one of b) for (const other of b) if (one > other) continue;
  }`;
  const target = { maxSteps: (length: number) => 200 + 40 * length };
  const finding = await search(body, new Uint8Array(10), target);
  assert.match(String(finding?.error.message), /^\d+ steps for \d+ bytes, over \d+$/);
});

Deno.test("fuzz: an endless loop ends", async () => {
  const finding = await search("function f(b) { while (b.length > 0) ; }", new Uint8Array(1));
  assert.ok(finding?.error instanceof EndlessError);
});

Deno.test("fuzz: instrumented code does the same, and each branch counts", async () => {
  const body = `
    const arrow = (x) => ({ twice: x * 2 });
    const choose = (x) => x > 3 ? "more" : x === 3 && "three" || (x ?? "none");
    class Box { #x = 1; get x() { return this.#x; } set x(value) { if (value) this.#x = value; else return; } }
    function* count(n) { for (let i = 0; i < n; i++) yield i; }
    function f([n]) {
      const out = [];
      switch (n) { case 0: case 1: out.push("few"); break; default: out.push("many"); }
      do out.push(n--); while (n > 2);
      label: for (const i of count(3)) { for (;;) { if (i === 1) continue label; else break; } out.push(i); }
      for (const key in { a: 1 }) out.push(key);
      try { if (n === 1) throw new Error("one"); } catch (error) { out.push(error.message); } finally { out.push("end"); }
      const box = new Box(); box.x = 7; box.x = 0;
      return JSON.stringify([out, box.x, arrow(2).twice, choose(4), choose(3), choose(undefined)]);
    }`;
  const { f, counters } = await load(body);
  const plain: typeof f = new Function(`${body}; return f;`)();
  const features = new Set<string>();
  for (const n of [0, 1, 2, 5]) {
    counters.reset();
    assert.equal(f(Uint8Array.of(n)), plain(Uint8Array.of(n)));
    assert.ok(counters.steps > 10);
    features.add(counters.features().join());
  }
  assert.equal(features.size, 3, "0 and 1 go the same way");
  assert.ok(counters.places.every((place) => /^src\/made_up\.ts:\d+$/.test(place)));
});

Deno.test("fuzz: code that is not of src is left as it is", () => {
  const source = "// npm/other.js\nfunction f(x) { return x ? 1 : 2; }\n";
  const { text, places } = instrument(source);
  assert.ok(text.endsWith(source));
  assert.deepEqual(places, []);
});

Deno.test("fuzz: the arguments", () => {
  const read = (...args: string[]) => parseOptions(args, TARGETS);
  const names = TARGETS.map(({ name }) => name);
  assert.deepEqual({ ...read(), seed: 0 }, {
    help: false,
    targets: names,
    seconds: 600,
    runs: undefined,
    seed: 0,
    save: false,
  });
  assert.deepEqual(read("lists", "--runs", "5", "--seed", "7", "--save"), {
    help: false,
    targets: ["lists"],
    seconds: undefined,
    runs: 5,
    seed: 7,
    save: true,
  });
  assert.deepEqual(read("--bounded"), { ...read("--bounded"), runs: "bounded", seed: 1 });
  for (
    const wrong of [["nothing"], ["--runs"], ["--seconds", "-1"], ["--bounded", "--seed", "2"]]
  ) {
    assert.throws(() => read(...wrong), RangeError);
  }
  for (const { name, about } of TARGETS) assert.ok(usage(TARGETS).includes(`${name} `), about);
});
