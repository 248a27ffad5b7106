/**
 * `deno task demo`: the first command that a newcomer runs.
 *
 * @module
 */

import assert from "node:assert/strict";
import { ROOT } from "../support/daemon.ts";

/** Runs the task in a process group of its own, with a temporary directory of its own. */
async function demo(): Promise<{
  code: number;
  stdout: string;
  stderr: string;
  /** What is in the temporary directory afterwards. */
  left: string[];
  /** Processes of the group that are still there. */
  alive: string[];
}> {
  const dir = await Deno.makeTempDir({ prefix: "mtlsd-demo-test-" });
  try {
    const child = new Deno.Command("setsid", {
      args: ["timeout", "60", Deno.execPath(), "task", "demo"],
      cwd: ROOT,
      env: { NO_COLOR: "1", TMPDIR: dir },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const { code, stdout, stderr } = await child.output();
    const text = new TextDecoder();
    const ps = await new Deno.Command("ps", { args: ["-e", "-o", "sid=,pid=,args="] }).output();
    return {
      code,
      stdout: text.decode(stdout),
      stderr: text.decode(stderr),
      left: [...Deno.readDirSync(dir)].map(({ name }) => name),
      alive: text.decode(ps.stdout).split("\n").filter((line) =>
        Number(line.trim().split(/\s+/)[0]) === child.pid
      ),
    };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("demo: shows the way, the reply, the peers, metrics and expiry, and leaves nothing", async () => {
  const { code, stdout, stderr, left, alive } = await demo();
  assert.equal(code, 0, `${stdout}\n${stderr}`);
  const ip = "127\\.0\\.0\\.1:\\d+";
  assert.match(
    stdout,
    new RegExp(
      `client ─▶ mtlsd client ${ip} ══mTLS══▶ mtlsd server ${ip} ─▶ echo server ${ip}`,
    ),
  );
  assert.match(stdout, /^sent: +hello mtlsd$/m);
  assert.match(stdout, /^received: +echo: hello mtlsd$/m);
  assert.match(stdout, /the server let in: +peer_cn=frontend-service .*protocol=TLSv1\.3/);
  assert.match(stdout, /the client reached: .*peer_cn=localhost/);
  assert.match(stdout, /^mtlsd_connections_total 1$/m);
  assert.match(stdout, /^mtlsd_acl_decisions_total\{result="allowed"\} 1$/m);
  assert.match(stdout, /certificate of CN=localhost expires \d{4}-\d\d-\d\dT.*, in 89 days$/m);
  // The daemons run under what `grants` printed: no wildcard, no whole file system.
  for (const name of ["server", "client"]) {
    const [, flags = ""] = new RegExp(`^${name}: deno run (.*) src/main\\.ts`, "m").exec(stdout) ??
      [];
    assert.match(flags, /^--no-prompt --allow-net=[\d.:,]+ --allow-read=\S+mtlsd-demo-\w+$/, name);
    assert.match(stdout, new RegExp(`^stopped mtlsd ${name}, exit status 0$`, "m"));
  }
  assert.match(stdout, /^stopped echo server/m);
  assert.deepEqual(left, []);
  assert.deepEqual(alive, []);
});

Deno.test("demo: two at once do not disturb each other", async () => {
  const runs = await Promise.all([demo(), demo()]);
  for (const { code, stdout, stderr, left, alive } of runs) {
    assert.equal(code, 0, `${stdout}\n${stderr}`);
    assert.match(stdout, /^received: +echo: hello mtlsd$/m);
    assert.deepEqual([left, alive], [[], []]);
  }
});
