/**
 * Runs in the daemon before its program, for `trace.ts`: has V8 count the calls of every
 * function, and answers each HTTP request with a {@linkcode Call} for each function of `src/` that
 * has been called since the previous one. Its port stands in a line of the log.
 *
 * @module
 */

import inspector from "node:inspector";

/** A function that has been called. */
export type Call = {
  /** The module's path in `src/`. */
  readonly file: string;
  readonly name: string;
  /** Where it starts in what the runtime executes, which is not the line in the source. */
  readonly offset: number;
  /** The beginning of its text, which tells functions without a name apart. */
  readonly text: string;
};

type Coverage = {
  readonly result: readonly {
    readonly scriptId: string;
    readonly url: string;
    readonly functions: readonly {
      readonly functionName: string;
      readonly ranges: readonly {
        readonly startOffset: number;
        readonly endOffset: number;
        readonly count: number;
      }[];
    }[];
  }[];
};

/** The line of the log; `trace.ts` waits for it. */
const LISTENING = "trace: listening";

/** Milliseconds that what follows the last log line of a connection has to come to an end. */
const SETTLE = 100;
/** Characters of a function's text. */
const TEXT = 60;
/** V8's name for the function that sets the fields of an object. */
const FIELDS = "<instance_members_initializer>";
const SOURCE = new URL("../../src/", import.meta.url).href;

const session = new inspector.Session();

function post<T>(method: string, params: Readonly<Record<string, unknown>> = {}): Promise<T> {
  return new Promise((resolve, reject) =>
    session.post(
      method,
      params,
      (error: Error | null, result: unknown) => error ? reject(error) : resolve(result as T),
    )
  );
}

async function take(): Promise<Call[]> {
  await new Promise((done) => setTimeout(done, SETTLE));
  // V8 counts from 0 again after each time.
  const { result } = await post<Coverage>("Profiler.takePreciseCoverage");
  const calls: Call[] = [];
  for (const { scriptId, url, functions } of result) {
    if (!url.startsWith(SOURCE)) continue;
    const { scriptSource } = await post<{ scriptSource: string }>("Debugger.getScriptSource", {
      scriptId,
    });
    for (const { functionName, ranges: [whole] } of functions) {
      if (whole === undefined || whole.count === 0) continue;
      // V8 takes the whole module for a function, and the fields of a class too.
      if (whole.startOffset === 0 || functionName === FIELDS) continue;
      const text = scriptSource.slice(whole.startOffset, whole.endOffset).replace(/\s+/g, " ");
      calls.push({
        file: url.slice(SOURCE.length),
        name: functionName,
        offset: whole.startOffset,
        text: text.length > TEXT ? `${text.slice(0, TEXT)}…` : text,
      });
    }
  }
  return calls;
}

session.connect();
await post("Profiler.enable");
await post("Debugger.enable");
await post("Profiler.startPreciseCoverage", { callCount: true, detailed: false });
// The program starts once nothing keeps the event loop busy, so the server must not.
Deno.serve({
  hostname: "127.0.0.1",
  port: 0,
  onListen: ({ port }) =>
    void Deno.stderr.writeSync(
      new TextEncoder().encode(`msg="${LISTENING}" addr=127.0.0.1:${port}\n`),
    ),
}, async () => Response.json(await take())).unref();
