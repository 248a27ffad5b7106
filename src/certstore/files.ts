/**
 * Reads the files that `tls` names: with a size limit, regular files only, and as a consistent set.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { dirname } from "node:path";
import { delay } from "../util/abort.ts";
import { codeOf, messageOf } from "../util/errors.ts";

/** Reads a whole file of at most `maxBytes` bytes; see {@linkcode readBoundedFile}. */
export type ReadFile = (path: string, maxBytes?: number) => Promise<Uint8Array>;

/** Maximum file size in bytes; 256 CAs with `openssl -text` output need only a fraction of it. */
export const MAX_FILE_BYTES = 4 * 1024 * 1024;
/** Maximum size of a revocation list in bytes: about a million entries in DER. */
export const MAX_LIST_BYTES = 64 * 1024 * 1024;

/** A file is not usable. The message is a clause about "it" and includes the fix. */
export class FileError extends Error {
  /** `FileError`. */
  override readonly name = "FileError";
}

/**
 * Reads a regular file of at most `maxBytes` bytes, by default {@linkcode MAX_FILE_BYTES}. Nothing
 * else is opened: a pipe would block and a device might never end.
 *
 * @throws {FileError} if it is not a regular file or is too large.
 * @throws {Error} the system's or Deno's error, for {@linkcode describeReadError}.
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
 * Reads to the end, at most `maxBytes` bytes, by default {@linkcode MAX_FILE_BYTES}.
 *
 * @throws {FileError} if there is more.
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

/** Why a file could not be read, as a clause about "it" that includes the fix. */
export function describeReadError(error: unknown, path: string): string {
  if (error instanceof FileError) return error.message;
  if (error instanceof Deno.errors.NotFound) {
    return "there is no such file, or it is a symlink that leads nowhere; correct the path";
  }
  if (error instanceof Deno.errors.NotCapable) {
    return error.message.includes("--allow-all")
      ? "Deno keeps programs from such files; name a regular file"
      // The directory rather than the file, because the directory has to be watched.
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
  const [line = ""] = messageOf(error).split("\n");
  return `it cannot be read: ${line}`;
}

/** Identifies the state of a set of files: for each path a hash of its bytes, or its error. */
export type Fingerprint = ReadonlyMap<string, string>;

type Content =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array; readonly digest: string }
  | { readonly kind: "error"; readonly error: unknown; readonly digest: string };

/**
 * Maximum number of reads to get the same contents twice in a row, and the pause in between in ms.
 */
const PASSES = 10;
const PASS_PAUSE = 20;

/** The system is out of some resource; these errors say nothing about the file. */
const SHORTAGE = new Set(["EMFILE", "ENFILE", "ENOMEM", "EAGAIN"]);

/** The contents of several files at one time, or the errors from reading them. */
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
   * Reads the files until two successive reads agree, so that the result does not mix files of two
   * generations (a symlink swap, a writer at work). A file that keeps changing is unreadable in the
   * result.
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
      const changing = after.changedSince(before.fingerprint);
      if (changing.length === 0) return after;
      if (pass >= PASSES) return after.#without(changing);
      before = after;
      await delay(PASS_PAUSE);
    }
  }

  /** Whether a file could not be read because the system was out of some resource. */
  get outOfResources(): boolean {
    return this.#contents.values().some((content) =>
      content.kind === "error" && SHORTAGE.has(codeOf(content.error))
    );
  }

  /** The value for a later {@linkcode Snapshot.changedSince}; contains no file contents. */
  get fingerprint(): Fingerprint {
    return new Map(this.#contents.entries().map(([path, { digest }]) => [path, digest]));
  }

  /** The files whose bytes or error differ from `before`. */
  changedSince(before: Fingerprint): readonly string[] {
    return [...this.#contents]
      .filter(([path, { digest }]) => before.get(path) !== digest)
      .map(([path]) => path);
  }

  /** Returns the contents in the snapshot, without reading the file again. */
  readonly readFile: ReadFile = (path) => {
    const content = this.#contents.get(path);
    if (content?.kind === "bytes") return Promise.resolve(content.bytes);
    return Promise.reject(content?.error ?? new FileError("it was not read"));
  };

  #without(changing: readonly string[]): Snapshot {
    const error = new FileError(
      "it keeps changing while it is read; write it under another name and rename it into place",
    );
    const contents = new Map(this.#contents);
    for (const path of changing) contents.set(path, { kind: "error", error, digest: "changing" });
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
