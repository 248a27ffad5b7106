/**
 * Reading the files that `tls` names: bounded, regular files only, and as one consistent set.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { dirname } from "node:path";

/** Reads a whole file of at most `maxBytes`; see {@linkcode readBoundedFile}. */
export type ReadFile = (path: string, maxBytes?: number) => Promise<Uint8Array>;

/** The most that a file may hold, in bytes: 256 CAs with `openssl -text` output are a fraction of it. */
export const MAX_FILE_BYTES = 4 * 1024 * 1024;
/** The same for revocation lists: about a million entries in DER. */
export const MAX_LIST_BYTES = 64 * 1024 * 1024;

/** A file that is read is not what it should be; the message says so of "it", with the fix. */
export class FileError extends Error {
  /** `FileError`. */
  override readonly name = "FileError";
}

/**
 * Reads a regular file of at most `maxBytes`, by default {@linkcode MAX_FILE_BYTES}. Anything else is not opened: a pipe
 * would block and a device might never end.
 *
 * @throws {FileError} when it is no such file.
 * @throws {Error} what the system or Deno says, for {@linkcode describeReadError}.
 */
export async function readBoundedFile(
  path: string,
  maxBytes: number = MAX_FILE_BYTES,
): Promise<Uint8Array> {
  const { isFile, isDirectory } = await Deno.stat(path);
  if (isDirectory) throw new FileError("it is a directory; name a file in it");
  if (!isFile) throw new FileError("it is not a regular file; name a PEM file");
  using file = await Deno.open(path);
  return await readToEnd(file, maxBytes);
}

/**
 * Reads to the end, at most `maxBytes`, by default {@linkcode MAX_FILE_BYTES}.
 *
 * @throws {FileError} when there is more.
 */
export async function readToEnd(
  source: Pick<Deno.FsFile, "read">,
  maxBytes: number = MAX_FILE_BYTES,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  while (true) {
    const chunk = new Uint8Array(64 * 1024);
    const count = await source.read(chunk);
    if (count === null) break;
    size += count;
    if (size > maxBytes) {
      throw new FileError(
        `it is larger than ${maxBytes / 1024 / 1024} MiB; name a PEM file with what is needed`,
      );
    }
    chunks.push(chunk.subarray(0, count));
  }
  const whole = new Uint8Array(size);
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.length;
  }
  return whole;
}

/** Why a file could not be read, of "it", with the fix. */
export function describeReadError(error: unknown, path: string): string {
  if (error instanceof FileError) return error.message;
  if (error instanceof Deno.errors.NotFound) {
    return "there is no such file, or it is a symlink that leads nowhere; correct the path";
  }
  if (error instanceof Deno.errors.NotCapable) {
    return error.message.includes("--allow-all")
      ? "Deno keeps programs from such files; name a regular file"
      // Its directory, since that is what has to be watched.
      : `Deno may not read it; add --allow-read=${dirname(path)}`;
  }
  if (error instanceof Deno.errors.PermissionDenied) {
    return "this user may not read it; change its owner or mode, or those of its directory";
  }
  if (error instanceof Deno.errors.NotADirectory) {
    return "a part of its path is not a directory; correct the path";
  }
  if (error instanceof Deno.errors.FilesystemLoop) {
    return "its symlinks lead in a circle; mend them";
  }
  const [line = ""] = (error instanceof Error ? error.message : String(error)).split("\n");
  return `it cannot be read: ${line}`;
}

/** What tells one state of some files from another: by path, a hash of the bytes or an error. */
export type Fingerprint = ReadonlyMap<string, string>;

type Content =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array; readonly digest: string }
  | { readonly kind: "error"; readonly error: unknown; readonly digest: string };

/** How often a set of files is read to see it twice the same, and the pause between, in ms. */
const PASSES = 10;
const PASS_PAUSE = 20;

/** The system has run out of something: says nothing about the file. */
const SHORTAGE = new Set(["EMFILE", "ENFILE", "ENOMEM", "EAGAIN"]);

/** Several files as they were at one time: their bytes, or why there are none. */
export class Snapshot {
  readonly #contents: ReadonlyMap<string, Content>;

  private constructor(contents: ReadonlyMap<string, Content>) {
    this.#contents = contents;
  }

  /** Reads each file once. */
  static async take(paths: Iterable<string>, readFile: ReadFile): Promise<Snapshot> {
    const entries = [...new Set(paths)].map(async (path) =>
      [path, await read(path, readFile)] as const
    );
    return new Snapshot(new Map(await Promise.all(entries)));
  }

  /**
   * Reads the files until two readings in a row are equal, so that no file of one generation stands
   * beside one of the next (a symlink swap, a writer at work). A file that keeps changing is
   * unreadable in the result.
   */
  static async takeConsistent(
    paths: Iterable<string>,
    readFile: ReadFile,
    first?: Snapshot,
  ): Promise<Snapshot> {
    const all = [...paths];
    let before = first ?? await Snapshot.take(all, readFile);
    for (let pass = 1;; pass++) {
      const after = await Snapshot.take(all, readFile);
      const restless = after.changedSince(before.fingerprint);
      if (restless.length === 0) return after;
      if (pass >= PASSES) return after.#without(restless);
      before = after;
      await new Promise((resolve) => setTimeout(resolve, PASS_PAUSE));
    }
  }

  /** Whether a file could not be read because the system has run out of something, not the file's fault. */
  get blind(): boolean {
    return this.#contents.values().some((content) =>
      content.kind === "error" && SHORTAGE.has(codeOf(content.error))
    );
  }

  /** What to keep for {@linkcode Snapshot.changedSince}; holds no bytes of the files. */
  get fingerprint(): Fingerprint {
    return new Map(this.#contents.entries().map(([path, { digest }]) => [path, digest]));
  }

  /** The files whose bytes, or whose error, are not those of `before`. */
  changedSince(before: Fingerprint): readonly string[] {
    return [...this.#contents]
      .filter(([path, { digest }]) => before.get(path) !== digest)
      .map(([path]) => path);
  }

  /** Gives what was read in place of reading. */
  readonly readFile: ReadFile = (path) => {
    const content = this.#contents.get(path);
    if (content?.kind === "bytes") return Promise.resolve(content.bytes);
    return Promise.reject(content?.error ?? new FileError("it was not read"));
  };

  #without(restless: readonly string[]): Snapshot {
    const error = new FileError(
      "it keeps changing while it is read; write it under another name and rename it into place",
    );
    const contents = new Map(this.#contents);
    for (const path of restless) contents.set(path, { kind: "error", error, digest: "changing" });
    return new Snapshot(contents);
  }
}

async function read(path: string, readFile: ReadFile): Promise<Content> {
  try {
    const bytes = await readFile(path);
    return { kind: "bytes", bytes, digest: createHash("sha256").update(bytes).digest("hex") };
  } catch (error) {
    return { kind: "error", error, digest: describeReadError(error, path) };
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}
