/**
 * SIGUSR1 on a real daemon: Deno opens a debugger on it, which lets in every local user. Each daemon has
 * a network of its own, since there is one port 9229 for all that are in one network.
 *
 * @module
 */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { countLog, MAIN, startDaemon, type TestDaemon } from "../support/daemon.ts";
import type { Attack } from "../support/debugger.ts";
import { sh } from "../support/peers.ts";
import { TestBed } from "../support/testbed.ts";
import { until } from "../support/wait.ts";

const ATTACKER = fileURLToPath(new URL("../support/debugger.ts", import.meta.url));

/** Not root: a namespace of users makes one. */
const USERS = Deno.uid() === 0 ? [] : ["--user", "--map-root-user"];
const ENTER = Deno.uid() === 0 ? ["--net"] : ["--net", "--user", "--preserve-credentials"];

/**
 * In real time where that is allowed: what is tested is what an attacker finds while the daemon runs.
 * A daemon that a busy machine stops between two turns of its event loop may lose.
 */
const REAL_TIME = new Deno.Command("chrt", { args: ["-f", "10", "true"] }).outputSync().success
  ? "chrt -f 10 "
  : "";

/** Puts a command into a network of its own; its process is the command's. */
function apart(...command: readonly string[]): string[] {
  return [
    "unshare",
    ...USERS,
    "--net",
    "sh",
    "-c",
    `ip link set lo up; exec ${REAL_TIME}"$@"`,
    "sh",
    ...command,
  ];
}

const ignore = (() => {
  const { success, stderr } = new Deno.Command("unshare", {
    args: [...USERS, "--net", "true"],
    stderr: "piped",
  }).outputSync();
  if (success || Deno.env.has("CI")) return false;
  Deno.stderr.writeSync(stderr);
  return true;
})();

/** The attacker, in the network of a process, while `during` goes on; how far it got. */
async function attacked(
  pid: number,
  during: (gotIn: () => boolean) => Promise<void>,
): Promise<Attack> {
  await using child = new Deno.Command("nsenter", {
    args: [
      "-t",
      String(pid),
      ...ENTER,
      Deno.execPath(),
      "run",
      "--no-prompt",
      "--allow-net",
      ATTACKER,
    ],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let said = "";
  const reading = (async () => {
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) said += text;
  })();
  await until(() => said.startsWith("waiting\n"));
  await during(() => said.includes("got in\n"));
  await child.stdin.close();
  await reading;
  return JSON.parse(said.trim().split("\n").at(-1) ?? "");
}

/** Whether something listens on the debugger's port in the network of a process. */
async function isOpen(pid: number): Promise<boolean> {
  const { code, stdout, stderr } = await sh(`nsenter -t ${pid} ${ENTER.join(" ")} ss -Hltn`);
  assert.equal(code, 0, stderr);
  return /:9229\s/.test(stdout);
}

/** Whether a process listens to SIGUSR1; before that the signal ends it. */
async function hears(pid: number): Promise<boolean> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  const caught = BigInt(`0x${/^SigCgt:\s*(\w+)$/m.exec(status)?.[1] ?? "0"}`);
  return (caught >> 9n & 1n) === 1n;
}

/** How often Deno said that it opened a debugger. */
function opened(daemon: TestDaemon): number {
  return daemon.lines.filter(({ raw }) => raw.startsWith("Debugger listening on")).length;
}

/**
 * Sends SIGUSR1 until Deno has opened the debugger so often: one that comes while it is open does not
 * open another.
 */
async function signalled(daemon: TestDaemon, times: number): Promise<void> {
  const before = opened(daemon);
  await until(() => {
    daemon.kill("SIGUSR1");
    return opened(daemon) >= before + times;
  }, { every: 50 });
}

function config(testBed: TestBed): Record<string, unknown> {
  const { ca, server: cert, serverKey: key } = testBed.files;
  const tls = { cert, key, ca };
  return { mode: "server", listen: "127.0.0.1:0", target: "127.0.0.1:9", tls };
}

/** The daemon lives, serves its probes, and the port is closed for good. */
async function assertShut(daemon: TestDaemon): Promise<void> {
  // Deno's own turn comes within the time for which the daemon goes on closing.
  await until(async () => !await isOpen(daemon.pid));
  const url = `${daemon.healthUrl}/healthz`;
  const probe = await sh(`nsenter -t ${daemon.pid} ${ENTER.join(" ")} curl -sS ${url}`);
  assert.equal(probe.stdout, '{"status":"alive"}', probe.stderr);
  assert.equal(await isOpen(daemon.pid), false);
}

