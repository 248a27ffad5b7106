/**
 * What the operating system has accounted to a process and those that it started. Linux only.
 *
 * @module
 */

import { cpuSeconds, settled } from "../support/process.ts";

/** A process and all that descend from it, parents first. */
export async function family(pid: number): Promise<number[]> {
  const pids = [pid];
  for (const parent of pids) {
    for (const thread of await readThreads(parent, "children")) {
      pids.push(...thread.split(" ").filter(Boolean).map(Number));
    }
  }
  return pids;
}

/** A file of every thread; one may end meanwhile. */
async function readThreads(pid: number, file: string): Promise<string[]> {
  const texts: string[] = [];
  for await (const { name } of Deno.readDir(`/proc/${pid}/task`)) {
    try {
      texts.push(await Deno.readTextFile(`/proc/${pid}/task/${name}/${file}`));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound) && !isGone(error)) throw error;
    }
  }
  return texts;
}

/** ESRCH, which reading the file of a thread that has just ended may give. */
function isGone(error: unknown): boolean {
  return error instanceof Error && Reflect.get(error, "code") === "ESRCH";
}

async function sum(
  pids: readonly number[],
  read: (pid: number) => Promise<number>,
): Promise<number> {
  const values = await Promise.all(pids.map(read));
  return values.reduce((total, value) => total + value, 0);
}

/**
 * CPU time of the family in seconds, user and system, threads that have ended included; taken when it
 * has not changed for `quiet` milliseconds, as what a piece of work entails belongs to its cost. The
 * unit is 10 ms.
 */
export async function restingCpu(pid: number, quiet: number): Promise<number> {
  const pids = await family(pid);
  return await settled(() => sum(pids, cpuSeconds), quiet);
}

/**
 * CPU time of the threads that the family has now, in seconds: finer than {@linkcode restingCpu}, and
 * short of the threads that have ended.
 */
export async function threadsCpu(pid: number): Promise<number> {
  return await sum(await family(pid), async (each) => {
    const stats = await readThreads(each, "schedstat");
    return stats.reduce((total, stat) => total + Number(stat.split(" ")[0]), 0) / 1e9;
  });
}

/** Memory of the family. */
export type Memory = {
  /** Resident, in bytes; what several processes share counts for each of them. */
  readonly rss: number;
  /** Resident, in bytes, where what is shared counts in parts (PSS). */
  readonly pss: number;
};

/** Memory of the family, once it has been the same, to 64 KiB, for `quiet` milliseconds. */
export async function restingMemory(pid: number, quiet: number): Promise<Memory> {
  const pids = await family(pid);
  const total = (field: string) =>
    sum(pids, async (each) => {
      const rollup = await Deno.readTextFile(`/proc/${each}/smaps_rollup`);
      return bytesOf(rollup, field);
    });
  await settled(async () => Math.round(await total("Pss") / 65_536), quiet);
  return { rss: await total("Rss"), pss: await total("Pss") };
}

function bytesOf(rollup: string, field: string): number {
  const kilobytes = new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(rollup)?.[1];
  if (kilobytes === undefined) throw new Error(`Cannot find ${field} in ${JSON.stringify(rollup)}`);
  return Number(kilobytes) * 1024;
}

/** The CPUs that this process may use. */
export async function allowedCpus(): Promise<number[]> {
  const status = await Deno.readTextFile("/proc/self/status");
  const list = /^Cpus_allowed_list:\s+(\S+)$/m.exec(status)?.[1] ?? "0";
  return list.split(",").flatMap((range) => {
    const [first = 0, last = first] = range.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, n) => first + n);
  });
}

/**
 * Whether a process listens on a port of 127.0.0.1. Read from the system's tables: connecting would
 * pass on to the target behind a client, and be the first connection there.
 */
export async function listens(port: number): Promise<boolean> {
  const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const sockets = (await Deno.readTextFile("/proc/net/tcp")).split("\n");
  return sockets.some((line) => line.includes(` ${local} 00000000:0000 0A `));
}
