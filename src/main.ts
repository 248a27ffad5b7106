/**
 * mtlsd: connects two services over mutual TLS without changing either one.
 *
 * This module only checks the runtime and guards the process's signals, then loads the program.
 * Modules that are imported with `import ... from` are parsed and linked before any of them runs,
 * so none of them may use syntax or APIs that an older Deno lacks: `version.ts` is the only one.
 *
 * @module
 */

import { unfitRuntime } from "./util/version.ts";

// `main` is undefined in runtimes that do not support it, which are rejected in any case.
if (import.meta.main !== false) {
  const unfit = unfitRuntime(globalThis.Deno?.version?.deno);
  if (unfit !== undefined) {
    // deno-lint-ignore no-console -- the one way to write that every runtime has
    console.error(unfit);
    if (globalThis.Deno === undefined) globalThis.process.exit(2);
    Deno.exit(2);
  }
  // A signal can arrive at any time, so do this before loading the rest, which takes a while.
  (await import("./control/inspector.ts")).guardSignals();
  Deno.exit(await (await import("./commands/mod.ts")).main(Deno.args));
}
