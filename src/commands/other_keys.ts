/**
 * Private keys that a grant takes in besides those that the config names: a directory is granted with
 * everything in it and below it.
 *
 * @module
 */

import { join } from "node:path";
import type { Config } from "../config/config.ts";
import { quote } from "../config/problem.ts";
import type { Grant } from "../grants.ts";

/** As many entries are looked at for one grant, and so deep; more says nothing new. */
const MAX_ENTRIES = 500;
const MAX_DEPTH = 3;
/** A key stands in the beginning of a file; bytes. */
const HEAD = 16 * 1024;
/** So many are named. */
const NAMED = 3;

const KEY = /-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----/;

/**
 * A line for each directory that is granted and holds such keys. Looks at what this process may read
 * without asking and at nothing else.
 */
export async function otherKeys(
  grants: readonly Grant[],
  { tunnels }: Config,
): Promise<readonly string[]> {
  const blocks = tunnels.flatMap(({ tls, upstream }) => upstream ? [tls, upstream.tls] : [tls]);
  const own = new Set<string>();
  // A combined file may be named by any of them.
  for (const { cert, key, ca } of blocks) {
    for (const path of [cert, key, ca]) {
      const file = path === undefined ? undefined : await identify(path);
      if (file !== undefined) own.add(file.identity);
    }
  }
  const warnings: string[] = [];
  for (const { flag, value, why } of grants) {
    if (flag !== "--allow-read" || !await isReadable(value)) continue;
    const found = await keysBelow(value, own);
    const [first, ...others] = found.slice(0, NAMED).map((path) => quote(path));
    if (first === undefined) continue;
    const more = found.length > NAMED ? ` and ${found.length - NAMED} more` : "";
    warnings.push(
      `${why}: the grant of ${quote(value)} takes in other private keys: ` +
        `${
          [first, ...others].join(", ")
        }${more}; put the files that mtlsd needs into a directory ` +
        "of their own, or use grants --files",
    );
  }
  return warnings;
}

/** The files with a key below a directory, by their path in it; each once, whatever links lead to it. */
async function keysBelow(root: string, own: ReadonlySet<string>): Promise<readonly string[]> {
  const seen = new Set(own);
  const found: string[] = [];
  let left = MAX_ENTRIES;
  const visit = async (within: string, depth: number): Promise<void> => {
    try {
      for await (const { name } of Deno.readDir(join(root, within))) {
        if (left-- <= 0) return;
        const path = join(within, name);
        const file = await identify(join(root, path));
        if (file === undefined || seen.has(file.identity)) continue;
        seen.add(file.identity);
        if (file.isDirectory && depth < MAX_DEPTH) await visit(path, depth + 1);
        else if (file.isFile && KEY.test(await head(join(root, path)))) found.push(path);
      }
    } catch {
      // No directory, or none that this user may list: what is not seen is not told.
    }
  };
  await visit(".", 0);
  return found.toSorted();
}

async function isReadable(path: string): Promise<boolean> {
  return (await Deno.permissions.query({ name: "read", path })).state === "granted";
}

type Found = {
  readonly identity: string;
  readonly isFile: boolean;
  readonly isDirectory: boolean;
};

/** What a path leads to; `undefined` where that is nothing that can be read. */
async function identify(path: string): Promise<Found | undefined> {
  try {
    if (!await isReadable(path)) return undefined;
    const { dev, ino, isFile, isDirectory } = await Deno.stat(path);
    // Windows may have no inodes.
    return { identity: ino === null ? path : `${dev}:${ino}`, isFile, isDirectory };
  } catch {
    return undefined; // Gone, or a link to nothing.
  }
}

async function head(path: string): Promise<string> {
  try {
    using file = await Deno.open(path);
    const bytes = new Uint8Array(HEAD);
    return new TextDecoder().decode(bytes.subarray(0, await file.read(bytes) ?? 0));
  } catch {
    return ""; // This user may not read it: the daemon cannot either.
  }
}
