/**
 * Thousands of connections that do nothing, and then are used.
 *
 * @module
 */

import assert from "node:assert/strict";
import { echo, type End } from "../support/conns.ts";
import { echoBackend } from "../support/peers.ts";
import { cpuSeconds } from "../support/process.ts";
import { startPathTo } from "../support/paths.ts";
import { TestBed } from "../support/testbed.ts";
import { forEach } from "./drain_transfers.ts";
import type { Scale, Subject } from "./row.ts";
import { Footprints } from "./soak_growth.ts";

const IDLE: Readonly<Record<Scale, number>> = { full: 5000, bounded: 500 };
/** Seconds in which nothing is done. */
const HOLD: Readonly<Record<Scale, number>> = { full: 60, bounded: 2 };
/** CPU that a daemon may use meanwhile: a part of one core. */
const AT_REST = 0.02;

/** Opens them, leaves them alone, has every one of them echo, and ends them. */
export async function idleConnections(subject: Subject, scale: Scale): Promise<string> {
  await using testBed = await TestBed.create();
  const { address } = testBed.use(echoBackend());
  const { daemons, connect } = await startPathTo(testBed, subject, address, {
    proxy: { max_connections: 0, idle_timeout: "0" },
  });
  const before = await Footprints.take(daemons);
  await using stack = new AsyncDisposableStack();
  const ends: End[] = [];
  await forEach(IDLE[scale], async (number) => {
    const end = stack.use(await connect());
    ends.push(end);
    await echo(end, `first ${number}`);
  });
  for (const daemon of daemons) {
    await daemon.waitForMetric("mtlsd_active_connections", IDLE[scale]);
  }
  const each = (await before.growth()).map((bytes) => (bytes / 1024 / IDLE[scale]).toFixed(0));

  const used = () => Promise.all(daemons.map(({ pid }) => cpuSeconds(pid)));
  const from = await used();
  await new Promise((done) => setTimeout(done, HOLD[scale] * 1000));
  const resting = (await used()).map((seconds, i) => (seconds - (from[i] ?? 0)) / HOLD[scale]);
  const most = Math.max(...resting);
  assert.ok(most <= AT_REST, `${(most * 100).toFixed(1)} % of a core with nothing to do`);

  const start = performance.now();
  await Promise.all(ends.map((end, number) => echo(end, `then ${number}`)));
  const took = performance.now() - start;
  await stack.disposeAsync();
  for (const daemon of daemons) await daemon.waitForMetric("mtlsd_active_connections", 0);
  await before.released();
  return `${ends.length} of ${ends.length} used after ${HOLD[scale]} s, all at once in ` +
    `${took.toFixed(0)} ms; ${each.join(" and ")} KiB each, ${
      (most * 100).toFixed(1)
    } % CPU at rest`;
}
