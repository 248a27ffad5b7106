/**
 * Half-closes in every combination, and how long a half-closed connection lives.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Conn } from "../../src/net/conn.ts";
import { type End, readToEnd } from "../support/conns.ts";
import { baseline, waitForDescriptors } from "../support/process.ts";
import {
  openBothEnds,
  PATH_KINDS,
  type PathKind,
  startPath,
  type TargetPath,
} from "../support/paths.ts";
import { TestBed } from "../support/testbed.ts";
import type { Link } from "../support/sockets.ts";
import { timed } from "../support/wait.ts";
import type { Row } from "./row.ts";
import { closedSeries } from "../support/metrics.ts";

/** How soon an end has to arrive, in milliseconds. */
const SOON = 1000;

/** Large, so that most of it is under way after the FIN. */
const ANSWER = "answer after the FIN ".repeat(50_000);

/** Who ends first, with what it says before, and what the other one does then. */
type Combination = {
  readonly first: "client" | "target" | "both";
  readonly says: string;
  readonly then: "answers" | "ends" | "resets";
};

const COMBINATIONS: readonly Combination[] = [
  ...(["client", "target"] as const).flatMap((first) =>
    ["", "everything there is to say", ANSWER].flatMap((says) =>
      (["answers", "ends", "resets"] as const).map((then) => ({ first, says, then }))
    )
  ),
  { first: "both", says: "", then: "ends" },
  { first: "both", says: ANSWER, then: "ends" },
];

async function say(conn: Conn, words: string): Promise<void> {
  if (words !== "") await conn.write(new TextEncoder().encode(words));
  await conn.closeWrite();
}

async function heard(conn: Conn, words: string): Promise<void> {
  const { text, end } = await readToEnd(conn);
  assert.equal(end, "clean");
  assert.equal(text.length, words.length);
  assert.ok(text === words);
}

/** Plays one; the milliseconds that the last end took. */
async function play(
  { first, says, then }: Combination,
  downstream: End,
  upstream: End,
  [front, back]: readonly [Link, Link],
): Promise<number> {
  if (first === "both") {
    const all = [
      say(downstream, says),
      say(upstream, says),
      heard(downstream, says),
      heard(upstream, says),
    ];
    return await timed(10 * SOON, Promise.all(all), "ending both at once");
  }
  const [asking, answering] = first === "client" ? [downstream, upstream] : [upstream, downstream];
  await Promise.all([say(asking, says), heard(answering, says)]);
  if (then === "resets") {
    // From the side that answers: towards the daemon, and what the one that asked then sees of it.
    const [cut, told] = first === "client"
      ? [back.downstream, front.upstream]
      : [front.upstream, back.downstream];
    cut.reset();
    return await timed(SOON, told.ended(), "the end after a reset");
  }
  const answer = then === "answers" ? ANSWER : "";
  const all = Promise.all([heard(asking, answer), say(answering, answer)]);
  return await timed(10 * SOON, all, "the answer after the FIN");
}

async function combinations(subject: PathKind, rounds: number): Promise<string> {
  await using testBed = await TestBed.create();
  const way = await startPath(testBed, subject, { relay: () => ({}) });
  const bases = await Promise.all(way.daemons.map(baseline));
  let number = 0;
  let completed = 0;
  let worst = 0;
  for (let round = 0; round < rounds; round++) {
    for (const combination of COMBINATIONS) {
      const { downstream, upstream } = await openBothEnds(way);
      const links = await linksOf(way, number++);
      try {
        worst = Math.max(worst, await play(combination, downstream, upstream, links));
      } catch (error) {
        const { first, says, then } = combination;
        const which = `${first} first with ${says.length} bytes, the other ${then}`;
        throw new Error(`${which}: ${error instanceof Error ? error.message : error}`);
      }
      downstream.close();
      upstream.close();
      if (combination.then !== "resets") completed++;
    }
  }
  for (const [index, daemon] of way.daemons.entries()) {
    await daemon.waitForMetric("mtlsd_active_connections", 0);
    await daemon.waitForMetric(closedSeries("completed"), completed);
    await waitForDescriptors(daemon.pid, bases[index] ?? 0);
  }
  return `${COMBINATIONS.length} combinations, ${rounds} times each; ` +
    `the end after ${Math.ceil(worst)} ms at most`;
}

async function linksOf(way: TargetPath, number: number): Promise<readonly [Link, Link]> {
  const [front] = way.relays;
  const back = way.relays.at(-1);
  if (front === undefined || back === undefined) throw new Error("no relays on the way");
  return [await front.link(number), await back.link(number)];
}

/** One end is over; the other says a byte now and then for a while, and stops. */
async function connections(
  { downstream, upstream }: { readonly downstream: End; readonly upstream: End },
  first: "client" | "target",
  idle: number,
  bytes: number,
): Promise<number> {
  const [silent, active] = first === "client" ? [downstream, upstream] : [upstream, downstream];
  await silent.closeWrite();
  assert.equal(await active.read(), null);
  const hearing = readToEnd(silent);
  let over = false;
  hearing.finally(() => over = true);
  for (let sent = 0; sent < bytes; sent++) {
    await new Promise((done) => setTimeout(done, idle / 4));
    assert.ok(!over, `cut after ${sent} bytes although they moved`);
    await active.write(Uint8Array.of(46));
  }
  const took = await timed(idle + SOON, hearing, "the end of what stopped");
  assert.equal((await hearing).text.length, bytes);
  assert.ok(took > idle / 2, `cut ${took} ms after the last byte`);
  downstream.close();
  upstream.close();
  return took;
}

async function active(subject: PathKind, idle: number, bytes: number): Promise<string> {
  await using testBed = await TestBed.create();
  const way = await startPath(testBed, subject, { proxy: { idle_timeout: `${idle}ms` } });
  const bases = await Promise.all(way.daemons.map(baseline));
  const up = await openBothEnds(way);
  const down = await openBothEnds(way);
  const took = await Promise.all([
    connections(up, "target", idle, bytes),
    connections(down, "client", idle, bytes),
  ]);
  for (const [index, daemon] of way.daemons.entries()) {
    await daemon.waitForMetric("mtlsd_active_connections", 0);
    await waitForDescriptors(daemon.pid, bases[index] ?? 0);
  }
  await way.last.waitForMetric(closedSeries("idle_timeout"), (count) => count > 0);
  return `idle_timeout ${idle} ms: lived ${idle * bytes / 4} ms, ` +
    `ended ${took.map(Math.round).join(" and ")} ms after the last byte`;
}

/** The rows. */
export const rows: readonly Row[] = PATH_KINDS.flatMap((subject): Row[] => [
  {
    subject,
    fault: "half-close in every combination",
    holds: "everything said arrives whole, its end in good order; resets end it within 1 s",
    run: (scale) => combinations(subject, scale === "full" ? 20 : 1),
  },
  {
    subject,
    fault: "half-closed, the other half active, then silent",
    holds: "lives as long as that half moves, then idle_timeout ends it",
    run: (scale) => scale === "full" ? active(subject, 2000, 40) : active(subject, 400, 12),
  },
]);
