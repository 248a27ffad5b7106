/**
 * What the kernel says of a running process: memory, descriptors, CPU time. Linux only, as are the
 * scenarios that ask.
 *
 * @module
 */

import assert from "node:assert/strict";
import { until } from "./wait.ts";

/** Bytes in a MiB. */
export const MIB = 1024 * 1024;

/** Resident memory, in bytes. */
export async function residentBytes(pid: number): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(status) ?? [];
  assert.ok(kilobytes !== undefined, `no VmRSS in ${status}`);
  return Number(kilobytes) * 1024;
}

/** How many file descriptors it has. */
export async function descriptors(pid: number): Promise<number> {
  return (await Array.fromAsync(Deno.readDir(`/proc/${pid}/fd`))).length;
}

/** User and system time that it has used, in seconds. */
export async function cpuSeconds(pid: number): Promise<number> {
  const stat = await Deno.readTextFile(`/proc/${pid}/stat`);
  // The name in front may hold anything, parentheses included.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Waits until it has at most `count` descriptors. */
export async function waitForDescriptors(pid: number, count: number): Promise<void> {
  let seen = Infinity;
  await until(async () => (seen = await descriptors(pid)) <= count, {
    what: () => `at most ${count} descriptors, has ${seen}`,
  });
}

/** Waits until a number has not changed for `quiet` milliseconds, and gives it. */
export async function settled(
  read: () => number | Promise<number>,
  quiet = 300,
): Promise<number> {
  let last = await read();
  let since = performance.now();
  return await until(async () => {
    const now = await read();
    if (now !== last) [last, since] = [now, performance.now()];
    return performance.now() - since >= quiet ? { last } : undefined;
  }, { what: () => `a number to settle, is ${last}`, within: 60_000 }).then(({ last }) => last);
}

/** How many descriptors a daemon has with the connection that its metrics are read over. */
export async function baseline(
  daemon: { readonly pid: number; metrics(): Promise<unknown> },
): Promise<number> {
  await daemon.metrics();
  return await descriptors(daemon.pid);
}

/** Whether any socket on this machine listens on a TCP port, told without connecting to it. */
export async function isListening(port: number): Promise<boolean> {
  const local = port.toString(16).toUpperCase().padStart(4, "0");
  const tables = ["/proc/net/tcp", "/proc/net/tcp6"].map((path) => Deno.readTextFile(path));
  // sl, local_address, rem_address, st: 0A is LISTEN.
  return (await Promise.all(tables)).join("\n").split("\n")
    .map((line) => line.trim().split(/\s+/))
    .some(([, address, , state]) => state === "0A" && address?.endsWith(`:${local}`) === true);
}
