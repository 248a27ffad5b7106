/**
 * `grants`: prints the smallest set of Deno permission flags that a config needs, on one line.
 *
 * The flags depend only on the config, not on the files that it names, so the command works before
 * the certificates exist. Where it has read access to the directories that it grants, it warns
 * about other private keys in them.
 *
 * @module
 */

import { join } from "node:path";
import { configName } from "../control/config_file.ts";
import { formatGrants, type Grant, grantsFor } from "../control/grants.ts";
import { escapeText, quote } from "../util/text.ts";
import { type CommandIo, loadConfig } from "./load_config.ts";
import type { Config } from "../config/config.ts";

/** The options of the command. */
export type GrantsOptions = {
  /** Grant only the certificate files, not their directories. */
  readonly files: boolean;
  /** Also print the flags that allow settings from environment variables. */
  readonly withEnv: boolean;
};

/**
 * Prints the flags for the config at `path` (`-`: standard input). Returns the exit status: 0, or 2
 * if the config is invalid. Addresses and paths from the environment count as far as access to it
 * is granted.
 */
export async function grants(
  path: string,
  io: CommandIo,
  { files, withEnv }: GrantsOptions = { files: false, withEnv: false },
): Promise<number> {
  const loaded = await loadConfig(path, io);
  if (loaded === undefined) return 2;
  const { config } = loaded;
  const granted = grantsFor(config, path, { files });
  const flags = formatGrants(granted, { environment: withEnv });
  if (flags.ok) {
    io.stdout(flags.line);
    for (const warning of await otherKeys(granted, config)) {
      io.stderr(escapeText(`${configName(path)}: warning: ${warning}`));
    }
    return 0;
  }
  for (const problem of flags.problems) io.stderr(escapeText(`${configName(path)}: ${problem}`));
  return 2;
}

/** Maximum number of entries, and directory depth, to examine for one grant. */
const MAX_ENTRIES = 500;
const MAX_DEPTH = 3;
/** Number of bytes at the start of a file in which to look for a key. */
const HEAD = 16 * 1024;
/** Maximum number of keys to name in a warning. */
const NAMED = 3;

const KEY = /-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----/;

/**
 * One line for each granted directory that contains such keys. Accesses only files that this
 * process may read without a prompt.
 */
async function otherKeys(
  grants: readonly Grant[],
  { tunnels }: Config,
): Promise<readonly string[]> {
  const blocks = tunnels.flatMap(({ tls, upstream }) => upstream ? [tls, upstream.tls] : [tls]);
  const own = new Set<string>();
  // A combined file may be named by any of the three keys.
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

/**
 * The files below a directory that contain a key, as relative paths; each file once, however many
 * links lead to it.
 */
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
      // Not a directory, or not readable by this user.
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

/** Identifies the file at a path, following symlinks; `undefined` if it cannot be read. */
async function identify(path: string): Promise<Found | undefined> {
  try {
    if (!await isReadable(path)) return undefined;
    const { dev, ino, isFile, isDirectory } = await Deno.stat(path);
    // On Windows inode numbers may be missing.
    return { identity: ino === null ? path : `${dev}:${ino}`, isFile, isDirectory };
  } catch {
    return undefined; // Removed meanwhile, or a dangling symlink.
  }
}

async function head(path: string): Promise<string> {
  try {
    using file = await Deno.open(path);
    const bytes = new Uint8Array(HEAD);
    return new TextDecoder().decode(bytes.subarray(0, await file.read(bytes) ?? 0));
  } catch {
    return ""; // If this user may not read it, neither may the daemon.
  }
}
