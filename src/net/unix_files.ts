/**
 * The files that belong to a UNIX socket: the socket itself, and the lock that says whose it is.
 *
 * A socket that its owner left behind has to be removed before another can be bound there, and between
 * finding that nobody listens and removing it somebody else may have done both already: their socket,
 * a live one, would be gone. No system call removes just the file that was looked at, so whoever binds
 * holds a lock, `PATH.lock`, from before the look until its own socket is gone. The kernel gives the
 * lock back when its holder ends, however it ends, so a file that is left lying there locks nothing.
 *
 * @module
 */

/** A lock that is held; disposing gives it back and removes its file. */
export type SocketLock = Disposable;

/** Where the lock of a socket lies. */
export function lockPath(socket: string): string {
  return `${socket}.lock`;
}

/** What lies at a path, links not followed; `undefined` where there is nothing. */
export function lookAt(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Whether two looks saw the same file, which somebody had open all the while. */
export function isSame(one: Deno.FileInfo, other: Deno.FileInfo | undefined): boolean {
  return other !== undefined && one.ino !== null && one.ino === other.ino && one.dev === other.dev;
}

/**
 * Whether nothing has happened to a file between two looks. The number of one that is gone may be given
 * to the next one at once, as ext4 does; its times are its own.
 */
export function isUntouched(before: Deno.FileInfo, after: Deno.FileInfo | undefined): boolean {
  if (after === undefined || !isSame(before, after)) return false;
  return (["birthtime", "ctime", "mtime"] as const)
    .every((time) => before[time]?.getTime() === after[time]?.getTime());
}

/** What a file is, for a message. */
export function kindOf(file: Deno.FileInfo): string {
  if (file.isSocket) return "a socket";
  if (file.isSymlink) return "a symbolic link";
  if (file.isDirectory) return "a directory";
  return file.isFile ? "a regular file" : "a special file";
}

/** Another's clean-up in the same moment makes more than one necessary. */
const TRIES = 100;

/**
 * Takes the lock of a socket; `undefined` where it is held already, by whatever process.
 *
 * @throws {Error} when the lock's file cannot be made, or there is something else in its place.
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
      // Its last holder may have removed it after we had opened it: then whoever comes next makes
      // another.
      if (isSame(info, lookAt(path))) own = info;
    } finally {
      if (own === undefined) file.close();
    }
    if (own !== undefined) return held(path, file, own);
  }
  return undefined;
}

/** Never through a link, which could have it make a file anywhere. `undefined`: look again. */
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

/** The file goes first: once the lock is back, it may be another's. */
function held(path: string, file: Deno.FsFile, own: Deno.FileInfo): SocketLock {
  return {
    [Symbol.dispose]: () => {
      try {
        if (isSame(own, lookAt(path))) Deno.removeSync(path);
      } catch {
        // It may stay: it locks nothing by lying there.
      } finally {
        file.close();
      }
    },
  };
}
