/**
 * Finds the directories that determine which files a set of paths leads to, including symlinks.
 *
 * @module
 */

import { dirname, join, resolve } from "node:path";

/** Maximum number of symlinks to follow from one path; the same limit as in Linux. */
const MAX_LINKS = 40;

/**
 * The directories whose changes can affect which files the paths lead to: `true` for those that
 * contain the paths themselves, `false` for those that symlinks lead to. Never accesses a path that
 * is not granted, since Deno might prompt the user.
 */
export async function directoriesOf(
  paths: readonly string[],
): Promise<ReadonlyMap<string, boolean>> {
  const found = new Map<string, boolean>(paths.map((path) => [dirname(path), true]));
  const real = new Set<string>();
  for (const directory of found.keys()) real.add(await realPath(directory) ?? resolve(directory));
  for (const path of paths) {
    const stations = await linksFrom(path);
    const end = await realPath(path);
    for (const station of end === undefined ? stations : [...stations, end]) {
      const directory = await realPath(dirname(station)) ?? dirname(station);
      if (real.has(directory)) continue;
      real.add(directory);
      found.set(directory, false);
    }
  }
  return found;
}

/** The targets of the symlinks from a path on, in order. */
async function linksFrom(path: string): Promise<readonly string[]> {
  const stations: string[] = [];
  let link = path;
  try {
    while (stations.length < MAX_LINKS && await isGranted(link)) {
      if (!(await Deno.lstat(link)).isSymlink) break;
      link = resolve(dirname(link), await Deno.readLink(link));
      stations.push(link);
    }
  } catch {
    // Missing or not readable: use what is known and try again at the next poll.
  }
  return stations;
}

async function realPath(path: string): Promise<string | undefined> {
  try {
    return await isGranted(path) ? await Deno.realPath(path) : undefined;
  } catch {
    return undefined; // As above.
  }
}

/** Whether Deno may read a path without a prompt. */
export async function isGranted(path: string): Promise<boolean> {
  return (await Deno.permissions.query({ name: "read", path })).state === "granted";
}

/**
 * The paths whose directories may be watched. For the others only the files themselves are granted,
 * so they can only be polled.
 */
export async function watchable(paths: readonly string[]): Promise<readonly string[]> {
  const found: string[] = [];
  for (const path of paths) {
    if (await isGranted(dirname(path)) || !await isGranted(path)) found.push(path);
  }
  return found;
}

/**
 * Identifies a directory, so that a replacement of the same name is noticed even if it has the same
 * inode number; `undefined` if it does not exist.
 */
export async function identityOf(directory: string): Promise<string | undefined> {
  try {
    const { dev, ino, birthtime } = await Deno.stat(directory);
    return `${dev}:${ino}:${birthtime?.getTime()}`;
  } catch {
    return undefined; // Missing; the caller checks again later.
  }
}

/**
 * Looks for a named pipe that a watch on the directory would open: the directory itself, an entry,
 * or the target of a symlink in it. Returns its description, or `undefined` if none can be seen.
 *
 * Deno 2.9.6 opens every file that an event is about, in the single thread that serves all watches
 * of the process. Opening a pipe that has no writer blocks forever, and opening or closing a watch
 * waits for that thread, so the whole process would hang.
 */
export async function pipeIn(directory: string): Promise<string | undefined> {
  if (await isPipe(directory)) return "it is a pipe";
  try {
    for await (const { name, isFile, isDirectory } of Deno.readDir(directory)) {
      if (isFile || isDirectory || !await isPipe(join(directory, name))) continue;
      return `${JSON.stringify(name)} in it is a pipe`;
    }
  } catch {
    // Missing or not readable. A directory that cannot be listed can still be watched.
  }
  return undefined;
}

async function isPipe(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFifo ?? false;
  } catch {
    return false; // Removed meanwhile, or a dangling symlink.
  }
}
