/**
 * mtlsd: joins two services over mutually authenticated TLS without changing either one.
 *
 * Only checks the runtime and guards the process's signals, then loads the program. All modules that
 * are imported with `import ... from` are parsed and linked before the first of them runs, so what an
 * older Deno cannot parse or does not have must not be among them: `version.ts` is all there is.
 *
 * @module
 */

import { unfitRuntime } from "./version.ts";

// Undefined in runtimes that do not know it; those are refused in any case.
if (import.meta.main !== false) {
  const unfit = unfitRuntime(globalThis.Deno?.version?.deno);
  if (unfit !== undefined) {
    // deno-lint-ignore no-console -- the one way to write that every runtime has
    console.error(unfit);
    if (globalThis.Deno === undefined) globalThis.process.exit(2);
    Deno.exit(2);
  }
  // Before the rest is loaded, which takes a while: a signal may come at any time.
  (await import("./inspector.ts")).guardSignals();
  Deno.exit(await (await import("./program.ts")).main(Deno.args));
}