Deno.test({
  name: "inspector: nobody gets into the daemon by SIGUSR1, however often it comes",
  ignore,
  async fn() {
    await using testBed = await TestBed.create();
    await using daemon = await startDaemon({
      dir: testBed.dir,
      config: config(testBed),
      wrapper: apart(),
    });
    const attack = await attacked(daemon.pid, () => signalled(daemon, 20));
    assert.equal(attack.evaluated, 0, JSON.stringify(attack));
    await assertShut(daemon);
    assert.ok(
      countLog(daemon, "ignoring SIGUSR1, closing the debugger that Deno opens on it") >= 20,
    );
    assert.equal(await daemon.stop(), 0);
  },
});

Deno.test({
  name: "inspector: a program without the guard is taken over by the same attacker",
  ignore,
  async fn() {
    const [command = "", ...args] = apart(Deno.execPath(), "eval", "setInterval(() => {}, 1000)");
    const child = new Deno.Command(command, { args, stdout: "null", stderr: "piped" }).spawn();
    let said = "";
    const reading = (async () => {
      for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) said += text;
    })();
    try {
      await until(() => hears(child.pid));
      const attack = await attacked(child.pid, async (gotIn) => {
        child.kill("SIGUSR1");
        await until(() => said.includes("Debugger listening on"));
        await until(() => isOpen(child.pid));
        await until(gotIn);
      });
      assert.ok(attack.evaluated > 0, JSON.stringify(attack));
    } finally {
      child.kill("SIGKILL");
      await child.status;
      await reading;
    }
  },
});

Deno.test({
  name: "inspector: signals from the first line of the log on, through the first second",
  ignore,
  async fn() {
    await using testBed = await TestBed.create();
    await using daemon = await startDaemon({
      dir: testBed.dir,
      config: config(testBed),
      wrapper: apart(),
      expectFailure: true,
    });
    await daemon.waitForLog("mtlsd starting");
    const attack = await attacked(daemon.pid, async () => {
      const from = performance.now();
      while (performance.now() - from < 1000 || opened(daemon) === 0) {
        daemon.kill("SIGUSR1");
        await new Promise((done) => setTimeout(done, 20));
      }
    });
    assert.equal(attack.evaluated, 0, JSON.stringify(attack));
    await daemon.waitForLog("certstore: watching files for changes");
    await assertShut(daemon);
    assert.equal(await daemon.stop(), 0);
  },
});

Deno.test({
  name:
    "inspector: with the signal blocked in front of it, as units and images do, nothing opens at all",
  ignore,
  async fn() {
    await using testBed = await TestBed.create();
    await using daemon = await startDaemon({
      dir: testBed.dir,
      config: config(testBed),
      wrapper: apart("env", "--block-signal=USR1"),
    });
    const attack = await attacked(daemon.pid, async () => {
      const from = performance.now();
      while (performance.now() - from < 1000) {
        daemon.kill("SIGUSR1");
        await new Promise((done) => setTimeout(done, 20));
      }
    });
    assert.deepEqual(attack, { connected: 0, listed: 0, evaluated: 0 });
    await assertShut(daemon);
    // The others come all the same.
    daemon.kill("SIGHUP");
    await daemon.waitForLog("certstore: certificates reloaded successfully");
    assert.equal(opened(daemon), 0);
    assert.equal(
      countLog(daemon, "ignoring SIGUSR1, closing the debugger that Deno opens on it"),
      0,
    );
    assert.equal(await daemon.stop(), 0);
  },
});

Deno.test({
  name: "inspector: a command that takes its time is guarded too",
  ignore,
  async fn() {
    await using testBed = await TestBed.create();
    // Waits for a config that does not come.
    const [command = "", ...args] = apart(
      ...[Deno.execPath(), "run", "--no-prompt", "--allow-read", MAIN, "check", "-"],
    );
    const child = new Deno.Command(command, {
      args,
      cwd: testBed.dir,
      stdin: "piped",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    let said = "";
    const reading = (async () => {
      for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) said += text;
    })();
    try {
      await until(() => hears(child.pid));
      const attack = await attacked(child.pid, async () => {
        await until(() => {
          child.kill("SIGUSR1");
          return said.includes("Debugger listening on");
        }, { every: 50 });
      });
      assert.equal(attack.evaluated, 0, JSON.stringify(attack));
      await until(async () => !await isOpen(child.pid));
      await child.stdin.close();
      assert.equal((await child.status).code, 2);
      await reading;
    } finally {
      if (said === "") child.kill("SIGKILL");
    }
  },
});
