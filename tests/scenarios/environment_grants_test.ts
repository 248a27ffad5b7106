/**
 * Settings from the environment under each grant: which variables are looked up, and which typos are found.
 *
 * @module
 */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { MAIN, startDaemon } from "../support/daemon.ts";
import { TestBed } from "../support/testbed.ts";

/** Flags that grant the environment: with and without the right to list every variable. */
const GRANTS: readonly (readonly string[])[] = [
  ["--allow-env=MTLSD_*"],
  ["--allow-env=MTLSD_*", "--deny-env=MTLSD_"],
  ["--allow-env"],
];

/** Runs `check` under these grants; a config is not valid here for want of files. */
async function check(
  config: string,
  flags: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<string> {
  const { stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--allow-read", ...flags, MAIN, "check", config],
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
  }).output();
  return new TextDecoder().decode(stderr);
}

Deno.test("environment: a typo is found under each grant that lists what there is", async () => {
  const config = fileURLToPath(
    new URL("../../testdata/config/valid/minimal_server.yaml", import.meta.url),
  );
  const env = { MTLSD_TLS_CRET: "s3cret", MTLSD_TLS_KEY: "other-key.pem" };
  for (const flags of GRANTS) {
    const typo = await check(config, flags, env);
    if (flags.length === 1 && flags[0]?.includes("*")) assert.doesNotMatch(typo, /CRET/);
    else {
      assert.equal(
        typo,
        'environment: MTLSD_TLS_CRET: Cannot use unknown variable: did you mean "MTLSD_TLS_CERT"?\n',
        flags.join(" "),
      );
    }
    const { MTLSD_TLS_CRET: _, ...good } = env;
    const found = await check(config, flags, good);
    assert.match(found, /^environment: MTLSD_TLS_KEY: Cannot use "other-key\.pem": there is no/m);
  }
  // Without it the environment is not looked at.
  for (const flags of [[], ["--allow-env=HOME"]]) {
    const found = await check(config, flags, env);
    assert.doesNotMatch(found, /environment|MTLSD|NotCapable|s3cret/, flags.join(" "));
    assert.match(found, /: tls\.key: Cannot use "server-key\.pem": there is no/);
  }
});

Deno.test({
  name: "environment: a daemon takes it, and without the grant does not look",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    await using testBed = await TestBed.create();
    const { files: { ca, server: cert, serverKey: key }, dir } = testBed;
    const start = async (...flags: string[]) => {
      await using daemon = await startDaemon({
        dir,
        config: {
          mode: "server",
          listen: "127.0.0.1:0",
          target: "127.0.0.1:9",
          tls: { cert, key, ca },
        },
        // All of 127.0.0.0/8 is loopback on Linux.
        wrapper: ["env", "MTLSD_LISTEN=127.0.0.2:0"],
        flags: ["--no-prompt", "--allow-net", "--allow-read", ...flags],
      });
      const { listen, log } = daemon;
      assert.doesNotMatch(log, /MTLSD/);
      return listen.split(":")[0];
    };
    assert.equal(await start("--allow-env=MTLSD_*"), "127.0.0.2");
    assert.equal(await start("--allow-env=MTLSD_*", "--deny-env=MTLSD_"), "127.0.0.2");
    assert.equal(await start(), "127.0.0.1");
  },
});
