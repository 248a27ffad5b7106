/**
 * The runtime's internal handles of TCP sockets, which are not part of its public interface.
 *
 * With a handle the result of a write is known at once, and incoming data is delivered by a
 * callback into one buffer that all sockets share; `Deno.TcpConn` takes a promise per operation and
 * a buffer per connection. This saves more than a third of a connection's cost. Handles are used
 * only where they are known to work: under the Deno versions that they were tested with, and as
 * long as every required method exists. Under any other version {@linkcode nativeTcp} returns
 * `undefined`, and sockets are carried by `Deno.TcpConn`.
 *
 * @module
 */

import process from "node:process";

/** Versions of Deno whose handles were reviewed and tested. Add a version only after doing both. */
const TESTED: readonly string[] = ["2.9.6"];

/**
 * How many sockets use handles at a time; further ones use `Deno.TcpConn`. A handle takes a second
 * descriptor, and with thousands of idle connections descriptors matter more than CPU. 5,000
 * connections fit into 20,000 descriptors.
 */
export const MAX_NATIVE_HANDLES = 8192;

/** Size in bytes of the receive buffer that all sockets share. */
const BUFFER = 64 * 1024;

/**
 * A write or shutdown that did not complete at once calls back with 0 or a negative error number.
 * `data` keeps the bytes of a write alive until then.
 */
export type Request = { oncomplete: (status: number) => void; readonly data?: Uint8Array };

/** The methods of a handle that we use. Returned numbers are 0 or a negative error number. */
export type Handle = {
  /**
   * Called when data or an error arrived; {@linkcode NativeTcp.count} has the count or error
   * number.
   */
  onread: () => void;
  readonly openFromRid: (rid: number) => number;
  readonly getpeername: (out: { address?: unknown; port?: unknown }) => number;
  readonly useUserBuffer: (buffer: Uint8Array) => void;
  readonly readStart: () => number;
  readonly readStop: () => number;
  readonly writeBuffer: (request: Request, data: Uint8Array) => number;
  readonly shutdown: (request: Request) => number;
  readonly setNoDelay: (on: boolean) => number;
  readonly setKeepAlive: (on: boolean, seconds: number) => number;
  /** Makes the last close of the socket send RST in place of FIN (SO_LINGER of 0 s). */
  readonly reset: () => number;
  readonly close: () => void;
};

const METHODS = [
  "openFromRid",
  "getpeername",
  "useUserBuffer",
  "readStart",
  "readStop",
  "writeBuffer",
  "shutdown",
  "setNoDelay",
  "setKeepAlive",
  "reset",
  "close",
] as const satisfies readonly (keyof Handle)[];

/** What the runtime reports about a handle's last read or write. */
export type StreamState = {
  /** In `onread`: the number of bytes received, or a negative error number. */
  readonly count: () => number;
  /** After `writeBuffer`: whether part of the data is still to be written. */
  readonly pending: () => boolean;
};

/** Access to native handles of TCP sockets. */
export type NativeTcp = StreamState & {
  /** Holds the received data, valid only during `onread`. */
  readonly buffer: Uint8Array;
  /**
   * Makes a handle on the connection's socket; `undefined` where that is not possible. The handle
   * has its own descriptor. Keep the connection open as well: closing it ends our half.
   */
  readonly adopt: (conn: Deno.TcpConn) => Handle | undefined;
  /** Closes an adopted handle and frees its place. Call once. */
  readonly release: (handle: Handle) => void;
  /**
   * Closes both with RST. No operation may be pending on the connection, except a write, which is
   * cut short; the caller reports it with `isWriting`.
   */
  readonly reset: (handle: Handle, conn: Deno.TcpConn, isWriting: boolean) => void;
};

/** The error number that stands for end of file. */
export const END_OF_FILE: number = -4095;

