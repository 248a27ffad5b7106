/**
 * What runs the fault suite: its command line, its table, and a row in a process of its own.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { perform, runRow, verdictIn } from "./one_row.ts";
import { parseOptions } from "./options.ts";
import { NotRun, type Row } from "./row.ts";
import { ROWS } from "./rows.ts";
import { line, nameOf, type Result, selected, statusOf, table, tally, toJson } from "./table.ts";

const row = (fault: string, run: Row["run"] = () => Promise.resolve("1 ms")): Row => ({
  subject: "server",
  fault,
  holds: "less than 2 ms",
  run,
});

const RESULTS: readonly Result[] = [
  { row: row("one"), outcome: "held", text: "1 ms", seconds: 1.26 },
  { row: row("two | three"), outcome: "failed", text: "3 ms\n  too | late", seconds: 2 },
  { row: row("four"), outcome: "not run", text: "no namespaces", seconds: 0 },
];

Deno.test("fault suite: what it is asked for", () => {
  assert.deepEqual(parseOptions([]), {
    scale: "full",
    help: false,
    list: false,
    only: undefined,
    json: undefined,
    row: undefined,
  });
  const all = [
    "--bounded",
    "--help",
    "--only",
    "--list",
    "--list",
    "--json",
    "out.json",
    "--row",
    "7",
  ];
  assert.deepEqual(parseOptions(all), {
    scale: "bounded",
    help: true,
    list: true,
    only: "--list",
    json: "out.json",
    row: 7,
  });
  for (
    const [args, message] of [
      [["--fast"], /unknown argument "--fast"/],
      [["rst"], /unknown argument "rst"/],
      [["--only"], /"--only" needs a value/],
      [["--json", ""], /"--json" needs a value/],
      [["--row", "-1"], /"--row" needs a number, not "-1"/],
    ] as const
  ) {
    assert.throws(() => parseOptions(args), (error: unknown) => {
      assert.ok(error instanceof RangeError);
      assert.match(error.message, message);
      return true;
    });
  }
});

Deno.test("fault suite: rows are chosen by subject and fault, and keep their numbers", () => {
  const rows = [row("RST"), row("stalled reader"), row("rst again")];
  const numbers = (only: string | undefined) => selected(rows, { only }).map(([number]) => number);
  assert.deepEqual(numbers(undefined), [0, 1, 2]);
  assert.deepEqual(numbers("rst"), [0, 2]);
  assert.deepEqual(numbers("SERVER: stalled"), [1]);
  assert.deepEqual(numbers("nothing"), []);
});

Deno.test("fault suite: every row has a name of its own, and says what must hold", () => {
  const names = ROWS.map(nameOf);
  assert.deepEqual(names.filter((name, index) => names.indexOf(name) !== index), []);
  for (const { fault, holds } of ROWS) assert.ok(fault !== "" && holds !== "");
});

Deno.test("fault suite: the table and what stands beside it", () => {
  assert.equal(
    table(RESULTS),
    `| subject | fault | must hold | outcome | figure | seconds |
| --- | --- | --- | --- | --- | ---: |
| server | one | less than 2 ms | held | 1 ms | 1.3 |
| server | two \\| three | less than 2 ms | FAILED | 3 ms too \\| late | 2.0 |
| server | four | less than 2 ms | not run | no namespaces | 0.0 |`,
  );
  assert.equal(tally(RESULTS), "1 held, 1 failed, 1 not run");
  const lines = RESULTS.map(line);
  assert.equal(lines[1], "server: two | three: less than 2 ms: FAILED: 3 ms too | late (2.0 s)");
  assert.deepEqual(RESULTS.map((result) => statusOf([result])), [0, 1, 0]);
  const { scale, rows } = JSON.parse(toJson("bounded", RESULTS));
  assert.equal(scale, "bounded");
  assert.deepEqual(rows[0], {
    subject: "server",
    fault: "one",
    holds: "less than 2 ms",
    outcome: "held",
    figure: "1 ms",
    seconds: 1.3,
  });
});

Deno.test("fault suite: a row that throws failed, one that cannot be run was not", async () => {
  const scales: string[] = [];
  const held = row("held", (scale) => Promise.resolve(scales.push(scale)).then(() => "fine"));
  assert.deepEqual(await perform(held, "bounded"), { outcome: "held", text: "fine" });
  assert.deepEqual(scales, ["bounded"]);
  const failing = row("failing", () => Promise.reject(new Error("grew by 20 MB")));
  assert.deepEqual(await perform(failing, "full"), { outcome: "failed", text: "grew by 20 MB" });
  const impossible = row("impossible", () => Promise.reject(new NotRun("no namespaces")));
  const notRun = { outcome: "not run", text: "no namespaces" };
  assert.deepEqual(await perform(impossible, "full"), notRun);
  assert.deepEqual(verdictIn(`a warning\n${JSON.stringify(notRun)}\n`), notRun);
  assert.equal(verdictIn("a warning\n"), undefined);
  assert.equal(verdictIn(""), undefined);
});

/** Runs a program as if it were the row. */
async function run(program: string, settings: { limit?: number; signal?: AbortSignal } = {}) {
  const dir = await Deno.makeTempDir();
  try {
    const path = join(dir, "row.ts");
    await Deno.writeTextFile(path, program);
    const { signal = new AbortController().signal, ...limit } = settings;
    return await runRow(0, row("one"), { scale: "full", signal, program: path, ...limit });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Starts a process that says its id and would go on for a minute, then does this. */
const leaving = (then: string) => `
  const child = new Deno.Command("sleep", { args: ["60"] }).spawn();
  await Deno.writeTextFile(PIDS, String(child.pid));
  ${then}`;

async function gone(pid: string): Promise<boolean> {
  // A process without a parent that waits stays behind as a zombie, which is dead enough.
  const status = await Deno.readTextFile(`/proc/${pid}/status`).catch(() => "State:\tZ");
  return /^State:\s+[ZX]/m.test(status);
}

Deno.test("fault suite: processes of a row are ended with it", async (t) => {
  const pids = await Deno.makeTempFile();
  const program = (then: string) => leaving(then).replace("PIDS", JSON.stringify(pids));
  const verdict = '{"outcome":"held","text":"fine"}';
  try {
    await t.step("when it is done", async () => {
      const { outcome, text } = await run(program(`console.log('${verdict}'); Deno.exit(0);`));
      assert.deepEqual([outcome, text], ["held", "fine"]);
      assert.ok(await gone(await Deno.readTextFile(pids)));
    });
    await t.step("when it takes too long", async () => {
      const { outcome, text } = await run(program("await child.status;"), { limit: 3000 });
      assert.deepEqual([outcome, text], ["failed", "not done within 3 s"]);
      assert.ok(await gone(await Deno.readTextFile(pids)));
    });
    await t.step("when the suite is stopped", async () => {
      const stop = new AbortController();
      await Deno.writeTextFile(pids, "");
      const running = run(program("await child.status;"), { signal: stop.signal });
      while (await Deno.readTextFile(pids) === "") await new Promise((go) => setTimeout(go, 20));
      stop.abort();
      assert.equal((await running).outcome, "failed");
      assert.ok(await gone(await Deno.readTextFile(pids)));
    });
    await t.step("when it breaks", async () => {
      const { outcome, text } = await run(program('throw new Error("a fault of the row");'));
      assert.equal(outcome, "failed");
      assert.match(text, /a fault of the row/);
      assert.ok(await gone(await Deno.readTextFile(pids)));
    });
  } finally {
    await Deno.remove(pids);
  }
});
