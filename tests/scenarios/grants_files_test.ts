/**
 * `grants --files`: nothing but the files that the config names can be read, and certificates that are
 * renewed in any way are taken over all the same, by looking.
 *
 * @module
 */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { join } from "node:path";
import { stringify } from "yaml";
import { linesAt, mtlsd, startDaemon, type TestDaemon } from "../support/daemon.ts";
import { sh } from "../support/peers.ts";
import { byRename, bySymlink, contents, inPlace, renewed, serialSeen } from "../support/reload.ts";
import { TestBed } from "../support/testbed.ts";
import { until } from "../support/wait.ts";

/** A daemon under what `grants --files` prints for files in `dir`. */
async function start(testBed: TestBed, dir: string): Promise<TestDaemon> {
  const tls = {
    cert: join(dir, "server.pem"),
    key: join(dir, "server-key.pem"),
    ca: join(dir, "ca.pem"),
  };
  const listen = "127.0.0.1:0";
  // No server listens there: these are about handshakes.
  const target = "127.0.0.1:9";
  const probes = { health: { enabled: true, listen }, metrics: { enabled: true, listen } };
  const path = await testBed.write(
    "server.yaml",
    stringify({ mode: "server", listen, target, tls, ...probes }),
  );
  const { code, stdout, stderr } = await mtlsd(["grants", "--files", path], {
    flags: ["--no-prompt", `--allow-read=${path}`],
  });
  assert.deepEqual({ code, stderr }, { code: 0, stderr: "" });
  const flags = stdout.trim().split(" ");
  assert.equal(
    flags.find((flag) => flag.startsWith("--allow-read=")),
    `--allow-read=${[tls.cert, tls.key, tls.ca, path].join(",")}`,
  );
  return testBed.use(
    await startDaemon({ dir: testBed.dir, config: {}, flags, args: () => [path] }),
  );
}

/** Waits until new handshakes get this certificate. */
async function serves(testBed: TestBed, daemon: TestDaemon, pem: string): Promise<void> {
  const wanted = new X509Certificate(pem).serialNumber;
  await until(async () => await serialSeen(testBed.as(daemon)) === wanted, {
    every: 200,
  });
}

const WAYS = { "renamed into place": byRename, "rewritten in place": inPlace } as const;

Deno.test("grants --files: files that are replaced or rewritten are taken over", async (t) => {
  await using testBed = await TestBed.create();
  const dir = join(testBed.dir, "tls");
  await Deno.mkdir(dir);
  await byRename(dir, { ...contents(testBed.pki.server), "ca.pem": testBed.pki.ca.pem });
  const daemon = await start(testBed, dir);
  const line = await daemon.waitForLog("certstore: watching files for changes");
  assert.match(line.raw, / directories=(\[\]|"")? ?poll_seconds=5$/);
  for (const [way, put] of Object.entries(WAYS)) {
    await t.step(way, async () => {
      const next = renewed(testBed.pki);
      await put(dir, contents(next));
      await serves(testBed, daemon, next.pem);
    });
  }
  await t.step("gone, and back", async () => {
    const next = renewed(testBed.pki);
    await Deno.remove(join(dir, "server.pem"));
    await daemon.waitForLog("certstore: reload failed, keeping the previous certificates");
    await byRename(dir, contents(next));
    await serves(testBed, daemon, next.pem);
  });
  assert.deepEqual(linesAt(daemon, "WARN"), []);
  await t.step("by SIGHUP at once", async () => {
    const from = daemon.lines.length;
    daemon.kill("SIGHUP");
    await daemon.waitForLog("certstore: certificates reloaded successfully", {
      trigger: "signal",
    }, from);
  });
  await t.step("and nothing else there can be read or watched", async () => {
    const { stdout } = await sh(`tr '\\0' ' ' </proc/${daemon.pid}/cmdline`);
    const flags = stdout.split(" ").filter((word) => /^--(no-prompt|allow)/.test(word)).join(" ");
    await Deno.writeTextFile(join(dir, "other.pem"), "secret");
    const script = `const can = (f) => { try { f(); return true; } catch (e) {
      if (e instanceof Deno.errors.NotCapable) return false; throw e; } };
    const dir = ${JSON.stringify(dir)};
    console.log(JSON.stringify([
      can(() => Deno.readTextFileSync(dir + "/server.pem")),
      can(() => Deno.readTextFileSync(dir + "/other.pem")),
      can(() => [...Deno.readDirSync(dir)]),
      can(() => Deno.watchFs(dir).close()),
    ]));`;
    const path = join(testBed.dir, "probe.js");
    await Deno.writeTextFile(path, script);
    const ran = await sh(`'${Deno.execPath()}' run ${flags} '${path}'`);
    assert.deepEqual(JSON.parse(ran.stdout || "null"), [true, false, false, false], ran.stderr);
  });
  assert.equal(await daemon.stop(), 0);
});

Deno.test("grants --files: links are followed, wherever they lead after a swap", async (t) => {
  await using testBed = await TestBed.create();
  const dir = join(testBed.dir, "mount");
  await Deno.mkdir(dir);
  const put = (identity: typeof testBed.pki.server) =>
    bySymlink(dir, { ...contents(identity), "ca.pem": testBed.pki.ca.pem });
  await put(testBed.pki.server);
  const daemon = await start(testBed, dir);
  await t.step("as Kubernetes swaps them", async () => {
    for (let round = 0; round < 2; round++) {
      const next = renewed(testBed.pki);
      await put(next);
      await serves(testBed, daemon, next.pem);
    }
  });
  await t.step("as certbot swaps them: links to files elsewhere", async () => {
    const archive = join(testBed.dir, "archive");
    await Deno.mkdir(archive);
    const next = renewed(testBed.pki);
    await byRename(archive, contents(next));
    for (const name of Object.keys(contents(next))) {
      await Deno.symlink(join(archive, name), join(dir, `.${name}`));
      await Deno.rename(join(dir, `.${name}`), join(dir, name));
    }
    await serves(testBed, daemon, next.pem);
  });
  assert.deepEqual(linesAt(daemon, "WARN"), []);
  assert.equal(await daemon.stop(), 0);
});
