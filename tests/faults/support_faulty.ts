/**
 * Starts daemons that meet faults: the program as it is shipped, with the injector in front.
 *
 * @module
 */

import { pathToFileURL } from "node:url";
import { join } from "node:path";
import { ROOT, startDaemon, type TestDaemon } from "../support/daemon.ts";
import type { TestBed } from "../support/testbed.ts";
import { type Fault, type Route, WRAPPED } from "./support_plan.ts";

const here = (name: string): string => new URL(name, import.meta.url).href;

/** The project's import map, with the wrapped modules in place of the real ones. */
async function importMap(): Promise<string> {
  const { imports } = JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json")));
  const modules = WRAPPED.map((name) => pathToFileURL(join(ROOT, "src", name)).href);
  const wrapped = here("./support_wrapped.ts");
  const map = (to: (module: string) => string) =>
    Object.fromEntries(modules.map((module) => [module, to(module)]));
  return JSON.stringify({
    imports: { ...imports, ...map(() => wrapped) },
    scopes: { [wrapped]: map((module) => module) },
  });
}

/** A daemon of the test bed with this config, which meets these faults and carries its connections so. */
export async function startFaulty(
  testBed: TestBed,
  config: Readonly<Record<string, unknown>>,
  faults: readonly Fault[],
  route: Route,
): Promise<TestDaemon> {
  const map = await testBed.write("import_map.json", await importMap());
  const preload = await testBed.write(
    "faults.ts",
    `import { install } from ${JSON.stringify(here("./support_injector.ts"))};\n` +
      `install(${JSON.stringify(faults)}, "${route}");\n`,
  );
  // The harness ends with the program and its words; the injector's flags go behind `run`.
  const script = `exec "$0" run --preload="$PRELOAD" --import-map="$IMPORT_MAP" "\${@:2}"`;
  const wrapper = ["env", `PRELOAD=${preload}`, `IMPORT_MAP=${map}`, "bash", "-c", script];
  return testBed.use(await startDaemon({ dir: testBed.dir, config, wrapper }));
}
