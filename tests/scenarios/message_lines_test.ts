/**
 * One problem, one line, whatever the files are called.
 *
 * @module
 */

import assert from "node:assert/strict";
import { stringify } from "yaml";
import { mtlsd } from "../support/daemon.ts";
import { TestBed } from "../support/testbed.ts";

/** A line end and the start of a colour. */
const NAME = "c\n\u001b[31m.yaml";
const SHOWN = "c\\u000a\\u001b[31m.yaml";

Deno.test("lines: a config that is not there, and one without its grants", async () => {
  await using testBed = await TestBed.create();
  const { ca, server: cert, serverKey: key } = testBed.files;
  const path = `${testBed.dir}/${NAME}`;
  for (const command of ["check", "run", "grants"]) {
    const { code, stderr } = await mtlsd([command, path]);
    assert.equal(code, 2);
    assert.equal(
      stderr,
      `${testBed.dir}/${SHOWN}: Cannot read the config: there is no such file; check the path\n`,
    );
  }
  const config = { mode: "server", listen: ":8443", target: "127.0.0.1:1", tls: { cert, key, ca } };
  await Deno.writeTextFile(path, stringify(config));
  const flags = [
    "--no-prompt",
    `--allow-read=${testBed.dir}`,
    "--allow-net=[::]:8443,0.0.0.0:8443",
  ];
  const { code, stderr } = await mtlsd(["run", path], { flags });
  assert.equal(code, 2);
  assert.equal(
    stderr,
    `${testBed.dir}/${SHOWN}: Cannot run without a grant for target: add --allow-net=127.0.0.1:1\n`,
  );
});

Deno.test("lines: certificates that cannot be written", async () => {
  await using testBed = await TestBed.create();
  const out = await testBed.write(NAME, "");
  const flags = ["--no-prompt", `--allow-read=${testBed.dir}`, `--allow-write=${testBed.dir}`];
  const { code, stderr } = await mtlsd(["certs", "--out", out], { flags });
  assert.equal(code, 1);
  assert.equal(stderr.trimEnd().split("\n").length, 1, stderr);
  // deno-lint-ignore no-control-regex -- control characters are what must not be there
  assert.doesNotMatch(stderr, /\x1b/);
});
