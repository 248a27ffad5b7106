/**
 * What mtlsd costs beside HAProxy, nginx and stunnel: `deno task bench --help`.
 *
 * Every subject gets the same work in turn, from a load generator and a backend that are processes of
 * their own, on another CPU where there is one. What it spent is what the operating system has
 * accounted to its processes.
 *
 * @module
 */

import { ROOT } from "../support/daemon.ts";
import { help, type Options, parse } from "./args.ts";
import { Bench } from "./bench.ts";
import { MEASURES } from "./measures.ts";
import { figures, table } from "./report.ts";
import { type Outcome, runAll } from "./run.ts";
import { FULL, QUICK } from "./scale.ts";
import { findSubject, type Missing, type Subject } from "./subjects.ts";

/** Load average up to which a machine passes for idle. */
const QUIET = 0.7;

function print(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

function say(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`${text}\n`));
}

/** Who is there and who is not. */
async function find(options: Options): Promise<{ subjects: Subject[]; missing: Missing[] }> {
  const subjects: Subject[] = [];
  const missing: Missing[] = [];
  for (const name of options.subjects) {
    const tree = (name === "base" ? options.base : options.src) ?? ROOT;
    const found = await findSubject(name, await Deno.realPath(tree));
    if ("setUp" in found) subjects.push(found);
    else missing.push(found);
  }
  return { subjects, missing };
}

/** Runs what was asked for; whether all of it could be run. */
async function bench(options: Options, signal: AbortSignal): Promise<boolean> {
  const { subjects, missing } = await find(options);
  for (const { name, version } of subjects) print(`${name}: ${version}`);
  for (const { name, debian } of missing) {
    print(`${name}: not run, it is not installed (Debian package ${debian})`);
  }
  if (options.strict && missing.length > 0) return false;
  const scale = options.quick ? QUICK : FULL;
  await using stage = await Bench.create(scale);
  const stop = () => void stage.cut();
  signal.addEventListener("abort", stop);
  print(placement(stage));
  const load = Deno.loadavg()[0] ?? 0;
  // A process that shares its CPU finds cold caches, and wakes for less data at a time or for more.
  if (load > QUIET) say(`the machine has other work (load ${load.toFixed(1)}): expect odd figures`);
  const started = performance.now();
  const outcome = await runAll(stage, {
    measures: MEASURES.filter(({ name }) => options.only?.includes(name) ?? true),
    modes: options.modes,
    subjects,
    rounds: options.rounds,
    progress: (line) => say(`${((performance.now() - started) / 1000).toFixed(0)} s  ${line}`),
    signal,
  });
  await report(options, subjects, missing, outcome, load);
  return outcome.failures.length === 0;
}

function placement({ subjectPlace, loadPlace }: Bench): string {
  return subjectPlace.cpus === undefined
    ? "one CPU: the load shares it with the subject\n"
    : `subjects on CPU ${subjectPlace.cpus}, load and backend on CPU ${loadPlace.cpus}\n`;
}

async function report(
  options: Options,
  subjects: readonly Subject[],
  missing: readonly Missing[],
  { rows, failures }: Outcome,
  load: number,
): Promise<void> {
  const names = subjects.map(({ name }) => name);
  const list = figures(rows.all(), names);
  print(table(list, names));
  print("\nMedians; in brackets mtlsd as a multiple. ±: half of what mtlsd's rounds are apart.");
  print(
    "Bars: at most so many times nginx's. busy: how much of a CPU each subject used meanwhile.",
  );
  for (const { measure, mode, subject, reason } of failures) {
    print(`not measured: ${measure}, ${mode}, ${subject}: ${reason}`);
  }
  if (options.json === undefined) return;
  const versions = subjects.map(({ name, version }) => ({ name, version }));
  const data = { subjects: versions, missing, load, figures: list, failures };
  await Deno.writeTextFile(options.json, `${JSON.stringify(data, null, 2)}\n`);
}

async function main(args: readonly string[]): Promise<number> {
  const parsed = parse(args, MEASURES.map(({ name }) => name));
  if (parsed.kind === "help") {
    print(help(MEASURES));
    return 0;
  }
  if (parsed.kind === "error") {
    say(parsed.message);
    return 2;
  }
  const stopping = new AbortController();
  const stop = () => stopping.abort();
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, stop);
  try {
    return await bench(parsed.options, stopping.signal) || !parsed.options.strict ? 0 : 1;
  } catch (error) {
    if (stopping.signal.aborted) return 130;
    throw error;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
