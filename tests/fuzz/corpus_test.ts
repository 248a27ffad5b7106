/**
 * Every input of `testdata/fuzz/`, what was found besides, holds to the claims of its target.
 *
 * @module
 */

import assert from "node:assert/strict";
import { CORPUS, readCorpus } from "./corpus.ts";
import { Fuzzer } from "./fuzzer.ts";
import { loadInstrumented } from "./instrument.ts";
import { TARGETS } from "./targets/all.ts";

/** Bytes that the corpus of one target may take. */
const MAX_CORPUS = 128 * 1024;

Deno.test("fuzz: the corpus holds, and is small", async (t) => {
  const subject = await loadInstrumented();
  for (const target of TARGETS) {
    await t.step(target.name, async () => {
      const kept = readCorpus(target);
      const bytes = kept.reduce((sum, { input }) => sum + input.length, 0);
      assert.ok(kept.length >= 20, `only ${kept.length} inputs`);
      assert.ok(bytes <= MAX_CORPUS, `${bytes} bytes`);
      const fuzzer = new Fuzzer(target, subject, 1);
      for (const { name, input } of kept) {
        const finding = await fuzzer.add(input);
        if (finding !== undefined) {
          throw new Error(`${target.name}/${name}`, { cause: finding.error });
        }
      }
      assert.ok(fuzzer.accepted > 0, "one input at least is accepted");
    });
  }
});

Deno.test("fuzz: what is made with the test PKI holds", async (t) => {
  const subject = await loadInstrumented();
  for (const target of TARGETS) {
    await t.step(target.name, async () => {
      const fuzzer = new Fuzzer(target, subject, 1);
      for (const [i, seed] of target.seeds().entries()) {
        const finding = await fuzzer.add(seed);
        if (finding !== undefined) {
          throw new Error(`${target.name}, seed ${i}`, { cause: finding.error });
        }
      }
      assert.ok(fuzzer.accepted > 0, "one seed at least is accepted");
    });
  }
});

Deno.test("fuzz: the corpus has a directory for each target and none besides", () => {
  assert.deepEqual(
    [...Deno.readDirSync(CORPUS)].map(({ name }) => name).toSorted(),
    TARGETS.map(({ name }) => name).toSorted(),
  );
});
