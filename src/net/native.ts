/**
 * The runtime's own handles of TCP sockets, which are not part of its public interface.
 *
 * Through them the kernel's answer to a write is known at once, and what comes is handed over by a call
 * into one buffer that all sockets share, where `Deno.TcpConn` costs a promise for each and a buffer for
 * each connection. That is worth more than a third of a connection's cost, so it is used where it is
 * known to be right: under the versions of the runtime that it was tested with, as long as everything
 * that it takes is there. Under any other {@linkcode nativeTcp} gives `undefined`, and sockets are
 * carried by `Deno.TcpConn`.
 *
 * @module
 */

import process from "node:process";

/** Versions of Deno whose handles were read and tested; a newer one is added when that was done. */
const TESTED: readonly string[] = ["2.9.6"];

/**
 * So many sockets are carried by handles at a time, and those beyond by `Deno.TcpConn`, since a handle
 * takes a second descriptor: thousands of idle connections matter less for their cost than for being
 * there at all. 5,000 connections fit into 20,000 descriptors.
 */
export const MAX_NATIVE_HANDLES = 8192;

/** What comes from the kernel goes in here first, whatever the socket; in bytes. */
const BUFFER = 64 * 1024;

/**
 * A write or shutdown that did not end at once calls back with 0 or a negative error number. `data` is
 * what a write sends from until then.
 */
export type Request = { oncomplete: (status: number) => void; readonly data?: Uint8Array };

/** What is used of a handle. Numbers that come back are 0 or a negative error number. */
export type Handle = {
  /** Called when something came; how much, or what went wrong, is in {@linkcode NativeTcp.count}. */
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
  /** Lets the socket go so that the last close of it sends RST in place of FIN (SO_LINGER of 0 s). */
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

/** What the runtime says besides of a handle's last read or write. */
export type StreamState = {
  /** In `onread`: so many bytes came, or a negative error number. */
  readonly count: () => number;
  /** After `writeBuffer`: whether not everything was taken yet. */
  readonly pending: () => boolean;
};

/** The way to native handles of TCP sockets. */
export type NativeTcp = StreamState & {
  /** Where each handle puts what comes, valid during its `onread` only. */
  readonly buffer: Uint8Array;
  /**
   * A handle on the connection's socket; `undefined` where there is none to be had. It has a
   * descriptor of its own, and the connection has to stay open besides: closing that ends our half.
   */
  readonly adopt: (conn: Deno.TcpConn) => Handle | undefined;
  /** Closes a handle that was adopted, which makes room for another one. Once. */
  readonly release: (handle: Handle) => void;
  /**
   * Closes both with RST. Nothing may be under way on the connection but a write, which `isWriting` has to
   * tell: it is cut short then.
   */
  readonly reset: (handle: Handle, conn: Deno.TcpConn, isWriting: boolean) => void;
};

/** The error number of an end of file. */
export const END_OF_FILE: number = -4095;

/** The state of handles under this runtime, or `undefined` where it is not known to be right. */
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

/** The way to native handles, `most` at a time, under this runtime, or `undefined` where it is not known to be right. */
export function nativeTcp(
  version: string = Deno.version.deno,
  most: number = MAX_NATIVE_HANDLES,
): NativeTcp | undefined {
  const state = streamState(version);
  if (state === undefined) return undefined;
  const tcp = binding("tcp_wrap");
  const Tcp = property(tcp, "TCP");
  const SOCKET = property(property(tcp, "constants"), "SOCKET");
  if (typeof Tcp !== "function" || typeof SOCKET !== "number") return undefined;
  const buffer = new Uint8Array(BUFFER);
  let adopted = 0;
  return {
    ...state,
    buffer,
    adopt: (conn) => {
      const rid = resourceOf(conn);
      if (rid === undefined || adopted >= most) return undefined;
      const handle: unknown = Reflect.construct(Tcp, [SOCKET]);
      if (!isHandle(handle)) return undefined;
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
      // A write waits behind bytes that the peer has not taken, and the FIN of `close` waits with them.
      if (isWriting) conn.close();
      else abandon(conn);
    },
  };
}

/** Not a certificate. */
const NONE = ["-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"];

/**
 * Closes a connection without the FIN that `close` begins with, after which a reset is too late: a
 * reader has seen an end in good order by then. `startTls` takes the socket out of the connection first,
 * and when it then cannot read the CA it closes the socket and nothing else. It sends nothing and takes
 * no grant.
 */
function abandon(conn: Deno.TcpConn): void {
  // That it fails is what it is called for.
  Deno.startTls(conn, { hostname: "localhost", caCerts: NONE }).then((tls) => tls.close(), IGNORED);
  try {
    conn.close();
  } catch {
    // It is gone already, as it should be.
  }
}

function IGNORED(): void {}

/** A part of the runtime that Node calls a binding; `undefined` where it is not given out. */
function binding(name: string): unknown {
  const find: unknown = Reflect.get(process, "binding");
  if (typeof find !== "function") return undefined;
  try {
    return find.call(process, name);
  } catch {
    return undefined; // There is none of that name, which is all that is asked here.
  }
}

function property(object: unknown, key: string): unknown {
  return typeof object === "object" && object !== null ? Reflect.get(object, key) : undefined;
}

function isHandle(object: unknown): object is Handle {
  return METHODS.every((name) => typeof property(object, name) === "function");
}

/** The number by which the runtime knows a connection. */
function resourceOf(conn: Deno.TcpConn): number | undefined {
  const key = Object.getOwnPropertySymbols(conn)
    .find((symbol) => symbol.description === "Deno.internal.rid");
  const rid: unknown = key === undefined ? undefined : Reflect.get(conn, key);
  return typeof rid === "number" ? rid : undefined;
}

/** Whether a handle is on the socket of this connection and no other. */
function sameSocket(handle: Handle, conn: Deno.TcpConn): boolean {
  const out: { address?: unknown; port?: unknown } = {};
  if (handle.getpeername(out) !== 0) return false;
  return out.address === conn.remoteAddr.hostname && out.port === conn.remoteAddr.port;
}
