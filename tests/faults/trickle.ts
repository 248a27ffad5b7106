/**
 * Bytes that come slowly or in crumbs: they keep a connection alive, arrive, and cost no memory.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Conn } from "../../src/net/conn.ts";
import { type End, MB, readToEnd } from "../support/conns.ts";
import { baseline, cpuSeconds, residentBytes, waitForDescriptors } from "../support/process.ts";
import { openBothEnds, PATH_KINDS, type PathKind, startPath } from "../support/paths.ts";
import { TestBed } from "../support/testbed.ts";
import { timed } from "../support/wait.ts";
import type { Row } from "./row.ts";
import { rows as cutRecords } from "./trickle_records.ts";
import { closedSeries } from "../support/metrics.ts";

/** Sends a byte again and again, `every` that many milliseconds. */
async function trickle(from: Conn, bytes: number, every: number): Promise<void> {
  for (let sent = 0; sent < bytes; sent++) {
    await new Promise((done) => setTimeout(done, every));
    await from.write(Uint8Array.of(46));
  }
}

/** A byte in half the idle timeout, each way on a connection of its own, beside one without any. */
async function idleAndTrickle(subject: PathKind, idle: number, bytes: number): Promise<string> {
  await using testBed = await TestBed.create();
  const way = await startPath(testBed, subject, { proxy: { idle_timeout: `${idle}ms` } });
  const bases = await Promise.all(way.daemons.map(baseline));
  const up = await openBothEnds(way);
  const down = await openBothEnds(way);
  const silent = await openBothEnds(way);
  const start = performance.now();
  const silence = timed(idle + 1000, readToEnd(silent.downstream), "the end of the silent one");
  const hearing = [readToEnd(up.upstream), readToEnd(down.downstream)];
  const [took] = await Promise.all([
    silence,
    trickle(up.downstream, bytes, idle / 2),
    trickle(down.upstream, bytes, idle / 2),
  ]);
  const lived = performance.now() - start;
  const rest = await timed(idle + 1000, Promise.all(hearing), "the end of what stopped");
  for (const { text } of await Promise.all(hearing)) assert.equal(text.length, bytes);
  assert.ok(took > idle / 2, `the silent one was cut after ${took} ms`);
  for (const { downstream, upstream } of [up, down, silent]) {
    downstream.close();
    upstream.close();
  }
  for (const [index, daemon] of way.daemons.entries()) {
    await daemon.waitForMetric("mtlsd_active_connections", 0);
    await waitForDescriptors(daemon.pid, bases[index] ?? 0);
  }
  await way.last.waitForMetric(closedSeries("idle_timeout"), (count) => count > 0);
  return `idle_timeout ${idle} ms, a byte every ${idle / 2} ms: lived ${Math.round(lived)} ms, ` +
    `ended ${Math.round(rest)} ms after the last byte; a silent one after ${Math.round(took)} ms`;
}

/** Bytes that differ from those around them. */
const byteAt = (at: number): number => (at * 31 + (at >> 8)) & 255;

async function sendOneByOne(conn: End, count: number): Promise<void> {
  const byte = new Uint8Array(1);
  for (let at = 0; at < count; at++) {
    byte[0] = byteAt(at);
    await conn.write(byte);
  }
  await conn.closeWrite();
}

async function readInOrder(conn: End, count: number): Promise<void> {
  let at = 0;
  for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) {
    for (const byte of bytes) {
      if (byte !== byteAt(at)) throw new Error(`byte ${at} is ${byte}, not ${byteAt(at)}`);
      at++;
    }
  }
  assert.equal(at, count);
}

async function oneByteWrites(subject: PathKind, count: number): Promise<string> {
  await using testBed = await TestBed.create();
  const way = await startPath(testBed, subject);
  const sums = async (of: (pid: number) => Promise<number>) =>
    await Promise.all(way.daemons.map(({ pid }) => of(pid)));
  const exchange = async (bytes: number) => {
    const { downstream, upstream } = await openBothEnds(way);
    await Promise.all([
      sendOneByOne(downstream, bytes),
      sendOneByOne(upstream, bytes),
      readInOrder(downstream, bytes),
      readInOrder(upstream, bytes),
    ]);
    downstream.close();
    upstream.close();
  };
  await exchange(1000);
  const [memory, cpu] = [await sums(residentBytes), await sums(cpuSeconds)];
  await exchange(count);
  const used = (await sums(cpuSeconds)).reduce((sum, now, i) => sum + now - (cpu[i] ?? 0), 0);
  const growths = (await sums(residentBytes)).map((now, i) => (now - (memory[i] ?? 0)) / MB);
  const growth = Math.max(...growths);
  assert.ok(growth < 32, `grew by ${growth.toFixed(1)} MB`);
  for (const daemon of way.daemons) await daemon.waitForMetric("mtlsd_active_connections", 0);
  return `${count} each way at once; ${used.toFixed(2)} s of CPU, ${growth.toFixed(1)} MB growth`;
}

/** The rows. */
export const rows: readonly Row[] = [
  ...PATH_KINDS.flatMap((subject): Row[] => [
    {
      subject,
      fault: "a byte a second, and an idle timeout of two",
      holds: "lives while it trickles, ends within 1 s of its time once it stops",
      run: (scale) =>
        scale === "full" ? idleAndTrickle(subject, 2000, 30) : idleAndTrickle(subject, 250, 10),
    },
    {
      subject,
      fault: "100,000 one-byte writes",
      holds: "every byte arrives, in order; less than 32 MB growth",
      run: (scale) => oneByteWrites(subject, scale === "full" ? 100_000 : 10_000),
    },
  ]),
  ...cutRecords,
];
