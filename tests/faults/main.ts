/**
 * The fault suite: does to real daemons what networks, peers and systems do, row by row, one at a
 * time since the figures are about memory and CPU.
 *
 *     deno run --no-prompt --allow-all tests/faults/main.ts [--bounded] [--only TEXT] [--list] [--json FILE]
 *
 * Exit status: 0 when every row that was run held, 1 when one did not, 2 for wrong usage.
 *
 * @module
 */

import { perform, runRow } from "./one_row.ts";
import { type Options, parseOptions, USAGE } from "./options.ts";
import { ROWS } from "./rows.ts";
import { line, nameOf, type Result, selected, statusOf, table, tally, toJson } from "./table.ts";

/** How many rows of a bounded run may fail once: those that hold at a second attempt are unsteady. */
const SECOND_ATTEMPTS = 3;

function print(text: string): void {
  const bytes = new TextEncoder().encode(`${text}\n`);
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}

/** Runs what was asked for; the exit status. */
async function runAll(options: Options): Promise<number> {
  const rows = selected(ROWS, options);
  if (rows.length === 0) throw new RangeError(`no row has "${options.only}" in its name`);
  if (options.list) {
    for (const [, row] of rows) print(`${nameOf(row)}: ${row.holds}`);
    return 0;
  }
  const stop = new AbortController();
  const stopped = () => stop.abort();
  const signals = ["SIGINT", "SIGTERM"] as const;
  for (const signal of signals) Deno.addSignalListener(signal, stopped);
  const results: Result[] = [];
  let attempts = options.scale === "bounded" ? SECOND_ATTEMPTS : 0;
  try {
    for (const [number, row] of rows) {
      const settings = { scale: options.scale, signal: stop.signal };
      let result = await runRow(number, row, settings);
      if (result.outcome === "failed" && attempts > 0 && !stop.signal.aborted) {
        // Every change runs these on machines that do other work as well. A row that fails now and
        // then is shown, and one that fails twice fails.
        attempts--;
        print(line(result));
        const first = result.text;
        const second = await runRow(number, row, settings);
        const text = `unsteady, at the second attempt; first: ${first}; then: ${second.text}`;
        result = second.outcome === "held" ? { ...second, text } : second;
      }
      if (stop.signal.aborted) break;
      results.push(result);
      print(line(result));
    }
  } finally {
    for (const signal of signals) Deno.removeSignalListener(signal, stopped);
  }
  print(`\n${table(results)}\n\n${tally(results)}`);
  if (options.json !== undefined) {
    await Deno.writeTextFile(options.json, toJson(options.scale, results));
  }
  return stop.signal.aborted ? 1 : statusOf(results);
}

async function main(args: readonly string[]): Promise<number> {
  try {
    const options = parseOptions(args);
    if (options.help) {
      print(USAGE);
      return 0;
    }
    if (options.row === undefined) return await runAll(options);
    const row = ROWS[options.row];
    if (row === undefined) throw new RangeError(`there is no row ${options.row}`);
    print(JSON.stringify(await perform(row, options.scale)));
    return 0;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    Deno.stderr.writeSync(new TextEncoder().encode(`${error.message}\n${USAGE}\n`));
    return 2;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
