/**
 * Readers that stall: their senders are held back, memory does not grow, and no byte is lost.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type End, MB, readHash, Sending } from "../support/conns.ts";
import { cpuSeconds, residentBytes, settled } from "../support/process.ts";
import {
  openBothEnds,
  PATH_KINDS,
  type PathKind,
  startPath,
  type TargetPath,
} from "../support/paths.ts";
import { TestBed } from "../support/testbed.ts";
import type { Row } from "./row.ts";

type Towards = "target" | "client";

/** The sender and the reader of a new connection. */
async function pair(way: TargetPath, towards: Towards): Promise<{ sender: End; reader: End }> {
  const { downstream, upstream } = await openBothEnds(way);
  return towards === "target"
    ? { sender: downstream, reader: upstream }
    : { sender: upstream, reader: downstream };
}

/** Moves a little, so that what a daemon has in use once is in use. */
async function warmUp(way: TargetPath, towards: Towards): Promise<void> {
  const { sender, reader } = await pair(way, towards);
  const sending = new Sending(sender, 4 * MB);
  assert.equal((await readHash(reader)).hash, await sending.hash);
  sender.close();
  reader.close();
  for (const daemon of way.daemons) await daemon.waitForMetric("mtlsd_active_connections", 0);
}

/** What `count` stalled readers at once cost the daemon that they cost most, in bytes. */
async function stall(
  subject: PathKind,
  towards: Towards,
  count: number,
  offered: number,
  limit: number,
): Promise<string> {
  await using testBed = await TestBed.create();
  const way = await startPath(testBed, subject);
  await warmUp(way, towards);
  const memory = () => Promise.all(way.daemons.map(({ pid }) => residentBytes(pid)));
  const before = await memory();
  const pairs: { sender: End; reader: End }[] = [];
  for (let number = 0; number < count; number++) pairs.push(await pair(way, towards));
  const sendings = pairs.map(({ sender }) => new Sending(sender, offered));
  // Blocked: no sender moves another byte, and the daemons use no CPU (asking for their metrics would).
  const taken = () => sendings.reduce((sum, { sent }) => sum + sent, 0);
  await settled(taken, 500);
  await settled(async () => {
    let used = 0;
    for (const { pid } of way.daemons) used += await cpuSeconds(pid);
    return used;
  }, 500);
  const held = taken();
  assert.ok(held < offered * count / 2, `senders are not held back: ${held / MB} MB are gone`);
  const grown = (await memory()).map((now, index) => now - (before[index] ?? 0));
  const growth = Math.max(...grown) / MB;
  assert.ok(growth < limit, `grew by ${growth.toFixed(1)} MB with ${held / MB} MB under way`);
  // One reader after the other would leave the last ones stalled beyond the idle timeout.
  await Promise.all(pairs.map(async ({ sender, reader }, index) => {
    const got = await readHash(reader);
    assert.deepEqual(got, { size: offered, hash: await sendings[index]?.hash });
    sender.close();
    reader.close();
  }));
  for (const daemon of way.daemons) await daemon.waitForMetric("mtlsd_active_connections", 0);
  return `${growth.toFixed(1)} MB growth; ${offered * count / MB} MB arrived, SHA-256 equal`;
}

function one(subject: PathKind, towards: Towards): Row {
  return {
    subject,
    fault: `stalled reader, towards the ${towards}`,
    holds: "less than 16 MB growth, then every byte of 300 MB arrives",
    run: (scale) => stall(subject, towards, 1, scale === "full" ? 300 * MB : 100 * MB, 16),
  };
}

function many(subject: PathKind, towards: Towards): Row {
  return {
    subject,
    fault: `50 stalled readers at once, towards the ${towards}`,
    holds: "less than 100 MB growth, then every byte of 300 MB each arrives",
    run: (scale) => stall(subject, towards, 50, scale === "full" ? 300 * MB : 30 * MB, 100),
  };
}

const DIRECTIONS = ["target", "client"] as const;

/** The rows. */
export const rows: readonly Row[] = [
  ...PATH_KINDS.flatMap((subject) => DIRECTIONS.map((towards) => one(subject, towards))),
  ...(["server", "client"] as const).flatMap((subject) =>
    DIRECTIONS.map((towards) => many(subject, towards))
  ),
];
