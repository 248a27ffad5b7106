/**
 * Nobody is asked for a grant: at a terminal Deno would, and whoever says yes once has no tight grants.
 *
 * @module
 */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { absent } from "../../support/deploy/examples.ts";
import { Program } from "../../support/program.ts";

const MAIN = fileURLToPath(new URL("../../../src/main.ts", import.meta.url));
const CONFIG = fileURLToPath(new URL("../../../examples/server.yaml", import.meta.url));

for (const command of ["run", "check", "grants"]) {
  Deno.test({
    name: `${command}: a config that may not be read is an error at a terminal too`,
    ignore: absent("script", "bsdutils"),
  }, async () => {
    // As where `deno run $(mtlsd grants ...)` has got no flags.
    const line = `exec '${Deno.execPath()}' run '${MAIN}' ${command} '${CONFIG}'`;
    const env = { SHELL: "/bin/sh", NO_COLOR: "1" };
    await using program = new Program("script", ["-qec", line, "/dev/null"], { env });
    await program.says(/Cannot read the config: add --allow-read=/);
    assert.equal(await program.ends(), 2);
    assert.doesNotMatch(program.words, /Allow\?|Deno requests/);
  });
}
