/**
 * One row in a process of its own: what it leaves behind, uses up or hangs in is its own affair.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { NotRun, type Row, type Scale } from "./row.ts";
import type { Result, Verdict } from "./table.ts";

/** How long a row may take, in milliseconds. */
const LIMITS: Readonly<Record<Scale, number>> = { full: 600_000, bounded: 180_000 };

/** Runs a row here. Never rejects. */
export async function perform(row: Row, scale: Scale): Promise<Verdict> {
  try {
    return { outcome: "held", text: await row.run(scale) };
  } catch (error) {
    if (error instanceof NotRun) return { outcome: "not run", text: error.message };
    return { outcome: "failed", text: error instanceof Error ? error.message : String(error) };
  }
}

/** The verdict in what the process has printed; `undefined` where there is none. */
export function verdictIn(printed: string): Verdict | undefined {
  const last = printed.trimEnd().split("\n").at(-1) ?? "";
  if (!last.startsWith('{"outcome":')) return undefined;
  return JSON.parse(last) as Verdict;
}

/** Processes in a group of their own, so that all of them can be ended together. */
class Group {
  readonly child: Deno.ChildProcess;

  constructor(args: readonly string[], env: Readonly<Record<string, string>>) {
    this.child = new Deno.Command(Deno.execPath(), {
      args: [...args],
      env,
      detached: true,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  }

  end(): void {
    try {
      Deno.kill(-this.child.pid, "SIGKILL");
    } catch (error) {
      // There is none left.
      if (!(error instanceof Deno.errors.NotFound) && !(error instanceof TypeError)) throw error;
    }
  }
}

/** How a row is started, and stopped from outside. */
export type RowSettings = {
  readonly scale: Scale;
  /** Ends it with everything that it has started. */
  readonly signal: AbortSignal;
  /** In place of the limit of the scale, in milliseconds. */
  readonly limit?: number;
  /** The program; default: the runner. */
  readonly program?: string;
};

/** Runs the row with this number in a process of its own and ends whatever is left of it. */
export async function runRow(number: number, row: Row, settings: RowSettings): Promise<Result> {
  const { scale, signal, limit = LIMITS[scale] } = settings;
  const program = settings.program ?? fileURLToPath(new URL("./main.ts", import.meta.url));
  const start = performance.now();
  const dir = await Deno.makeTempDir({ prefix: "mtlsd-faults-" });
  const group = new Group([
    "run",
    "--no-prompt",
    "--allow-all",
    program,
    "--row",
    String(number),
    ...(scale === "bounded" ? ["--bounded"] : []),
  ], { TMPDIR: dir });
  let late = false;
  const end = () => group.end();
  const timer = setTimeout(() => {
    late = true;
    end();
  }, limit);
  signal.addEventListener("abort", end, { once: true });
  try {
    const { child } = group;
    const printed = Promise.all([child.stdout, child.stderr].map((stream) => textOf(stream)));
    const { code } = await child.status;
    // A process that is left may still hold its output.
    end();
    const [out = "", err = ""] = await printed;
    const verdict = late
      ? { outcome: "failed", text: `not done within ${limit / 1000} s` } as const
      : verdictIn(out) ?? { outcome: "failed", text: `exit status ${code}: ${out}${err}` } as const;
    return { ...verdict, row, seconds: (performance.now() - start) / 1000 };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
    await Deno.remove(dir, { recursive: true });
  }
}

async function textOf(stream: ReadableStream<Uint8Array>): Promise<string> {
  return await new Response(stream).text();
}
