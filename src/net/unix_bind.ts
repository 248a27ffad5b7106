/**
 * Binds a UNIX socket, and owns the files that belong to it: the socket, and the lock beside it.
 * Replaces a stale socket but never anything else, and admits no connection that the socket's mode
 * excludes, not even the first.
 *
 * A stale socket has to be removed before another can be bound. Between finding that no process
 * listens and removing the file, another process may have done both already, and its live socket
 * would be removed. No system call removes exactly the file that was examined, so a process holds a
 * lock, `PATH.lock`, from before the check until its own socket is gone. The kernel releases the
 * lock when its holder exits for any reason, so a lock file that was left behind locks nothing.
 *
 * What Deno 2.9 does, found by experiment:
 * - A socket is created with the mode 0777 less the umask, and listens at once. Setting the umask
 *   needs `--allow-sys=umask`; setting the mode afterwards needs only the grants for listening. So
 *   where the umask allows more than the mode does, connections made in between are dropped
 *   unserved.
 * - Closing a listener removes whatever lies at its path, even another process's file, and does so
 *   when the last pending `accept` has ended.
 * - Connecting to a file that is not a socket is refused, just like connecting to a socket without
 *   a listener.
 *
 * @module
 */

import { onceElapsed } from "../util/abort.ts";
import { codeOf, messageOf } from "../util/errors.ts";
import { isUnnamed } from "./errors.ts";

/** A bound socket with the intended mode. */
export type BoundSocket = {
  readonly listener: Deno.UnixListener;
  /** Identifies the socket's file later. */
  readonly file: Deno.FileInfo;
  /**
   * An `accept` that is already pending and cannot be cancelled; it yields the first connection to
   * serve.
   */
  readonly first: Promise<Deno.UnixConn> | undefined;
};

/** The path is in use; the message says by what. */
export class Occupied extends Error {
  /** The name of the class. */
  override readonly name = "Occupied";
}

/** How many times to bind: other processes may create and remove files at the path meanwhile. */
const BIND_TRIES = 10;

/** Milliseconds to wait for our own connection, which takes less than one. */
const OWN_CONNECTION = 5000;

/**
 * Binds the socket; call it with the socket's lock held ({@linkcode lockSocket}).
 *
 * @param mode the permission bits of the socket.
 * @throws {Occupied} when the path holds a socket in use, or something that is not a socket.
 */
export async function bindSocket(path: string, mode: number): Promise<BoundSocket> {
  const listener = await bind(path);
  let bound: Deno.FileInfo | undefined;
  try {
    const found = lookAt(path);
    if (!found?.isSocket) throw new Occupied(REPLACED);
    bound = found;
    const had = permissions(bound);
    if (had !== mode) Deno.chmodSync(path, mode);
    const file = lookAt(path);
    if (file === undefined || !isSame(bound, file) || permissions(file) !== mode) {
      throw new Occupied(REPLACED);
    }
    // Connecting needs write permission.
    const early = (had & ~mode & 0o222) !== 0;
    const { first } = early ? await dropEarly(listener, path) : { first: undefined };
    return { listener, file, first };
  } catch (error) {
    closeSocket(listener, path, bound);
    throw error;
  }
}

const REPLACED = "it was replaced in the moment it was bound";

/**
 * Closes a listener, which removes the file at its path. Where that file is another process's, the
 * listener is not closed but only abandoned: no client can reach it any more. Returns whether it
 * was closed. Never throws.
 */
export function closeSocket(
  listener: Deno.UnixListener,
  path: string,
  file: Deno.FileInfo | undefined,
): boolean {
  let there: Deno.FileInfo | undefined;
  try {
    there = lookAt(path);
  } catch {
    // A file that cannot be examined cannot be removed either.
  }
  const isOurs = there === undefined || (file !== undefined && isSame(file, there));
  if (isOurs) listener.close();
  else listener.unref();
  return isOurs;
}

function permissions(file: Deno.FileInfo): number {
  return (file.mode ?? 0) & 0o777;
}

async function bind(path: string): Promise<Deno.UnixListener> {
  for (let tries = 1;; tries++) {
    try {
      return Deno.listen({ transport: "unix", path });
    } catch (error) {
      if (codeOf(error) !== "EADDRINUSE" || tries === BIND_TRIES) throw error;
    }
    await clear(path);
  }
}

