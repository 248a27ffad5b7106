/**
 * The command line of the fault suite.
 *
 * @module
 */

import type { Scale } from "./row.ts";

/** What is to be done. */
export type Options = {
  readonly scale: Scale;
  /** Say how it is called and run none. */
  readonly help: boolean;
  /** Print the rows and run none. */
  readonly list: boolean;
  /** Run those rows only that have this in subject or fault, whatever its case. */
  readonly only: string | undefined;
  /** Where the results go as JSON besides. */
  readonly json: string | undefined;
  /** Run this one row in this process and print its result as JSON: how the runner calls itself. */
  readonly row: number | undefined;
};

/** How it is called. */
export const USAGE = "usage: main.ts [--bounded] [--only TEXT] [--list] [--json FILE] [--help]";

/** Settings without one. */
const FLAGS = ["--bounded", "--list", "--help"] as const;

/** Settings with a value. */
const VALUED = ["--only", "--json", "--row"] as const;

/**
 * Reads the arguments.
 *
 * @throws {RangeError} for what it does not know; the message says what.
 */
export function parseOptions(args: readonly string[]): Options {
  const values = new Map<string, string>();
  const flags = new Set<string>();
  const rest = [...args];
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (FLAGS.some((name) => name === arg)) {
      flags.add(arg);
    } else if (VALUED.some((name) => name === arg)) {
      const value = rest.shift();
      if (value === undefined || value === "") throw new RangeError(`"${arg}" needs a value`);
      values.set(arg, value);
    } else {
      throw new RangeError(`unknown argument "${arg}"`);
    }
  }
  const row = values.get("--row");
  if (row !== undefined && !/^\d{1,4}$/.test(row)) {
    throw new RangeError(`"--row" needs a number, not "${row}"`);
  }
  return {
    scale: flags.has("--bounded") ? "bounded" : "full",
    help: flags.has("--help"),
    list: flags.has("--list"),
    only: values.get("--only"),
    json: values.get("--json"),
    row: row === undefined ? undefined : Number(row),
  };
}
