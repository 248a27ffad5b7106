/**
 * A pipe in a directory of certificates: Deno's watching thread opens it and never comes back, and who
 * opens or closes a watch then waits for that thread. The daemon has to do neither.
 *
 * In processes of their own, as the whole process is what would stop.
 *
 * @module
 */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import type { TestDaemon } from "../support/daemon.ts";
import { attempt, lineBackend, sh } from "../support/peers.ts";
import { contents, renewed, serialSeen } from "../support/reload.ts";
import { TestBed } from "../support/testbed.ts";
import { until, within } from "../support/wait.ts";

const CANNOT_WATCH = "certstore: cannot watch directory, looking every now and then";

/** Milliseconds; a process that has stopped takes for ever. */
const LIMIT = 60_000;

/** A server whose own certificate lies in a directory of its own. */
async function serverIn(testBed: TestBed, dir: string): Promise<TestDaemon> {
  await write(dir, { "server.pem": "server", "server-key.pem": "serverKey" }, testBed);
  await write(`${testBed.dir}/ca`, { "ca.pem": "ca" }, testBed);
  return await testBed.server(testBed.use(lineBackend()).address, {
    tls: {
      cert: `${dir}/server.pem`,
      key: `${dir}/server-key.pem`,
      ca: `${testBed.dir}/ca/ca.pem`,
    },
  });
}

async function write(
  dir: string,
  files: Readonly<Record<string, "server" | "serverKey" | "ca">>,
  { files: of }: TestBed,
): Promise<void> {
  await Deno.mkdir(dir, { recursive: true });
  for (const [name, key] of Object.entries(files)) await Deno.copyFile(of[key], `${dir}/${name}`);
}

/** Puts another directory with another identity in place of this one; its serial. */
async function replace(testBed: TestBed, dir: string): Promise<string> {
  const next = renewed(testBed.pki);
  await Deno.mkdir(`${dir}.new`);
  for (const [name, text] of Object.entries(contents(next))) {
    await Deno.writeTextFile(`${dir}.new/${name}`, text, { mode: 0o600 });
  }
  await Deno.rename(dir, `${dir}.gone`);
  await Deno.rename(`${dir}.new`, dir);
  return new X509Certificate(next.pem).serialNumber;
}

/** Waits until a handshake shows the certificate; one that stands still is a failure too. */
async function serves(testBed: TestBed, server: TestDaemon, serial: string): Promise<void> {
  await until(async () => await within(LIMIT, serialSeen(testBed.as(server))) === serial);
}

const MAKE: Readonly<Record<string, string>> = {
  "a pipe beside the files": "mkfifo own/pipe",
  "a link to a pipe beside the files": "mkdir x; mkfifo x/pipe; ln -s ../x/pipe own/pipe",
  "a pipe in place of the directory": "mkfifo pipe; mv own own.old; mv pipe own",
};

for (const [what, make] of Object.entries(MAKE)) {
  Deno.test(`${what}, then another directory takes its place`, async () => {
    await using testBed = await TestBed.create();
    const dir = `${testBed.dir}/own`;
    const server = await serverIn(testBed, dir);
    await sh(make, { cwd: testBed.dir });
    await server.waitForLog(CANNOT_WATCH, { directory: dir, error: /^("pipe" in )?it is a pipe/ });
    const serial = await replace(testBed, dir);
    await serves(testBed, server, serial);
    assert.equal(await attempt(testBed.as(server)), "echo: hello");
    assert.equal(await server.stop(), 0);
  });
}

Deno.test("a directory that has a pipe from the start is looked at and not watched", async () => {
  await using testBed = await TestBed.create();
  const dir = `${testBed.dir}/own`;
  await Deno.mkdir(dir);
  await sh("mkfifo own/pipe", { cwd: testBed.dir });
  const server = await serverIn(testBed, dir);
  await server.waitForLog(CANNOT_WATCH, { directory: dir, error: /^"pipe" in it is a pipe/ });
  const { fields } = await server.waitForLog("certstore: watching files for changes");
  assert.equal(fields.directories, `[${testBed.dir}/ca]`);
  // A writer comes and goes, of which a watch would hear, and so open the pipe.
  await sh("timeout 1 cat own/pipe > /dev/null & echo x > own/pipe; wait", { cwd: testBed.dir });
  const serial = await replace(testBed, dir);
  await serves(testBed, server, serial);
  assert.equal(await server.stop(), 0);
});
