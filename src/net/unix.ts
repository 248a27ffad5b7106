/**
 * UNIX sockets: listening and connecting.
 *
 * Write access to a socket's directory is enough to replace the socket, so the directory should
 * belong to the daemon, like `/run/NAME` of a service. The socket's mode says which users may
 * connect (on Linux, connecting needs write permission).
 *
 * @module
 */

import { delay } from "../util/abort.ts";
import type { Conn } from "./conn.ts";
import { formatAddress } from "../config/address.ts";
import type { UnixAddress } from "../config/config.ts";
import {
  bindSocket,
  type BoundSocket,
  closeSocket,
  isSame,
  lockPath,
  lockSocket,
  lookAt,
  Occupied,
  type SocketLock,
} from "./unix_bind.ts";
import { UnixConn } from "./socket_conn.ts";
import { type DialOptions, withinLimits } from "./dial.ts";
import type { SocketListener } from "./listen.ts";
import {
  AcceptError,
  beyondGrants,
  ListenError,
  type ListenReason,
  socketGrants,
} from "./errors.ts";
import { codeOf, messageOf } from "../util/errors.ts";

/**
 * Listens. Replaces a stale socket that no process listens on. `close` removes the file, if it is
 * still the one that was created here. Until then `PATH.lock` keeps other mtlsd processes away.
 *
 * @param mode the permission bits of the socket.
 * @throws {ListenError} when the address cannot be bound.
 */
export async function listenUnix(address: UnixAddress, mode: number): Promise<SocketListener> {
  const { path } = address;
  let lock: SocketLock | undefined;
  try {
    lock = lockSocket(path);
    if (lock === undefined) throw new Occupied("another mtlsd listens there");
    return new UnixListener(address, lock, await bindSocket(path, mode));
  } catch (error) {
    lock?.[Symbol.dispose]();
    throw listenError(address, error);
  }
}

function listenError(address: UnixAddress, error: unknown): ListenError {
  const cannot = `Cannot listen on "${formatAddress(address)}"`;
  const { path } = address;
  if (error instanceof Deno.errors.NotCapable) {
    const flags = socketGrants(path, lockPath(path)).join(" ");
    const why = beyondGrants(error) ?? `not permitted: add ${flags}`;
    return new ListenError("not permitted", `${cannot}: ${why}`, { cause: error });
  }
  if (error instanceof Occupied) {
    return new ListenError("address in use", `${cannot}: address in use, ${error.message}`);
  }
  const reason = listenReason(error);
  return new ListenError(reason, `${cannot}: ${messageOf(error)}${HINTS[reason] ?? ""}`, {
    cause: error,
  });
}

const HINTS: { readonly [reason in ListenReason]?: string } = {
  "address in use": ", something else listens there",
  "not found": ", the directory has to be there",
  "permission denied":
    ", it takes leave to make files in that directory, and to replace what was left there",
};

function listenReason(error: unknown): ListenReason {
  switch (codeOf(error)) {
    case "EADDRINUSE":
      return "address in use";
    case "ENOENT":
    case "ENOTDIR":
      return "not found";
    case "EACCES":
    case "EPERM":
      return "permission denied";
    default:
      return "other";
  }
}

class UnixListener implements SocketListener {
  readonly address: string;
  readonly #path: string;
  readonly #bound: BoundSocket;
  #lock: SocketLock | undefined;
  #first: Promise<Deno.UnixConn> | undefined;
  #closed = false;
  /** Rejects the pending `accept`. */
  #cut: ((error: AcceptError) => void) | undefined;

  constructor(address: UnixAddress, lock: SocketLock, bound: BoundSocket) {
    this.address = formatAddress(address);
    this.#path = address.path;
    this.#lock = lock;
    this.#bound = bound;
    this.#first = bound.first;
  }

  accept(): Promise<Conn> {
    if (this.#closed) return Promise.reject(new AcceptError(CLOSED));
    const next = this.#first ?? this.#bound.listener.accept();
    this.#first = undefined;
    return new Promise((resolve, reject) => {
      this.#cut = reject;
      next.then((socket) => {
        this.#cut = undefined;
        if (!this.#closed) return resolve(new UnixConn(socket));
        socket.close();
        this.#unlock();
        reject(new AcceptError(CLOSED));
      }, (error) => {
        this.#cut = undefined;
        if (this.#closed) this.#unlock();
        reject(new AcceptError(error));
      });
    });
  }

  inPlace(): boolean {
    try {
      return isSame(this.#bound.file, lookAt(this.#path));
    } catch {
      return true; // Without permission to look, assume that it is in place.
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const { listener, file } = this.#bound;
    if (closeSocket(listener, this.#path, file)) {
      // Deno removes the file when the last pending `accept` ends. Keep the lock until then, so
      // that no other process binds a socket there that would be removed.
      if (this.#cut !== undefined) return;
      if (this.#first === undefined) return this.#unlock();
      void this.#first.then((socket) => socket.close(), () => {}).finally(() => this.#unlock());
    } else {
      this.#cut?.(new AcceptError(CLOSED));
      this.#unlock();
    }
  }

  #unlock(): void {
    this.#lock?.[Symbol.dispose]();
    this.#lock = undefined;
  }
}

const CLOSED = new Error("the listener was closed");

/** Pauses between attempts while the queue is full, in milliseconds; doubled each time. */
const MIN_PAUSE = 5;
const MAX_PAUSE = 100;

/**
 * Connects. A full queue refuses a UNIX connection at once where a TCP one would wait, so this
 * retries until the time limit.
 *
 * @throws {DialError} when the connection fails; nothing is left open then.
 */
export function dialUnix(address: UnixAddress, options: DialOptions): Promise<Conn> {
  return withinLimits(address, options, async (signal) => {
    for (let pause = MIN_PAUSE; !signal.aborted; pause = Math.min(MAX_PAUSE, pause * 2)) {
      const socket = await connect(address.path);
      if (socket === undefined) {
        await delay(pause, signal);
        continue;
      }
      if (!signal.aborted) return new UnixConn(socket);
      socket.close();
    }
    return undefined;
  });
}

/** `undefined` when the queue is full. */
async function connect(path: string): Promise<Deno.UnixConn | undefined> {
  try {
    return await Deno.connect({ transport: "unix", path });
  } catch (error) {
    if (codeOf(error) === "EAGAIN") return undefined;
    throw error;
  }
}
