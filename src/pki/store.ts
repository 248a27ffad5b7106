/**
 * Writes a set of new files, some of them secret, to a directory: all of them or, as far as the
 * system allows, none. A secret file has mode 0600 from the start, existing files are never written
 * to, and a symlink at one of the names is not followed.
 *
 * Without `force`, each file is created only if it does not exist (`O_CREAT|O_EXCL`). With it, each
 * is created under a random temporary name, and all are renamed into place once they are complete.
 *
 * On Windows files have no mode, so the access control list of the directory must protect the keys.
 *
 * @module
 */

import { join } from "node:path";
import { messageOf } from "../util/errors.ts";

/** A file to write to the directory. */
export type NewFile = {
  /** Its name in the directory. */
  readonly name: string;
  readonly content: string;
  /** Whether its mode is 0600; otherwise it is 0644. */
  readonly secret: boolean;
};

/** How to treat existing files. */
export type StoreOptions = {
  /** Replace existing files. */
  readonly force: boolean;
  /**
   * Names of the set that have no new file. If one exists, it is an error without `force`; with
   * `force` it is removed, because it would not fit the new files.
   */
  readonly stale: readonly string[];
};

/** The changes that were made, as full paths. */
export type StoreResult = {
  readonly written: readonly string[];
  readonly removed: readonly string[];
};

/**
 * The files could not be stored. `reason` is `exists` if a file is in the way, `grant` if a Deno
 * permission is missing, and `system` for all other errors. The message is for the user.
 */
export class StoreError extends Error {
  /** Always `StoreError`. */
  override readonly name = "StoreError";
  /** The kind of error. */
  readonly reason: "exists" | "grant" | "system";

  /** `options.cause` is the system's error, if there is one. */
  constructor(reason: StoreError["reason"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/**
 * Stores the files in a directory, which is created with mode 0755 if it does not exist. Needs read
 * and write permission on the directory.
 *
 * @throws {StoreError} on failure. If anything was changed by then, the message says what.
 */
export async function storeFiles(
  dir: string,
  files: readonly NewFile[],
  options: StoreOptions,
): Promise<StoreResult> {
  await refuseExisting(dir, [...files.map((file) => file.name), ...options.stale], options.force);
  try {
    await Deno.mkdir(dir, { recursive: true, mode: 0o755 });
  } catch (cause) {
    throw await explain("make directory", dir, cause, dir);
  }
  return options.force
    ? await replaceAll(dir, files, options.stale)
    : { written: await createAll(dir, files), removed: [] };
}

/** Checks every name before anything is written. */
async function refuseExisting(
  dir: string,
  names: readonly string[],
  force: boolean,
): Promise<void> {
  const existing: string[] = [];
  for (const path of names.map((name) => join(dir, name))) {
    try {
      // Not stat: a dangling symlink is in the way too.
      const { isDirectory } = await Deno.lstat(path);
      if (isDirectory) {
        throw new StoreError("exists", `Cannot write ${quote(path)}: it is a directory`);
      }
      existing.push(path);
    } catch (cause) {
      if (cause instanceof StoreError) throw cause;
      if (!(cause instanceof Deno.errors.NotFound)) throw await explain("write", path, cause, dir);
    }
  }
  if (existing.length === 0 || force) return;
  const verb = existing.length === 1 ? "exists" : "exist";
  throw new StoreError(
    "exists",
    `Cannot write ${existing.map(quote).join(", ")}: already ${verb}, ` +
      `nothing was written; --force replaces the whole set`,
  );
}

async function createAll(dir: string, files: readonly NewFile[]): Promise<string[]> {
  const written: string[] = [];
  for (const file of files) {
    const path = join(dir, file.name);
    try {
      await create(path, file);
    } catch (cause) {
      const left = await removeAll(written);
      const after = left.length === 0 ? "nothing was left behind" : `left behind: ${list(left)}`;
      throw await explain("write", path, cause, dir, after);
    }
    written.push(path);
  }
  return written;
}

async function replaceAll(
  dir: string,
  files: readonly NewFile[],
  stale: readonly string[],
): Promise<StoreResult> {
  const staged = files.map((file) => ({
    file,
    path: join(dir, file.name),
    temporary: join(dir, `.${file.name}.${crypto.randomUUID()}.tmp`),
  }));
  const done = { written: [] as string[], removed: [] as string[] };
  const temporary: string[] = [];
  let step = { what: "write", path: dir };
  try {
    for (const entry of staged) {
      step = { what: "write", path: entry.path };
      await create(entry.temporary, entry.file);
      temporary.push(entry.temporary);
    }
    for (const entry of staged) {
      step = { what: "replace", path: entry.path };
      await Deno.rename(entry.temporary, entry.path);
      temporary.shift();
      done.written.push(entry.path);
    }
    for (const path of stale.map((name) => join(dir, name))) {
      step = { what: "remove", path };
      if (await removeFile(path)) done.removed.push(path);
    }
    return done;
  } catch (cause) {
    const left = await removeAll(temporary);
    const after = [
      done.written.length === 0 ? "nothing was replaced" : `already new: ${list(done.written)}`,
      ...(left.length === 0 ? [] : [`left behind: ${list(left)}`]),
    ];
    throw await explain(step.what, step.path, cause, dir, after.join("; "));
  }
}

/** Creates a file that must not exist; removes it again if it is incomplete. */
async function create(path: string, { content, secret }: NewFile): Promise<void> {
  const mode = secret ? 0o600 : 0o644;
  using file = await Deno.open(path, { write: true, createNew: true, mode });
  try {
    let rest = new TextEncoder().encode(content);
    while (rest.length > 0) rest = rest.subarray(await file.write(rest));
    await file.sync();
  } catch (cause) {
    await removeAll([path]);
    throw cause;
  }
}

/** Removes a file; returns whether it existed. */
async function removeFile(path: string): Promise<boolean> {
  try {
    await Deno.remove(path);
    return true;
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return false;
    throw cause;
  }
}

/** Removes as many files as possible; returns those that could not be removed. */
async function removeAll(paths: readonly string[]): Promise<string[]> {
  const results = await Promise.allSettled(paths.map(removeFile));
  return paths.filter((_, i) => results[i]?.status === "rejected");
}

/** Converts the system's error into one for the user. */
async function explain(
  what: string,
  path: string,
  cause: unknown,
  dir: string,
  after?: string,
): Promise<StoreError> {
  const subject = `Cannot ${what} ${quote(path)}`;
  const end = after === undefined ? "" : `; ${after}`;
  if (cause instanceof Deno.errors.NotCapable) {
    const flags = await missingFlags(dir);
    const fix = flags === "" ? cause.message : `add ${flags}`;
    return new StoreError("grant", `${subject}: ${fix}${end}`, { cause });
  }
  // The system's message is like "File exists (os error 17): open '...'". The path has been named
  // already.
  const said = messageOf(cause);
  const words = said.replace(/ \(os error \d+\).*$/s, "");
  return new StoreError("system", `${subject}: ${words}${end}`, { cause });
}

async function missingFlags(dir: string): Promise<string> {
  const flags: string[] = [];
  for (const name of ["read", "write"] as const) {
    const { state } = await Deno.permissions.query({ name, path: dir });
    if (state !== "granted") flags.push(`--allow-${name}=${dir}`);
  }
  return flags.join(" ");
}

function quote(text: string): string {
  return JSON.stringify(text);
}

function list(paths: readonly string[]): string {
  return paths.map(quote).join(", ");
}
