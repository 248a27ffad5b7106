/**
 * No file descriptor left: the daemon waits without spinning, keeps what it has, and goes on as soon
 * as there are some.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { TestDaemon } from "../support/daemon.ts";
import { echo, type End, plainEnd } from "../support/conns.ts";
import { sh } from "../support/peers.ts";
import { cpuSeconds } from "../support/process.ts";
import { echoPort, type Path, PATH_KINDS, type PathKind, startPathTo } from "../support/paths.ts";
import { TestBed } from "../support/testbed.ts";
import { timed, until } from "../support/wait.ts";
import { NotRun, type Row } from "./row.ts";

/** Takes from the process every descriptor that it does not use, for good. */
async function tighten(pid: number): Promise<void> {
  const used = new Set<string>();
  for await (const { name } of Deno.readDir(`/proc/${pid}/fd`)) used.add(name);
  // The limit is on numbers and not on how many: no free one may be left below it.
  let limit = 0;
  while (used.has(String(limit))) limit++;
  assert.ok(limit > HELD, `only ${limit} descriptors before the first gap`);
  const { code, stderr } = await sh(`prlimit --pid ${pid} --nofile=${limit}:${limit}`);
  if (code !== 0) throw new NotRun(`prlimit cannot limit another process: ${stderr.trim()}`);
}

/** Probes and metrics answer, where they had lost their ports too. */
async function answering(daemon: TestDaemon): Promise<boolean> {
  try {
    const alive = (await daemon.probe("/healthz")).status === 200;
    const ready = (await daemon.probe("/readyz")).status === 200;
    return alive && ready && (await daemon.metrics()).get("mtlsd_active_connections") === 0;
  } catch (error) {
    if (error instanceof TypeError) return false; // Not bound, or cut.
    throw error;
  }
}

/** Connections that are open before; each takes two descriptors. */
const HELD = 30;

const EXHAUSTED = /Too many open files/;

/** Connects to the daemon that is short of descriptors until it says that it can accept no more. */
async function exhaust(daemon: TestDaemon, clients: End[]): Promise<void> {
  const from = daemon.lines.length;
  const said = () =>
    daemon.lines.slice(from).some(({ fields }) =>
      fields.msg === "listener: accept failed" && EXHAUSTED.test(fields.error ?? "")
    );
  await until(async () => {
    clients.push(...await Promise.all(Array.from({ length: 5 }, () => plainEnd(daemon.port))));
    return said();
  }, { what: () => `no descriptors after ${clients.length} callers:\n${daemon.log}`, every: 50 });
}

type Figures = { readonly share: number; readonly back: number };

/** Exhausted for `seconds`, then released; what it used meanwhile, and when it served again. */
async function once(way: Path, seconds: number): Promise<Figures> {
  const { last, connect } = way;
  const held = await Promise.all(Array.from({ length: HELD }, connect));
  for (const end of held) await echo(end, "first");
  const { pid } = last;
  await tighten(pid);
  const clients: End[] = [];
  await exhaust(last, clients);
  // Ten times a second would be no harm; a loop without a pause uses all there is.
  const before = await cpuSeconds(pid);
  const start = performance.now();
  await new Promise((done) => setTimeout(done, seconds * 1000));
  const share = (await cpuSeconds(pid) - before) / ((performance.now() - start) / 1000);
  assert.ok(share < 0.2, `${(share * 100).toFixed(0)} % of a CPU while it waited`);
  for (const end of held) await echo(end, "still");
  for (const end of [...held, ...clients]) end.close();
  return { share, back: await timed(2000, served(connect), "serving again") };
}

async function served(connect: () => Promise<End>): Promise<void> {
  const end = await connect();
  await echo(end, "again");
  end.close();
}

async function run(subject: PathKind, rounds: number, seconds: number): Promise<string> {
  let share = 0;
  let back = 0;
  for (let round = 0; round < rounds; round++) {
    await using testBed = await TestBed.create();
    const port = await echoPort(testBed, subject);
    const way = await startPathTo(testBed, subject, `127.0.0.1:${port}`, {
      tls: { handshake_timeout: "60s" },
      proxy: { dial_timeout: "60s" },
    });
    const figures = await once(way, seconds);
    share = Math.max(share, figures.share);
    back = Math.max(back, figures.back);
    for (const daemon of way.daemons) {
      await until(() => answering(daemon), { what: () => `probes to answer:\n${daemon.log}` });
    }
  }
  return `${rounds} times: ${(share * 100).toFixed(1)} % of a CPU meanwhile, ` +
    `served again after ${Math.ceil(back)} ms at most`;
}

/** The rows. */
export const rows: readonly Row[] = PATH_KINDS.map((subject) => ({
  subject,
  fault: "file descriptors exhausted, then released",
  holds: "next to no CPU meanwhile, open connections go on, serves again within 2 s",
  run: (scale) => scale === "full" ? run(subject, 5, 5) : run(subject, 1, 1),
}));
