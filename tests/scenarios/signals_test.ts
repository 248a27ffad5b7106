/**
 * Signals at odd times: during the start, in storms, while files come and go.
 *
 * @module
 */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { join } from "node:path";
import { stringify } from "yaml";
import { countLog, startDaemon } from "../support/daemon.ts";
import { ask, attempt, connectTls, echoBackend, lineBackend } from "../support/peers.ts";
import { byRename, contents, HandshakeStream, renewed } from "../support/reload.ts";
import { TestBed } from "../support/testbed.ts";
import { until } from "../support/wait.ts";

const SUCCESS = 'mtlsd_reloads_total{result="success"}';
const FAILURE = 'mtlsd_reloads_total{result="failure"}';

Deno.test("a storm of SIGHUP under traffic costs nobody a connection", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const server = await testBed.server(backend.address);
  const established = await connectTls(testBed.as(server));
  const stream = testBed.use(new HandshakeStream(testBed.as(server)));
  let last = testBed.pki.server;
  for (let i = 0; i < 100; i++) {
    server.kill("SIGHUP");
    if (i % 10 !== 0) continue;
    last = renewed(testBed.pki);
    await byRename(testBed.dir, contents(last));
  }
  // A signal between certificate and key is a reload that fails; the system may merge signals.
  server.kill("SIGHUP");
  const wanted = new X509Certificate(last.pem).serialNumber;
  await until(() => stream.serials.at(-1) === wanted);
  await stream[Symbol.asyncDispose]();
  assert.deepEqual(stream.failures, []);
  const echoed = new Promise<string>((done) => established.once("data", (data) => done(`${data}`)));
  established.write("still here");
  assert.equal(await echoed, "still here");
  established.destroy();
  assert.equal(await server.stop(), 0);
  assert.doesNotMatch(server.log, /internal error/);
});

Deno.test("a SIGHUP during the start is not lost: the rules of its time hold", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const { ca, server: cert, serverKey: key } = testBed.files;
  const config = {
    mode: "server",
    listen: "127.0.0.1:0",
    target: backend.address,
    tls: { cert, key, ca },
    acl: { allow_cn: ["nobody"] },
  };
  await using server = await startDaemon({ dir: testBed.dir, config, expectFailure: true });
  // From here on signals are heard; the old rules have been read.
  await server.waitForLog("mtlsd starting");
  await Deno.writeTextFile(
    server.configPath,
    stringify({ ...config, acl: { allow_cn: ["frontend-service"] } }),
  );
  await server.waitForLog("certificates loaded");
  server.kill("SIGHUP");
  await server.waitForLog("received SIGHUP, reloading certificates");
  await server.waitForLog("certstore: certificates reloaded successfully", { trigger: "signal" });
  assert.equal(await ask(testBed.as(server), "hello"), "echo: hello");
  assert.equal(await server.stop(), 0);
});

Deno.test("signals of all kinds at once: it drains, and ends once", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const server = await testBed.server(backend.address);
  assert.equal(await attempt(testBed.as(server)), "echo: hello");
  await server.waitForLog("listener: connection closed");
  for (const signal of ["SIGHUP", "SIGTERM", "SIGHUP", "SIGINT", "SIGHUP"] as const) {
    server.kill(signal);
  }
  assert.equal(await server.exit(), 0);
  assert.equal(countLog(server, "shutting down"), 1);
  assert.equal(countLog(server, "shutdown complete"), 1);
  assert.equal(server.lines.at(-1)?.fields.msg, "shutdown complete");
});

Deno.test("a stop while a reload is under way waits for nobody", async () => {
  await using testBed = await TestBed.create();
  const server = await testBed.server("127.0.0.1:9");
  // A change that cannot be loaded is looked at for a second: the stop comes in the middle of it.
  await Deno.writeTextFile(testBed.files.server, "garbage");
  server.kill("SIGHUP");
  await byRename(testBed.dir, { "server.pem": "more garbage" });
  server.kill("SIGTERM");
  assert.equal(await server.exit(), 0);
  assert.equal(server.lines.at(-1)?.fields.msg, "shutdown complete");
});

Deno.test("files and directories that vanish leave the old state serving", async (t) => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const dir = join(testBed.dir, "certs");
  const put = async (): Promise<void> => {
    await Deno.mkdir(dir, { recursive: true });
    await byRename(dir, { ...contents(testBed.pki.server), "ca.pem": testBed.pki.ca.pem });
  };
  await put();
  const tls = {
    cert: join(dir, "server.pem"),
    key: join(dir, "server-key.pem"),
    ca: join(dir, "ca.pem"),
  };
  const server = await testBed.server(backend.address, { tls });
  const serves = async () => assert.equal(await ask(testBed.as(server), "hello"), "echo: hello");
  await t.step("the directory", async () => {
    await Deno.remove(dir, { recursive: true });
    await server.waitForMetric(FAILURE, (count) => count >= 1);
    await serves();
    server.kill("SIGHUP");
    await server.waitForMetric(FAILURE, (count) => count >= 2);
    await serves();
  });
  await t.step("and comes back", async () => {
    await put();
    await server.waitForMetric(SUCCESS, (count) => count >= 1);
    await serves();
  });
  await t.step("a directory of that name without the files", async () => {
    await Deno.rename(dir, `${dir}.old`);
    await Deno.mkdir(dir);
    await server.waitForMetric(FAILURE, (count) => count >= 3);
    await serves();
  });
  await t.step("a link to where the files are", async () => {
    await Deno.remove(dir);
    await Deno.symlink(`${dir}.old`, dir);
    await server.waitForMetric(SUCCESS, (count) => count >= 2);
    await serves();
  });
  await t.step("the config", async () => {
    await Deno.remove(server.configPath);
    server.kill("SIGHUP");
    await server.waitForLog("certstore: reload failed, keeping the previous certificates", {
      error: /there is no such file/,
    });
    await serves();
  });
  assert.equal(await server.stop(), 0);
  assert.doesNotMatch(server.log, /internal error/);
});

Deno.test("SIGQUIT drains as SIGTERM does, a second one cuts", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const idle = await testBed.server(backend.address);
  idle.kill("SIGQUIT");
  assert.equal(await idle.exit(), 0);
  await idle.waitForLog("shutting down", { signal: "SIGQUIT" });
  assert.equal(idle.lines.at(-1)?.fields.msg, "shutdown complete");

  const busy = await testBed.server(backend.address);
  const held = await connectTls(testBed.as(busy));
  held.on("error", () => {});
  await busy.waitForLog("listener: accepted connection");
  busy.kill("SIGQUIT");
  await busy.waitForLog("shutting down", { signal: "SIGQUIT" });
  busy.kill("SIGQUIT");
  assert.equal(await busy.exit(), 1);
  held.destroy();
});

Deno.test("SIGUSR2 is ignored, at the start, in service and in a drain", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const server = await testBed.server(backend.address);
  const held = await connectTls(testBed.as(server));
  const echo = async (text: string): Promise<void> => {
    const echoed = new Promise<string>((done) => held.once("data", (data) => done(`${data}`)));
    held.write(text);
    assert.equal(await echoed, text);
  };
  await echo("before");
  server.kill("SIGUSR2");
  await server.waitForLog("ignoring SIGUSR2");
  await echo("after");
  server.kill("SIGTERM");
  await server.waitForLog("shutting down");
  server.kill("SIGUSR2");
  await until(() => countLog(server, "ignoring SIGUSR2") === 2);
  await echo("in the drain");
  held.end();
  assert.equal(await server.exit(), 0);
});
