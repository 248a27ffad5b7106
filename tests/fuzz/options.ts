/**
 * The command line of the fuzzer.
 *
 * @module
 */

import type { Target } from "./target.ts";

/** What is to be done. */
export type Options = {
  /** Say how it is called and run nothing. */
  readonly help: boolean;
  /** By name. */
  readonly targets: readonly string[];
  /** Seconds for each target; `undefined`: no limit by the clock. */
  readonly seconds: number | undefined;
  /** Inputs for each target; `bounded`: as many as the target says; `undefined`: no limit by number. */
  readonly runs: number | "bounded" | undefined;
  readonly seed: number;
  /** Write the corpus back, as small as it can be. */
  readonly save: boolean;
};

/** What `--bounded` begins with: the same inputs in every run. */
const BOUNDED_SEED = 1;

/** How it is called. */
export function usage(targets: readonly Target[]): string {
  const width = Math.max(...targets.map(({ name }) => name.length));
  return `usage: deno task fuzz [TARGET ...] [OPTION ...]

Makes inputs out of those in testdata/fuzz/, runs the code on them, and keeps those that reach
branches of the code that none before did. Stops at the first input of a target that breaks one of
its claims: a throw that is no refusal, more steps than the length allows, or two readers that
disagree. That input is made smaller and written to testdata/fuzz/TARGET/found-...; from then on
tests/fuzz/corpus_test.ts runs it. Exit code 1 if there was one, 2 for a wrong argument.

targets (default all, one after the other):
${targets.map(({ name, about }) => `  ${name.padEnd(width)}  ${about}`).join("\n")}

options:
  --seconds N   how long each target runs; default 600
  --runs N      how many inputs each target runs, instead of a time
  --seed N      of the random numbers; default: another in each run. With --runs and the same
                corpus the same inputs follow
  --bounded     the run of CI: a minute in all, always the same inputs (--seed ${BOUNDED_SEED})
  --save        add the seeds of the test PKI, and in the end replace the corpus by a small one that
                reaches the same branches
  --help        this text
`;
}

const FLAGS = ["--bounded", "--save", "--help"];
const VALUED = ["--seconds", "--runs", "--seed"];

/**
 * Reads the arguments.
 *
 * @throws {RangeError} for what it does not know; the message says what.
 */
export function parseOptions(args: readonly string[], targets: readonly Target[]): Options {
  const numbers = new Map<string, number>();
  const flags = new Set<string>();
  const named: string[] = [];
  const rest = [...args];
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (FLAGS.includes(arg)) flags.add(arg);
    else if (VALUED.includes(arg)) {
      const value = rest.shift() ?? "";
      if (!/^\d{1,9}$/.test(value)) {
        throw new RangeError(`"${arg}" needs a whole number, not "${value}"`);
      }
      numbers.set(arg, Number(value));
    } else if (targets.some(({ name }) => name === arg)) named.push(arg);
    else {
      const known = targets.map(({ name }) => name).join(", ");
      throw new RangeError(`"${arg}" is no option and no target; targets are ${known}`);
    }
  }
  const bounded = flags.has("--bounded");
  if (bounded && numbers.size > 0) throw new RangeError(`"--bounded" goes with no number`);
  const runs = bounded ? "bounded" : numbers.get("--runs");
  return {
    help: flags.has("--help"),
    targets: named.length > 0 ? named : targets.map(({ name }) => name),
    seconds: numbers.get("--seconds") ?? (runs === undefined ? 600 : undefined),
    runs,
    seed: bounded
      ? BOUNDED_SEED
      : numbers.get("--seed") ?? crypto.getRandomValues(new Uint32Array(1))[0] ?? 0,
    save: flags.has("--save"),
  };
}
