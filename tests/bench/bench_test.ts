/**
 * That the bench runs. Its figures say nothing here.
 */

import assert from "node:assert/strict";
import { ROOT } from "../support/daemon.ts";
import { until } from "../support/wait.ts";
import { Bench } from "./bench.ts";
import type { Measure } from "./measure.ts";
import { MEASURES } from "./measures.ts";
import { figures, table } from "./report.ts";
import { runAll } from "./run.ts";
import { TINY } from "./scale.ts";
import { findSubject, type Subject, type SubjectName } from "./subjects.ts";
import { which } from "./which.ts";

async function installed(...names: SubjectName[]): Promise<Subject[]> {
  const found = await Promise.all(names.map((name) => findSubject(name, ROOT)));
  return found.flatMap((subject) => "setUp" in subject ? [subject] : []);
}

const MODES = ["server", "tunnel"] as const;

/** Each starts two daemons; what else there is of a whole tunnel is the same as in server mode. */
const THROUGH_TUNNEL = ["handshake", "bulk"];
const BOUNDED: readonly Measure[] = MEASURES.map((measure) => ({
  ...measure,
  modes: THROUGH_TUNNEL.includes(measure.name) ? measure.modes : ["server"],
}));

Deno.test("every measure can be made of mtlsd", async () => {
  await using bench = await Bench.create(TINY);
  const { rows, failures } = await runAll(bench, {
    measures: BOUNDED,
    modes: MODES,
    subjects: await installed("mtlsd"),
    rounds: undefined,
    progress: () => {},
    signal: new AbortController().signal,
  });
  const iperf = await which("iperf3") !== undefined;
  const unexpected = failures.filter(({ reason }) => iperf || !reason.startsWith("iperf3 is not"));
  assert.deepEqual(unexpected, []);
  const list = figures(rows.all(), ["mtlsd"]);
  for (const { name, modes } of BOUNDED) {
    for (const mode of modes.filter((mode) => iperf || name !== "bulk" || mode !== "tunnel")) {
      const found = list.filter((figure) => figure.measure === name && figure.mode === mode);
      assert.ok(found.length > 0, `no figure of ${name}, ${mode}`);
      for (const { label, subjects } of found) {
        assert.ok(Number.isFinite(subjects.mtlsd?.median), `${name}, ${mode}, ${label}`);
      }
    }
  }
  const share = list.find(({ label }) => label === "share that was resumed");
  assert.ok((share?.subjects.mtlsd?.median ?? 0) > 0.5, table(list, ["mtlsd"]));
});

Deno.test("the other products that are here serve what mtlsd serves", async () => {
  await using bench = await Bench.create(TINY);
  const { failures } = await runAll(bench, {
    measures: MEASURES.filter(({ name }) => name === "handshake" || name === "cas"),
    modes: MODES,
    subjects: await installed("haproxy", "nginx", "stunnel"),
    rounds: 1,
    progress: () => {},
    signal: new AbortController().signal,
  });
  assert.deepEqual(failures, []);
});

Deno.test("what cannot be measured is left out and said", async () => {
  await using bench = await Bench.create(TINY);
  const broken: Subject = {
    name: "nginx",
    version: "none",
    setUp: ({ dir }) =>
      Promise.resolve({ argv: ["sh", "-c", "echo no such luck; exit 3"], cwd: dir }),
  };
  const { rows, failures } = await runAll(bench, {
    measures: MEASURES.filter(({ name }) => name === "handshake"),
    modes: ["server"],
    subjects: [broken],
    rounds: 2,
    progress: () => {},
    signal: new AbortController().signal,
  });
  assert.deepEqual(rows.all(), []);
  assert.equal(failures.length, 1);
  assert.match(failures[0]?.reason ?? "", /^Cannot start nginx: no such luck$/);
});

Deno.test("an interrupt ends everything and leaves nothing behind", async () => {
  const dir = await Deno.makeTempDir({ prefix: "mtlsd-bench-test-" });
  try {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "--allow-all", `${ROOT}tests/bench/main.ts`]
        .concat("--only", "handshake", "--subjects", "mtlsd", "--mode", "server"),
      cwd: ROOT,
      env: { TMPDIR: dir, NO_COLOR: "1" },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    let said = "";
    const reading = (async () => {
      for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) said += text;
    })();
    await until(() => said.includes("handshake server 1: mtlsd"), { what: () => said });
    const [stage] = await Array.fromAsync(Deno.readDir(dir));
    assert.ok(stage?.name.startsWith("mtlsd-bench-"));
    child.kill("SIGINT");
    assert.equal((await child.status).code, 130, said);
    await reading;
    assert.deepEqual(await Array.fromAsync(Deno.readDir(dir)), []);
    assert.deepEqual(await usersOf(`${dir}/`), []);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

/** Processes that have this in their command line. */
async function usersOf(path: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const words = await Deno.readTextFile(`/proc/${name}/cmdline`);
      if (words.includes(path)) found.push(words.replaceAll("\0", " "));
    } catch {
      // It has ended meanwhile.
    }
  }
  return found;
}
