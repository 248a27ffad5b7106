/**
 * Which directories decide what a path leads to, symlinks followed.
 *
 * @module
 */

import { dirname, join, resolve } from "node:path";

/** Symlinks that are followed from one path, as many as Linux does. */
const MAX_LINKS = 40;

/**
 * The directories in which a change can change what the paths lead to: `true` for those in which
 * the paths are named, `false` for those that symlinks lead to. Looks at nothing that is not
 * granted, for that could ask the user.
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

/** Where the symlinks lead that start at a path, one after the other. */
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
    // Not there, or not readable: what is known so far has to do until the next look.
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

/** Whether Deno may read a path without asking. */
export async function isGranted(path: string): Promise<boolean> {
  return (await Deno.permissions.query({ name: "read", path })).state === "granted";
}

/**
 * The paths whose changes can be seen by watching their directories. The others are granted themselves
 * and their directories are not: they can be looked at only.
 */
export async function watchable(paths: readonly string[]): Promise<readonly string[]> {
  const found: string[] = [];
  for (const path of paths) {
    if (await isGranted(dirname(path)) || !await isGranted(path)) found.push(path);
  }
  return found;
}

/** Tells a directory from another one of the same name, even where the inode is used again. */
export async function identityOf(directory: string): Promise<string | undefined> {
  try {
    const { dev, ino, birthtime } = await Deno.stat(directory);
    return `${dev}:${ino}:${birthtime?.getTime()}`;
  } catch {
    return undefined; // Not there; the caller looks again later.
  }
}

/**
 * Where a pipe is that a watch on the directory would open, in words: in it, be it behind a link, or in
 * its place. `undefined` where there is none, or none that can be seen.
 *
 * Deno 2.9.6 opens whatever an event is about, in the one thread that has all watches of the
 * process. To open a pipe to which nobody writes never returns, and to open or to close a watch
 * waits for that thread: the whole process stops.
 */
export async function pipeIn(directory: string): Promise<string | undefined> {
  if (await isPipe(directory)) return "it is a pipe";
  try {
    for await (const { name, isFile, isDirectory } of Deno.readDir(directory)) {
      if (isFile || isDirectory || !await isPipe(join(directory, name))) continue;
      return `${JSON.stringify(name)} in it is a pipe`;
    }
  } catch {
    // Not there, or not readable; what cannot be listed may be watched all the same.
  }
  return undefined;
}

async function isPipe(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFifo ?? false;
  } catch {
    return false; // Gone meanwhile, or a link to nothing.
  }
}
