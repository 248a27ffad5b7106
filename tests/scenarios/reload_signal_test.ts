/**
 * SIGHUP: certificates and rules anew, as one.
 *
 * @module
 */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { stringify } from "yaml";
import { countLog, startDaemon, type TestDaemon } from "../support/daemon.ts";
import { ask, attempt, lineBackend } from "../support/peers.ts";
import { byRename, contents, renewed, serialSeen } from "../support/reload.ts";
import { TestBed } from "../support/testbed.ts";
import { until } from "../support/wait.ts";

const RELOADED = "certstore: certificates reloaded successfully";
const FAILED = "certstore: reload failed, keeping the previous certificates";
const RESTART = "the config has changes that need a restart";
const SUCCESS = 'mtlsd_reloads_total{result="success"}';
const FAILURE = 'mtlsd_reloads_total{result="failure"}';

/** The config of {@linkcode TestBed.server}, to be written again with changes. */
function configOf(testBed: TestBed, target: string): Record<string, unknown> {
  const { ca, server, serverKey } = testBed.files;
  return {
    mode: "server",
    listen: "127.0.0.1:0",
    target,
    tls: { cert: server, key: serverKey, ca },
    health: { enabled: true, listen: "127.0.0.1:0" },
    metrics: { enabled: true, listen: "127.0.0.1:0" },
  };
}

async function lastReload(daemon: TestDaemon): Promise<Record<string, unknown>> {
  const { body } = await daemon.probe("/certz");
  return body.last_reload as Record<string, unknown>;
}

Deno.test("SIGHUP reloads at once, counts where nothing changed, and reads the rules", async (t) => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const config = configOf(testBed, backend.address);
  const server = testBed.use(await startDaemon({ dir: testBed.dir, config }));
  const write = (changes: Record<string, unknown>) =>
    Deno.writeTextFile(server.configPath, stringify({ ...config, ...changes }));
  const hup = async (series: string): Promise<number> => {
    const before = (await server.metrics()).get(series) ?? NaN;
    const lines = server.lines.length;
    server.kill("SIGHUP");
    await server.waitForMetric(series, before + 1);
    await server.waitForLog("received SIGHUP, reloading certificates", {}, lines);
    return lines;
  };
  await t.step("nothing changed", async () => {
    await hup(SUCCESS);
    await hup(SUCCESS);
    assert.equal(countLog(server, RELOADED), 2);
    assert.equal((await lastReload(server)).result, "success");
  });
  await t.step("new rules", async () => {
    await write({ acl: { allow_cn: ["somebody-else"] } });
    assert.equal(await attempt(testBed.as(server)), "echo: hello", "not before the signal");
    await hup(SUCCESS);
    assert.equal(await attempt(testBed.as(server)), "");
    await server.waitForLog("listener: denied connection", { peer_cn: "frontend-service" });
  });
  const keepsOld = async (error: RegExp): Promise<void> => {
    const lines = await hup(FAILURE);
    await server.waitForLog(FAILED, { level: "ERROR", error }, lines);
    const told = String((await lastReload(server)).error);
    // A probe's answer says what is wrong, and not where on this machine.
    assert.match(told, new RegExp(error.source.replaceAll(/config-\.\*\\\.yaml/g, "^config")));
    assert.ok(!told.includes("/") && !told.includes(".yaml"), told);
    assert.equal(await attempt(testBed.as(server)), "");
  };
  await t.step("a config that is no YAML", async () => {
    await Deno.writeTextFile(server.configPath, "mode: [server");
    await keepsOld(/config-.*\.yaml:\d+:\d+: /);
  });
  await t.step("a config with two mistakes", async () => {
    await write({ acl: { allow_cm: ["x"] }, mode: "servre" });
    await keepsOld(/acl\.allow_cm.*; .*mode|mode.*; .*acl\.allow_cm/);
  });
  await t.step("a config that is empty, and one that is gone", async () => {
    await Deno.writeTextFile(server.configPath, "");
    await keepsOld(/config-.*\.yaml/);
    await Deno.remove(server.configPath);
    await keepsOld(/no such file/);
  });
  await t.step("good rules with a broken certificate: neither is taken", async () => {
    const pem = await Deno.readTextFile(testBed.files.server);
    await write({ acl: { allow_cn: ["frontend-service"] } });
    await Deno.writeTextFile(testBed.files.server, "garbage");
    server.kill("SIGHUP");
    await until(async () => String((await lastReload(server)).error).includes("tls.cert"));
    assert.equal(await attempt(testBed.as(server)), "");
    await Deno.writeTextFile(testBed.files.server, pem);
  });
  await t.step("mended", async () => {
    server.kill("SIGHUP");
    await until(async () => await attempt(testBed.as(server)) === "echo: hello");
  });
  const GAUGE = "mtlsd_last_reload_successful";
  await t.step("changes that need a restart are named, not made, and no success", async () => {
    const acl = { allow_cn: ["frontend-service", "another"] };
    await write({ target: "127.0.0.1:9", logging: { level: "debug" }, acl });
    const lines = await hup(FAILURE);
    const { fields } = await server.waitForLog(RESTART, { level: "ERROR" }, lines);
    const keys = "logging.level: needs a restart; target: needs a restart; " +
      "acl.allow_cn: kept until the restart";
    assert.equal(fields.keys, keys);
    assert.equal((await server.metrics()).get(GAUGE), 0);
    const last = await lastReload(server);
    assert.deepEqual([last.result, last.error], ["failure", keys]);
    assert.equal(await ask(testBed.as(server), "still"), "echo: still");
  });
  await t.step("certificates that are renewed meanwhile do not make it one", async () => {
    const before = (await server.metrics()).get(SUCCESS) ?? NaN;
    const lines = server.lines.length;
    await byRename(testBed.dir, contents(renewed(testBed.pki)));
    await server.waitForMetric(SUCCESS, before + 1);
    await server.waitForLog(RESTART, { keys: /^logging/ }, lines);
    assert.equal((await server.metrics()).get(GAUGE), 0);
    assert.equal((await lastReload(server)).result, "failure");
  });
  await t.step("changed back, what is in force is what the file says", async () => {
    await write({ acl: { allow_cn: ["frontend-service"] } });
    await hup(SUCCESS);
    assert.equal((await server.metrics()).get(GAUGE), 1);
    assert.equal((await lastReload(server)).result, "success");
  });
  await t.step("rules that change are named", async () => {
    await write({ acl: { allow_cn: ["frontend-service", "another"], deny_org: ["Evil"] } });
    const lines = await hup(SUCCESS);
    await server.waitForLog(RELOADED, {
      trigger: "signal",
      changed: "acl.allow_cn: 1 → 2 rules; acl.deny_org: 0 → 1 rule",
    }, lines);
  });
});

Deno.test("SIGHUP with a config from standard input keeps the rules and says so", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const config = { ...configOf(testBed, backend.address), acl: { allow_cn: ["frontend-service"] } };
  await using server = await startDaemon({
    dir: testBed.dir,
    config,
    args: () => ["-"],
    stdin: true,
  });
  const next = renewed(testBed.pki);
  await byRename(testBed.dir, contents(next));
  server.kill("SIGHUP");
  await server.waitForLog(RELOADED, { trigger: "signal" });
  const { fields } = await server.waitForLog(
    "keeping the rules: a config from standard input cannot be read again",
  );
  assert.equal(fields.level, "WARN");
  assert.equal(await serialSeen(testBed.as(server)), new X509Certificate(next.pem).serialNumber);
  assert.equal(await ask(testBed.as(server), "hello"), "echo: hello");
});
