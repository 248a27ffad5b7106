/**
 * `deno task fuzz`.
 *
 * @module
 */

import { readCorpus, writeCorpus, writeFinding } from "./corpus.ts";
import { type Finding, Fuzzer } from "./fuzzer.ts";
import { type Instrumented, loadInstrumented } from "./instrument.ts";
import { type Options, parseOptions, usage } from "./options.ts";
import type { Target } from "./target.ts";
import { TARGETS } from "./targets/all.ts";

/** Milliseconds between two lines about one target. */
const REPORT_EVERY = 30_000;

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

function progress(fuzzer: Fuzzer, since: number): string {
  const seconds = (performance.now() - since) / 1000;
  return [
    `${fuzzer.target.name}: ${seconds.toFixed(0)} s`,
    `${fuzzer.runs} inputs (${Math.round(fuzzer.runs / seconds)}/s)`,
    `${fuzzer.accepted} accepted`,
    `${fuzzer.reached} branches`,
    `${fuzzer.corpus.length} kept`,
    `at most ${fuzzer.costliest.toFixed(1)} steps a byte`,
  ].join(", ");
}

/** Runs one target until its time or number is over, or something is found. */
async function fuzz(
  target: Target,
  subject: Instrumented,
  options: Options,
): Promise<Finding | undefined> {
  const fuzzer = new Fuzzer(target, subject, options.seed);
  const began = performance.now();
  const first = readCorpus(target).map(({ input }) => input);
  for (const input of options.save || first.length === 0 ? [...first, ...target.seeds()] : first) {
    const finding = await fuzzer.add(input);
    if (finding !== undefined) return finding;
  }
  const { seconds = Infinity } = options;
  const runs = options.runs === "bounded" ? target.boundedRuns : options.runs ?? Infinity;
  let reported = began;
  while (fuzzer.runs < runs && performance.now() - began < seconds * 1000) {
    const finding = await fuzzer.step();
    if (finding !== undefined) {
      say(progress(fuzzer, began));
      return finding;
    }
    if (performance.now() - reported > REPORT_EVERY) {
      reported = performance.now();
      say(progress(fuzzer, began));
    }
  }
  say(`${progress(fuzzer, began)}: nothing found`);
  if (options.save) {
    const kept = await fuzzer.minimal();
    say(`${target.name}: ${kept.length} inputs saved, ${writeCorpus(target, kept)} bytes`);
  }
  return undefined;
}

function showFinding(target: Target, { input, error }: Finding): void {
  const path = writeFinding(target, input);
  say(`${target.name}: FOUND in ${input.length} bytes, ${path}`);
  say(error.stack ?? error.message);
}

async function main(args: readonly string[]): Promise<number> {
  let options: Options;
  try {
    options = parseOptions(args, TARGETS);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    say(`${error.message}\n\n${usage(TARGETS)}`);
    return 2;
  }
  if (options.help) {
    say(usage(TARGETS));
    return 0;
  }
  say(`seed ${options.seed}`);
  const subject = await loadInstrumented();
  let found = 0;
  for (const target of TARGETS.filter(({ name }) => options.targets.includes(name))) {
    const finding = await fuzz(target, subject, options);
    if (finding === undefined) continue;
    found++;
    showFinding(target, finding);
  }
  return found === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
