/**
 * The runtime's TLS handles, which are not part of its public interface.
 *
 * The public interface wraps each handle in two streams and a socket. For a small message these
 * cost more than the encryption, and for an idle connection they take most of the memory. Here
 * bytes are passed in and out by plain calls. What a handle does with them, and what it reports
 * about the peer, is the same. `self_test.ts` checks that the runtime behaves as this code expects.
 *
 * @module
 */

import tls from "node:tls";
import type { Duplex } from "node:stream";
import type { Conn } from "../net/conn.ts";
import { type Request, type StreamState, streamState } from "./tcp.ts";
import { TransportStream } from "../tls/transport_stream.ts";

/** Size of the plaintext buffer in bytes: more than one read of the transport can produce. */
const BUFFER = 96 * 1024;

/** How many buffers are kept for reuse. */
const SPARE = 64;

/** Maximum number of plaintext bytes that a handle encrypts at once, in whole records. */
export const MAX_PLAINTEXT = 48 * 1024;

/**
 * What a handle is configured from: a secure context of `node:tls`, and what to request from the
 * peer.
 */
export type HandleContext = Readonly<Record<string, unknown>>;

/** Makes the context that a `tls.Server` or `tls.connect` with these options would use. */
export function handleContext(
  own: tls.SecureContextOptions,
  request: { readonly requestCert: boolean; readonly rejectUnauthorized: boolean },
): HandleContext {
  const context: unknown = tls.createSecureContext(own).context;
  return { ...(typeof context === "object" ? context : {}), ...request };
}

/** TLS of one connection. Returned numbers are 0 for success. */
export type TlsHandle = {
  /**
   * Called when plaintext or the peer's close_notify arrived; {@linkcode StreamState.count} says
   * which.
   */
  onread: () => void;
  /** Called with an error about the peer's bytes. */
  onerror: (error: unknown) => void;
  /**
   * Called at the end of the handshake, before any byte of our last flight can be read from the
   * handle.
   */
  onhandshakedone: () => void;
  readonly initServerTls: (context: HandleContext) => number;
  /** An empty name means no SNI. */
  readonly initClientTls: (serverName: string, context: HandleContext) => number;
  readonly attachJsStream: () => number;
  /**
   * Sets the object whose callbacks are called; the handle is then not collected before
   * `destroySsl`.
   */
  readonly setHandle: (handle: TlsHandle) => void;
  readonly start: () => number;
  /** From now on plaintext is delivered to `onread` as it is set at this moment. */
  readonly readStart: () => number;
  /** Takes ciphertext and copies it. */
  readonly readBuffer: (ciphertext: Uint8Array) => void;
  /** Takes plaintext and copies it: at most {@linkcode MAX_PLAINTEXT} bytes at once. */
  readonly writeBuffer: (request: Request, plaintext: Uint8Array) => number;
  /** Returns the ciphertext to send. */
  readonly drainEncOut: () => Uint8Array;
  readonly useUserBuffer: (buffer: Uint8Array) => void;
  /** Appends close_notify (RFC 8446 section 6.1) to the ciphertext to send. */
  readonly shutdown: (request: Request) => number;
  readonly getPeerCertificateChain: () => { readonly certificates?: unknown } | null | undefined;
  /** What is wrong with the peer's chain; empty where nothing is wrong or there is no chain. */
  readonly verifyError: () => string;
  readonly getProtocol: (out: { protocol?: unknown }) => number;
  readonly isSessionReused: () => boolean;
  /** Before `start`: the protocols to offer or accept, in order (RFC 7301). */
  readonly setAlpnProtocols: (protocols: readonly string[]) => void;
  /** Yields false where no protocol was negotiated. */
  readonly getAlpnNegotiatedProtocol: (out: { alpnProtocol?: unknown }) => number;
  readonly getCipher: (out: { name?: unknown }) => number;
  readonly getServername: () => unknown;
  /** Frees the handle's memory. */
  readonly destroySsl: () => void;
};

const METHODS = [
  "initServerTls",
  "initClientTls",
  "attachJsStream",
  "setHandle",
  "start",
  "readStart",
  "readBuffer",
  "writeBuffer",
  "drainEncOut",
  "useUserBuffer",
  "shutdown",
  "getPeerCertificateChain",
  "verifyError",
  "getProtocol",
  "isSessionReused",
  "setAlpnProtocols",
  "getAlpnNegotiatedProtocol",
  "getCipher",
  "getServername",
  "destroySsl",
] as const satisfies readonly (keyof TlsHandle)[];

/** Makes TLS handles. */
export type NativeTls = StreamState & {
  /** Where plaintext is written. All connections share it, so it is valid only during `onread`. */
  readonly buffer: () => Uint8Array;
  /**
   * Marks the buffer as still in use by a write: the next plaintext goes to another buffer. Call
   * the result to return the buffer.
   */
  readonly lend: () => () => void;
  /**
   * Makes a handle of the server role that is configured and not started.
   *
   * @throws {Error} when the handle rejects the context.
   */
  readonly server: (context: HandleContext) => TlsHandle;
  /** Makes a handle of the client role likewise; an empty name means no SNI. */
  readonly client: (serverName: string, context: HandleContext) => TlsHandle;
};

/** Access to TLS handles, or `undefined` under a version of the runtime that was not tested. */
export function nativeTls(version?: string): NativeTls | undefined {
  const state = streamState(version);
  const make = state === undefined ? undefined : handleMaker();
  if (state === undefined || make === undefined) return undefined;
  let buffer: Uint8Array | undefined;
  const spare: Uint8Array[] = [];
  const set = (handle: TlsHandle, status: number): TlsHandle => {
    if (status !== 0 || handle.attachJsStream() !== 0) {
      handle.destroySsl();
      throw new Error("the TLS engine cannot use the own certificate and key");
    }
    handle.setHandle(handle);
    return handle;
  };
  return {
    ...state,
    buffer: () => buffer ??= new Uint8Array(BUFFER),
    lend: () => {
      const lent = buffer;
      buffer = spare.pop();
      return () => {
        if (lent !== undefined && spare.length < SPARE) spare.push(lent);
      };
    },
    server: (context) => {
      const handle = make(SERVER);
      return set(handle, handle.initServerTls(context));
    },
    client: (serverName, context) => {
      const handle = make(CLIENT);
      return set(handle, handle.initClientTls(serverName, context));
    },
  };
}

const CLIENT = 0;
const SERVER = 1;

/** Obtains the handles' constructor from an unconnected socket; `undefined` where that fails. */
function handleMaker(): ((role: number) => TlsHandle) | undefined {
  const stream = new TransportStream(NOWHERE);
  const socket = new tls.TLSSocket(stream as unknown as Duplex, {
    isServer: true,
    secureContext: tls.createSecureContext({}),
  });
  const handle: unknown = Reflect.get(socket, "_handle");
  socket.on("error", () => {});
  stream.close();
  socket.destroy();
  if (!isTlsHandle(handle)) return undefined;
  const Maker: unknown = handle.constructor;
  if (typeof Maker !== "function") return undefined;
  return (role) => Reflect.construct(Maker, [role, 0]);
}

function isTlsHandle(handle: unknown): handle is TlsHandle {
  if (typeof handle !== "object" || handle === null) return false;
  return METHODS.every((name) => typeof Reflect.get(handle, name) === "function");
}

const NOWHERE: Conn = {
  remote: "",
  local: "",
  read: () => Promise.resolve(null),
  pipeTo: () => Promise.resolve(),
  write: () => undefined,
  closeWrite: () => Promise.resolve(),
  close: () => {},
  reset: () => {},
};
