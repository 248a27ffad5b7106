/**
 * Inputs that are kept in `testdata/fuzz/`, a directory for each target: the corpus that a run begins
 * with, and what was found, which never leaves.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Target } from "./target.ts";

/** Where the directories of the targets are. */
export const CORPUS = fileURLToPath(new URL("../../testdata/fuzz/", import.meta.url));

/** What the name of a finding begins with. */
const FOUND = "found-";

/** An input in a file. */
export type Kept = { readonly name: string; readonly input: Uint8Array };

/** The inputs of a target, in the order of their names; none where there is no directory. */
export function readCorpus({ name }: Target): readonly Kept[] {
  const dir = join(CORPUS, name);
  try {
    return [...Deno.readDirSync(dir)].map((entry) => entry.name).toSorted()
      .map((file) => ({ name: file, input: Deno.readFileSync(join(dir, file)) }));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** Named by what is in it. */
function fileName(input: Uint8Array): string {
  return createHash("sha256").update(input).digest("hex").slice(0, 16);
}

/** Replaces the corpus; findings stay. Gives the bytes that it takes. */
export function writeCorpus(target: Target, inputs: readonly Uint8Array[]): number {
  const dir = join(CORPUS, target.name);
  for (const { name } of readCorpus(target)) {
    if (!name.startsWith(FOUND)) Deno.removeSync(join(dir, name));
  }
  Deno.mkdirSync(dir, { recursive: true });
  for (const input of inputs) Deno.writeFileSync(join(dir, fileName(input)), input);
  return inputs.reduce((sum, { length }) => sum + length, 0);
}

/** Keeps a finding; gives the path. `tests/fuzz/corpus_test.ts` runs it from then on. */
export function writeFinding(target: Target, input: Uint8Array): string {
  const dir = join(CORPUS, target.name);
  Deno.mkdirSync(dir, { recursive: true });
  const path = join(dir, FOUND + fileName(input));
  Deno.writeFileSync(path, input);
  return path;
}
