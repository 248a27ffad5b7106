/**
 * Binding a UNIX socket: in place of one that was left behind, never in place of anything else, and
 * closed to everybody whom its mode keeps out from the first connection on.
 *
 * What Deno 2.9 does, found by experiment:
 * - A socket is made with the mode that the umask leaves of 0777, and listens at once. To set the umask
 *   takes `--allow-sys=umask`; to set the mode afterwards takes what listening takes. So where the umask
 *   had left more than the mode does, those who came in between are dropped unserved.
 * - Closing a listener removes whatever lies at its path, be it another's, and does so when the last
 *   `accept` that waits has ended.
 * - Connecting to what is no socket is refused, as by a socket without a listener.
 *
 * @module
 */

import { isUnnamed } from "./listen.ts";
import { isSame, isUntouched, kindOf, lookAt } from "./unix_files.ts";
import { codeOf, wordsOf } from "./system.ts";

/** A socket that is bound, with the mode that it should have. */
export type BoundSocket = {
  readonly listener: Deno.UnixListener;
  /** How to know it again. */
  readonly file: Deno.FileInfo;
  /** Accepted already, in a call that cannot be taken back; the first connection to serve. */
  readonly first: Promise<Deno.UnixConn> | undefined;
};

/** The path is taken; the message says by what. */
export class Occupied extends Error {
  /** The name of the class. */
  override readonly name = "Occupied";
}

/** Others that come and go at the path in the same moment make more than one necessary. */
const TRIES = 10;

/** Milliseconds; connecting to ourselves takes less than one. */
const OWN_CONNECTION = 5000;

/**
 * Binds; the lock of the socket is held.
 *
 * @param mode its permission bits.
 * @throws {Occupied} when something is there that is in use, or no socket.
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
    // To connect takes leave to write.
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
 * Closes a listener and so removes its file. Where another's lies at its path it is not closed, only
 * left: nobody finds a way to it any more. Whether it was closed. Never throws.
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
    // What cannot be looked at cannot be removed either.
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
      if (codeOf(error) !== "EADDRINUSE" || tries === TRIES) throw error;
    }
    await clear(path);
  }
}

/** Makes room where a socket was left behind. */
async function clear(path: string): Promise<void> {
  const found = lookAt(path);
  if (found === undefined) return;
  if (!found.isSocket) throw new Occupied(`there is ${kindOf(found)}, which is left as it is`);
  const answer = await answerOf(path);
  if (answer !== undefined) throw new Occupied(answer);
  if (isUntouched(found, lookAt(path))) Deno.removeSync(path);
}

/** Why a socket is taken for a live one; `undefined` where nobody listens. */
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
      // Its queue is full.
      case "EAGAIN":
        return "something else listens there";
      default:
        return `there is a socket that may be in use: ${wordsOf(error)}`;
    }
  }
}

/**
 * Drops every connection that was made before the mode was set. They are known by their place in the
 * queue: they come before one that we make ourselves. Nobody that the mode keeps out comes after it.
 * Those that come while we still wait for our own are dropped too. What comes back is the call that was
 * waiting when our own was found.
 */
async function dropEarly(
  listener: Deno.UnixListener,
  path: string,
): Promise<Pick<BoundSocket, "first">> {
  const token = crypto.getRandomValues(new Uint8Array(32));
  const dropped: Deno.Conn[] = [];
  const { promise: found, resolve, reject } = Promise.withResolvers<"found">();
  const lost = () => reject(new Occupied("connections to it do not arrive here"));
  const timer = setTimeout(lost, OWN_CONNECTION);
  // Nobody may be waiting for it yet.
  found.catch(() => {});
  try {
    const own = await connectTo(listener, path);
    dropped.push(own);
    await own.write(token);
    for (;;) {
      const next = listener.accept();
      // When our own is found this is handed on, and when that fails it is nobody's concern.
      next.catch(() => {});
      const conn = await unlessUnnamed(Promise.race([next, found]));
      if (conn === "found") return { first: next };
      if (conn === undefined) continue;
      dropped.push(conn);
      void isFrom(conn, token).then((yes) => yes && resolve("found"));
    }
  } finally {
    clearTimeout(timer);
    for (const conn of dropped) conn.close();
  }
}

/** Connects, and makes room in the queue where those who came before have filled it. */
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

/** `undefined` for a caller that Deno has dropped already, and nobody else's concern. */
async function unlessUnnamed<T>(accepted: Promise<T>): Promise<T | undefined> {
  try {
    return await accepted;
  } catch (error) {
    if (isUnnamed(error)) return undefined;
    throw error;
  }
}

/** Whether these are the bytes that come. Never rejects. */
async function isFrom(conn: Deno.UnixConn, token: Uint8Array): Promise<boolean> {
  const got = new Uint8Array(token.length);
  try {
    for (let count = 0; count < got.length;) {
      const more = await conn.read(got.subarray(count));
      if (more === null) return false;
      count += more;
    }
  } catch {
    return false; // It is closed, by its peer or because our own was found.
  }
  return got.every((byte, index) => byte === token[index]);
}