/** Removes a stale socket. */
async function clear(path: string): Promise<void> {
  const found = lookAt(path);
  if (found === undefined) return;
  if (!found.isSocket) throw new Occupied(`there is ${kindOf(found)}, which is left as it is`);
  const answer = await answerOf(path);
  if (answer !== undefined) throw new Occupied(answer);
  if (isUntouched(found, lookAt(path))) Deno.removeSync(path);
}

/** Why a socket counts as live; `undefined` where no process listens on it. */
async function answerOf(path: string): Promise<string | undefined> {
  try {
    const conn = await Deno.connect({ transport: "unix", path });
    conn.close();
    return "something else listens there";
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    switch (codeOf(error)) {
      case "ECONNREFUSED":
      case "ENOENT":
        return undefined;
      // The queue is full.
      case "EAGAIN":
        return "something else listens there";
      default:
        return `there is a socket that may be in use: ${messageOf(error)}`;
    }
  }
}

/**
 * Drops every connection that was made before the mode was set. The queue is in order, so these
 * come before a connection that we make ourselves, and every connection after it had to satisfy the
 * mode. Connections that arrive while we wait for our own are dropped as well. Returns the `accept`
 * that was pending when our own connection was found.
 */
async function dropEarly(
  listener: Deno.UnixListener,
  path: string,
): Promise<Pick<BoundSocket, "first">> {
  const token = crypto.getRandomValues(new Uint8Array(32));
  const dropped: Deno.Conn[] = [];
  const { promise: found, resolve, reject } = Promise.withResolvers<"found">();
  const lost = () => reject(new Occupied("connections to it do not arrive here"));
  using _limit = onceElapsed(OWN_CONNECTION, lost);
  // Avoids an unhandled rejection before `found` is awaited.
  found.catch(() => {});
  try {
    const own = await connectTo(listener, path);
    dropped.push(own);
    await own.write(token);
    for (;;) {
      const next = listener.accept();
      // When our own connection is found this promise is handed on; a failure of it is handled
      // there.
      next.catch(() => {});
      const conn = await unlessUnnamed(Promise.race([next, found]));
      if (conn === "found") return { first: next };
      if (conn === undefined) continue;
      dropped.push(conn);
      void isFrom(conn, token).then((yes) => yes && resolve("found"));
    }
  } finally {
    for (const conn of dropped) conn.close();
  }
}

/** Connects; drops queued connections where the queue is full. */
async function connectTo(listener: Deno.UnixListener, path: string): Promise<Deno.UnixConn> {
  for (;;) {
    try {
      return await Deno.connect({ transport: "unix", path });
    } catch (error) {
      if (codeOf(error) !== "EAGAIN") throw error;
    }
    (await unlessUnnamed(listener.accept()))?.close();
  }
}

/** `undefined` for a connection that Deno dropped because of the peer's address. */
async function unlessUnnamed<T>(accepted: Promise<T>): Promise<T | undefined> {
  try {
    return await accepted;
  } catch (error) {
    if (isUnnamed(error)) return undefined;
    throw error;
  }
}

/** Whether the connection sends exactly `token`. Never rejects. */
async function isFrom(conn: Deno.UnixConn, token: Uint8Array): Promise<boolean> {
  const got = new Uint8Array(token.length);
  try {
    for (let count = 0; count < got.length;) {
      const more = await conn.read(got.subarray(count));
      if (more === null) return false;
      count += more;
    }
  } catch {
    return false; // Closed by its peer, or because our own was found.
  }
  return got.every((byte, index) => byte === token[index]);
}

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
function isUntouched(before: Deno.FileInfo, after: Deno.FileInfo | undefined): boolean {
  if (after === undefined || !isSame(before, after)) return false;
  return (["birthtime", "ctime", "mtime"] as const)
    .every((time) => before[time]?.getTime() === after[time]?.getTime());
}

/** The kind of a file, for a message. */
function kindOf(file: Deno.FileInfo): string {
  if (file.isSocket) return "a socket";
  if (file.isSymlink) return "a symbolic link";
  if (file.isDirectory) return "a directory";
  return file.isFile ? "a regular file" : "a special file";
}

/** How many times to try: another process may remove the lock file at the same moment. */
const LOCK_TRIES = 100;

/**
 * Takes the lock of a socket; `undefined` where a process, this one included, holds it already.
 *
 * @throws {Error} when the lock file cannot be created, or something else is in its place.
 */
export function lockSocket(socket: string): SocketLock | undefined {
  const path = lockPath(socket);
  for (let tries = 0; tries < LOCK_TRIES; tries++) {
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
        // A lock file that stays behind locks nothing.
      } finally {
        file.close();
      }
    },
  };
}
