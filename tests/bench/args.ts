/**
 * The command line of the bench.
 *
 * @module
 */

import { parseArgs } from "node:util";
import type { Mode } from "./running.ts";
import { type SubjectName, SUBJECTS } from "./subjects.ts";

/** What to run. */
export type Options = {
  readonly quick: boolean;
  /** A product that is missing is an error. */
  readonly strict: boolean;
  /** Names of measures; `undefined`: all. */
  readonly only: readonly string[] | undefined;
  readonly modes: readonly Mode[];
  readonly subjects: readonly SubjectName[];
  readonly rounds: number | undefined;
  /** Where to write the figures. */
  readonly json: string | undefined;
  /** Trees of mtlsd in place of this one, for `mtlsd` and for `base`. */
  readonly src: string | undefined;
  readonly base: string | undefined;
};

/** What the command line came to. */
export type Parsed =
  | { readonly kind: "run"; readonly options: Options }
  | { readonly kind: "help" }
  | { readonly kind: "error"; readonly message: string };

const MODES = ["server", "tunnel"] as const;

/** Reads the command line; `measures` are the names that there are. */
export function parse(args: readonly string[], measures: readonly string[]): Parsed {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        quick: { type: "boolean", default: false },
        strict: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
        only: { type: "string" },
        mode: { type: "string" },
        subjects: { type: "string" },
        rounds: { type: "string" },
        json: { type: "string" },
        src: { type: "string" },
        base: { type: "string" },
      },
    });
    if (values.help) return { kind: "help" };
    const { base, json, src } = values;
    const usual = SUBJECTS.filter((name) => name !== "base" || base !== undefined);
    const subjects = names("subjects", values.subjects, SUBJECTS) ?? usual;
    if (subjects.includes("base") && base === undefined) {
      throw new Error("Cannot run base: say where it is with --base DIR");
    }
    return {
      kind: "run",
      options: {
        quick: values.quick,
        strict: values.strict,
        only: names("only", values.only, measures),
        modes: names("mode", values.mode, MODES) ?? MODES,
        subjects,
        rounds: values.rounds === undefined ? undefined : wholeNumber("rounds", values.rounds),
        json,
        src,
        base,
      },
    };
  } catch (error) {
    return { kind: "error", message: error instanceof Error ? error.message : String(error) };
  }
}

function names<const T extends string>(
  flag: string,
  value: string | undefined,
  known: readonly T[],
): readonly T[] | undefined {
  if (value === undefined) return undefined;
  const wanted = value.split(",");
  for (const name of wanted) {
    if (!known.some((each) => each === name)) {
      throw new Error(
        `Cannot use --${flag} ${JSON.stringify(name)}: there are ${known.join(", ")}`,
      );
    }
  }
  return known.filter((name) => wanted.includes(name));
}

function wholeNumber(flag: string, value: string): number {
  if (!/^[1-9]\d{0,3}$/.test(value)) {
    throw new Error(`Cannot use --${flag} ${JSON.stringify(value)}: a whole number from 1 up`);
  }
  return Number(value);
}

/** What `--help` prints. */
export function help(
  measures: readonly { readonly name: string; readonly title: string }[],
): string {
  const width = Math.max(...measures.map(({ name }) => name.length));
  return `What mtlsd costs beside HAProxy, nginx and stunnel, by the system's own accounting.

  deno task bench [OPTIONS]

  --quick             few rounds of little work, up to 3 minutes
  --only NAME,..      these measures only, see below
  --mode NAME,..      server, tunnel (both ends by the same product); default both
  --subjects NAME,..  ${SUBJECTS.join(", ")}; default all that are there
  --rounds N          turns of each subject with each measure
  --json FILE         write all samples and medians
  --src DIR           mtlsd is that of another tree
  --base DIR          mtlsd of another tree runs as a subject of its own
  --strict            fail where a product is not installed or a measure could not be made

Measures:

${measures.map(({ name, title }) => `  ${name.padEnd(width)}  ${title}`).join("\n")}`;
}
