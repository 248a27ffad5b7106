/**
 * The TLS engine itself, which the runtime has below its public interface.
 *
 * The public one puts two streams and a socket in front of each engine: for a small message they cost
 * more than its encryption does, and for an idle connection most of its memory. Here bytes go in and
 * come out by plain calls. What the engine does with them, and what it finds of the peer, is the same.
 * `engine_proof.ts` finds out whether the runtime is the one that this was written for.
 *
 * @module
 */

import tls from "node:tls";
import type { Duplex } from "node:stream";
import type { Channel } from "../channel.ts";
import { type Request, type StreamState, streamState } from "../net/native.ts";
import { Wire } from "./wire.ts";

/** Decrypted bytes come in here; more than one read of the wire can give. */
const BUFFER = 96 * 1024;

/** So many buffers are kept for the next time that one is lent. */
const SPARE = 64;

/** So many bytes of plaintext the engine turns into ciphertext at once; in whole records. */
export const MAX_PLAINTEXT = 48 * 1024;

/** What an engine is set up from: a secure context of `node:tls`, and what it asks of its peer. */
export type EngineContext = Readonly<Record<string, unknown>>;

/** The context of engines that are set up like a `tls.Server` or `tls.connect` with these options. */
export function engineContext(
  own: tls.SecureContextOptions,
  asks: { readonly requestCert: boolean; readonly rejectUnauthorized: boolean },
): EngineContext {
  const context: unknown = tls.createSecureContext(own).context;
  return { ...(typeof context === "object" ? context : {}), ...asks };
}

/** One engine; where a number comes back, 0 is success. */
export type Engine = {
  /** Called when plaintext came, or the peer's close_notify: {@linkcode StreamState.count} tells. */
  onread: () => void;
  /** Called with what the engine has against the peer's bytes. */
  onerror: (error: unknown) => void;
  /** Called at the end of the handshake, before anything of our last flight can be had. */
  onhandshakedone: () => void;
  readonly initServerTls: (context: EngineContext) => number;
  /** An empty name is none. */
  readonly initClientTls: (serverName: string, context: EngineContext) => number;
  readonly attachJsStream: () => number;
  /** Whom to call back; from then on the engine is not collected before `destroySsl`. */
  readonly setHandle: (engine: Engine) => void;
  readonly start: () => number;
  /** From now on plaintext is delivered to the `onread` of this moment. */
  readonly readStart: () => number;
  /** Takes ciphertext, and copies it. */
  readonly readBuffer: (ciphertext: Uint8Array) => void;
  /** Takes plaintext, and copies it: not more than {@linkcode MAX_PLAINTEXT} at once. */
  readonly writeBuffer: (request: Request, plaintext: Uint8Array) => number;
  /** The ciphertext that is to be sent. */
  readonly drainEncOut: () => Uint8Array;
  readonly useUserBuffer: (buffer: Uint8Array) => void;
  /** Puts close_notify (RFC 8446 section 6.1) into what is to be sent. */
  readonly shutdown: (request: Request) => number;
  readonly getPeerCertificateChain: () => { readonly certificates?: unknown } | null | undefined;
  /** What is wrong with the peer's chain; empty where nothing is, or there is none. */
  readonly verifyError: () => string;
  readonly getProtocol: (out: { protocol?: unknown }) => number;
  readonly isSessionReused: () => boolean;
  /** Before `start`: protocols to offer or to accept, in order (RFC 7301). */
  readonly setAlpnProtocols: (protocols: readonly string[]) => void;
  /** Where none was agreed upon: false. */
  readonly getAlpnNegotiatedProtocol: (out: { alpnProtocol?: unknown }) => number;
  readonly getCipher: (out: { name?: unknown }) => number;
  readonly getServername: () => unknown;
  /** Frees its memory. */
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
] as const satisfies readonly (keyof Engine)[];

/** The way to engines. */
export type NativeTls = StreamState & {
  /** Where plaintext is put, valid during `onread` only: all connections share it. */
  readonly buffer: () => Uint8Array;
  /** The buffer is still being sent from: the next plaintext gets another one, until it is given back. */
  readonly lend: () => () => void;
  /**
   * An engine that is set up and not started.
   *
   * @throws {Error} when the engine does not like the context.
   */
  readonly server: (context: EngineContext) => Engine;
  /** The same for the other side; an empty name is none. */
  readonly client: (serverName: string, context: EngineContext) => Engine;
};

/** The way to engines under this runtime, or `undefined` where it is not known to be right. */
export function nativeTls(version?: string): NativeTls | undefined {
  const state = streamState(version);
  const make = state === undefined ? undefined : engineMaker();
  if (state === undefined || make === undefined) return undefined;
  let buffer: Uint8Array | undefined;
  const spare: Uint8Array[] = [];
  const set = (engine: Engine, status: number): Engine => {
    if (status !== 0 || engine.attachJsStream() !== 0) {
      engine.destroySsl();
      throw new Error("the TLS engine cannot use the own certificate and key");
    }
    engine.setHandle(engine);
    return engine;
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
      const engine = make(SERVER);
      return set(engine, engine.initServerTls(context));
    },
    client: (serverName, context) => {
      const engine = make(CLIENT);
      return set(engine, engine.initClientTls(serverName, context));
    },
  };
}

const CLIENT = 0;
const SERVER = 1;

/** The maker of engines, as a socket that goes nowhere has it; `undefined` where it has not. */
function engineMaker(): ((role: number) => Engine) | undefined {
  const wire = new Wire(NOWHERE);
  const socket = new tls.TLSSocket(wire as unknown as Duplex, {
    isServer: true,
    secureContext: tls.createSecureContext({}),
  });
  const handle: unknown = Reflect.get(socket, "_handle");
  socket.on("error", () => {});
  wire.close();
  socket.destroy();
  if (!isEngine(handle)) return undefined;
  const Maker: unknown = handle.constructor;
  if (typeof Maker !== "function") return undefined;
  return (role) => Reflect.construct(Maker, [role, 0]);
}

function isEngine(handle: unknown): handle is Engine {
  if (typeof handle !== "object" || handle === null) return false;
  return METHODS.every((name) => typeof Reflect.get(handle, name) === "function");
}

const NOWHERE: Channel = {
  remote: "",
  local: "",
  read: () => Promise.resolve(null),
  pump: () => Promise.resolve(),
  write: () => undefined,
  closeWrite: () => Promise.resolve(),
  close: () => {},
  reset: () => {},
};
