/**
 * What lies at the config's path when SIGHUP comes: whatever it is, the next reload is not held up.
 *
 * @module
 */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { readConfigFile } from "../../src/control/config_file.ts";
import { lineBackend, sh } from "../support/peers.ts";
import { byRename, contents, renewed, serialSeen } from "../support/reload.ts";
import { TestBed } from "../support/testbed.ts";
import { until } from "../support/wait.ts";

const RELOADED = "certstore: certificates reloaded successfully";
const FAILED = "certstore: reload failed, keeping the previous certificates";

Deno.test("SIGHUP with a pipe in place of the config fails, and later reloads do not wait", async () => {
  await using testBed = await TestBed.create();
  const server = await testBed.server(testBed.use(lineBackend()).address);
  await Deno.rename(server.configPath, `${testBed.dir}/kept`);
  await sh(`mkfifo '${server.configPath}'`, { cwd: testBed.dir });
  server.kill("SIGHUP");
  await server.waitForLog(FAILED, {
    trigger: "signal",
    error: /yaml: Cannot read the config: it is not a regular file/,
  });
  const next = renewed(testBed.pki);
  await byRename(testBed.dir, contents(next));
  await server.waitForLog(RELOADED, { trigger: "watch" });
  const { serialNumber } = new X509Certificate(next.pem);
  await until(async () => await serialSeen(testBed.as(server)) === serialNumber);
  await Deno.rename(`${testBed.dir}/kept`, server.configPath);
  server.kill("SIGHUP");
  await server.waitForLog(RELOADED, { trigger: "signal" });
  assert.equal(await server.stop(), 0);
});

Deno.test("a directory, a device and a link to nothing are told apart when read again", async () => {
  await using testBed = await TestBed.create();
  const again = (path: string) => readConfigFile(path, { again: true });
  await Deno.symlink("nowhere", `${testBed.dir}/dangling`);
  await assert.rejects(
    again(testBed.dir),
    /Cannot read the config: it is a directory; name a file$/,
  );
  await assert.rejects(again("/dev/null"), /Cannot read the config: it is not a regular file/);
  await assert.rejects(again(`${testBed.dir}/dangling`), /there is no such file; check the path$/);
  const path = await testBed.write("c.yaml", "mode: server\n");
  await Deno.symlink("c.yaml", `${testBed.dir}/link`);
  assert.equal(await again(path), "mode: server\n");
  assert.equal(await again(`${testBed.dir}/link`), "mode: server\n");
});