/** Access to the runtime's stream state, or `undefined` under a version that was not tested. */
export function streamState(version: string = Deno.version.deno): StreamState | undefined {
  if (!TESTED.includes(version)) return undefined;
  const stream = binding("stream_wrap");
  const state = property(stream, "streamBaseState");
  const countAt = property(stream, "kReadBytesOrError");
  const pendingAt = property(stream, "kLastWriteWasAsync");
  if (!(state instanceof Int32Array)) return undefined;
  if (typeof countAt !== "number" || typeof pendingAt !== "number") return undefined;
  return { count: () => state[countAt] ?? 0, pending: () => state[pendingAt] !== 0 };
}

/**
 * Access to native handles, `most` at a time, or `undefined` under a version that was not tested.
 */
export function nativeTcp(
  version: string = Deno.version.deno,
  most: number = MAX_NATIVE_HANDLES,
): NativeTcp | undefined {
  const state = streamState(version);
  if (state === undefined) return undefined;
  const tcp = binding("tcp_wrap");
  const Tcp = property(tcp, "TCP");
  const SOCKET = property(property(tcp, "constants"), "SOCKET");
  if (!isHandleClass(Tcp) || typeof SOCKET !== "number") return undefined;
  const buffer = new Uint8Array(BUFFER);
  let adopted = 0;
  return {
    ...state,
    buffer,
    adopt: (conn) => {
      const rid = resourceOf(conn);
      if (rid === undefined || adopted >= most) return undefined;
      const handle = new Tcp(SOCKET);
      let same = false;
      try {
        same = handle.openFromRid(rid) === 0 && sameSocket(handle, conn);
      } finally {
        if (!same) handle.close();
      }
      if (!same) return undefined;
      handle.useUserBuffer(buffer);
      adopted++;
      return handle;
    },
    release: (handle) => {
      adopted--;
      handle.close();
    },
    reset: (handle, conn, isWriting) => {
      adopted--;
      handle.reset();
      handle.close();
      // A pending write queues behind bytes that the peer has not read, and so does the FIN of
      // `close`.
      if (isWriting) conn.close();
      else abandon(conn);
    },
  };
}

/** Deliberately not a certificate. */
const NONE = ["-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"];

/**
 * Closes a connection without the FIN that `close` sends first: after that FIN a reset comes too
 * late, because the peer may already have read a clean end. `startTls` takes the socket out of the
 * connection first; when it then fails to parse the CA it closes the socket and does nothing else.
 * It sends nothing and needs no grant.
 */
function abandon(conn: Deno.TcpConn): void {
  // This is meant to fail.
  Deno.startTls(conn, { hostname: "localhost", caCerts: NONE }).then((tls) => tls.close(), IGNORED);
  try {
    conn.close();
  } catch {
    // `startTls` has taken the socket already.
  }
}

function IGNORED(): void {}

/**
 * Loads one of the runtime's internal bindings, as Node calls them; `undefined` where it is not
 * available.
 */
function binding(name: string): unknown {
  const find: unknown = Reflect.get(process, "binding");
  if (typeof find !== "function") return undefined;
  try {
    return find.call(process, name);
  } catch {
    return undefined; // There is no binding of that name.
  }
}

function property(object: unknown, key: string): unknown {
  return typeof object === "object" && object !== null ? Reflect.get(object, key) : undefined;
}

/** Whether these are the handles that this code knows. */
function isHandleClass(value: unknown): value is new (type: number) => Handle {
  if (typeof value !== "function") return false;
  const prototype: unknown = value.prototype;
  return METHODS.every((name) => typeof property(prototype, name) === "function");
}

/** The runtime's resource ID of a connection. */
function resourceOf(conn: Deno.TcpConn): number | undefined {
  const key = Object.getOwnPropertySymbols(conn)
    .find((symbol) => symbol.description === "Deno.internal.rid");
  const rid: unknown = key === undefined ? undefined : Reflect.get(conn, key);
  return typeof rid === "number" ? rid : undefined;
}

/** Whether the handle refers to the socket of this connection. */
function sameSocket(handle: Handle, conn: Deno.TcpConn): boolean {
  const out: { address?: unknown; port?: unknown } = {};
  if (handle.getpeername(out) !== 0) return false;
  return out.address === conn.remoteAddr.hostname && out.port === conn.remoteAddr.port;
}
