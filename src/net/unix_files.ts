/**
 * The files that belong to a UNIX socket: the socket itself, and the lock that marks its owner.
 *
 * A stale socket has to be removed before another can be bound. Between finding that no process
 * listens and removing the file, another process may have done both already, and its live socket
 * would be removed. No system call removes exactly the file that was examined, so a process holds a
 * lock, `PATH.lock`, from before the check until its own socket is gone. The kernel releases the
 * lock when its holder exits for any reason, so a lock file that was left behind locks nothing.
 *
 * @module
 */

/** A held lock; disposing releases it and removes its file. */
export type SocketLock = Disposable;

/** The path of a socket's lock. */
export function lockPath(socket: string): string {
  return `${socket}.lock`;
}

/** What lies at a path, without following links; `undefined` where there is nothing. */
export function lookAt(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/**
 * Whether both are the same file. The file must have been held open in between, since inode numbers
 * are reused.
 */
export function isSame(one: Deno.FileInfo, other: Deno.FileInfo | undefined): boolean {
  return other !== undefined && one.ino !== null && one.ino === other.ino && one.dev === other.dev;
}

/**
 * Whether a file is unchanged. The inode number of a removed file may be reused at once, as on
 * ext4, so the times are compared too.
 */
export function isUntouched(before: Deno.FileInfo, after: Deno.FileInfo | undefined): boolean {
  if (after === undefined || !isSame(before, after)) return false;
  return (["birthtime", "ctime", "mtime"] as const)
    .every((time) => before[time]?.getTime() === after[time]?.getTime());
}

/** The kind of a file, for a message. */
export function kindOf(file: Deno.FileInfo): string {
  if (file.isSocket) return "a socket";
  if (file.isSymlink) return "a symbolic link";
  if (file.isDirectory) return "a directory";
  return file.isFile ? "a regular file" : "a special file";
}

/** How many times to try: another process may remove the lock file at the same moment. */
const TRIES = 100;

/**
 * Takes the lock of a socket; `undefined` where a process, this one included, holds it already.
 *
 * @throws {Error} when the lock file cannot be created, or something else is in its place.
 */
export function lockSocket(socket: string): SocketLock | undefined {
  const path = lockPath(socket);
  for (let tries = 0; tries < TRIES; tries++) {
    const file = openLock(path);
    if (file === undefined) continue;
    let own: Deno.FileInfo | undefined;
    try {
      if (!file.tryLockSync(true)) return undefined;
      const info = file.statSync();
      // Its last holder may have removed the file after we opened it; the next process would then
      // create and lock another one.
      if (isSame(info, lookAt(path))) own = info;
    } finally {
      if (own === undefined) file.close();
    }
    if (own !== undefined) return held(path, file, own);
  }
  return undefined;
}

/** Never follows a link, which could make it create a file anywhere. `undefined`: look again. */
function openLock(path: string): Deno.FsFile | undefined {
  const found = lookAt(path);
  if (found !== undefined && !found.isFile) {
    throw new Error(`"${path}" is ${kindOf(found)}, not a lock`);
  }
  try {
    return found === undefined
      ? Deno.openSync(path, { write: true, createNew: true, mode: 0o600 })
      : Deno.openSync(path, { write: true });
  } catch (error) {
    const gone = error instanceof Deno.errors.NotFound && found !== undefined;
    if (gone || error instanceof Deno.errors.AlreadyExists) return undefined;
    throw error;
  }
}

/** Removes the file first: once the lock is released, the file may be another process's. */
function held(path: string, file: Deno.FsFile, own: Deno.FileInfo): SocketLock {
  return {
    [Symbol.dispose]: () => {
      try {
        if (isSame(own, lookAt(path))) Deno.removeSync(path);
      } catch {
        // A leftover file locks nothing.
      } finally {
        file.close();
      }
    },
  };
}
