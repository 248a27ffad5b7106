/**
 * TLS on the runtime's private handles, the same for both roles.
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
import {
  certificateRequest,
  type ClientSettings,
  type Ends,
  type EstablishedTls,
  type HandshakeEvents,
  type Negotiated,
  type RunningTls,
  type ServerSettings,
  type TlsBackend,
  type TlsEndpoint,
} from "../tls/backend.ts";
import { HandshakeError } from "../tls/handshake_error.ts";
import { TransportStream } from "../tls/transport_stream.ts";
import { messageOf } from "../util/errors.ts";
import { type Request, type StreamState, streamState } from "./tcp.ts";
import { NativeTlsConn } from "./tls_conn.ts";

/** Size of the plaintext buffer in bytes: more than one read of the transport can produce. */
const BUFFER = 96 * 1024;

/** How many buffers are kept for reuse. */
const SPARE = 64;

/**
 * What a handle is configured from: a secure context of `node:tls`, and what to request from the
 * peer.
 */
export type HandleContext = Readonly<Record<string, unknown>>;

/**
 * Makes the context that a `tls.Server` or `tls.connect` with these options would use. Chains are
 * verified independently of what is requested.
 */
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
  /** Takes plaintext and copies it: at most `MAX_PLAINTEXT` bytes at once. */
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

/** Runs TLS on native handles. */
export class NativeTlsBackend implements TlsBackend {
  readonly #native: NativeTls;

  /** Use only handles that have passed the self-test. */
  constructor(native: NativeTls) {
    this.#native = native;
  }

  /** Prepares the server role. */
  server({ context, alpn, clientAuth }: ServerSettings): TlsEndpoint {
    const configured = handleContext(context, certificateRequest(clientAuth));
    return new NativeEndpoint(this.#native, { kind: "server" }, configured, alpn);
  }

  /** Prepares the client role. */
  client({ context, alpn, sni = "" }: ClientSettings): TlsEndpoint {
    const configured = handleContext(context, { requestCert: true, rejectUnauthorized: false });
    return new NativeEndpoint(this.#native, { kind: "client", sni }, configured, alpn);
  }
}

/** A role; an empty `sni` means no SNI. */
type HandleRole = { readonly kind: "server" } | { readonly kind: "client"; readonly sni: string };

class NativeEndpoint implements TlsEndpoint {
  readonly #native: NativeTls;
  readonly #role: HandleRole;
  readonly #context: HandleContext;
  readonly #alpn: readonly string[];

  constructor(
    native: NativeTls,
    role: HandleRole,
    context: HandleContext,
    alpn: readonly string[],
  ) {
    this.#native = native;
    this.#role = role;
    this.#context = context;
    this.#alpn = alpn;
  }

  start(stream: TransportStream, events: HandshakeEvents): RunningTls {
    let handle: TlsHandle | undefined;
    try {
      handle = this.#role.kind === "server"
        ? this.#native.server(this.#context)
        : this.#native.client(this.#role.sni, this.#context);
      if (this.#alpn.length > 0) handle.setAlpnProtocols(this.#alpn);
    } catch (error) {
      handle?.destroySsl();
      throw new HandshakeError("other", messageOf(error), { cause: error });
    }
    const running = new NativeHandshake(handle, this.#native, stream);
    try {
      running.start(events);
      return running;
    } catch (error) {
      handle.destroySsl();
      throw error;
    }
  }
}

/** One handshake: input from the stream is passed to the handle, and its output to the stream. */
class NativeHandshake implements EstablishedTls {
  readonly #handle: TlsHandle;
  readonly #native: NativeTls;
  readonly #stream: TransportStream;

  constructor(handle: TlsHandle, native: NativeTls, stream: TransportStream) {
    this.#handle = handle;
    this.#native = native;
    this.#stream = stream;
  }

  start(events: HandshakeEvents): void {
    const handle = this.#handle;
    handle.onhandshakedone = () => events.secure(this);
    handle.onerror = (error) => {
      events.failed(error instanceof Error ? error : new Error(messageOf(error)));
    };
    // Plaintext that arrives with the last handshake message goes to the connection, which is set
    // up by then.
    handle.onread = IGNORED;
    this.#stream.on("data", (ciphertext: Uint8Array) => {
      handle.readBuffer(ciphertext);
      this.#flush();
    });
    handle.start();
    handle.readStart();
    this.#flush();
  }

  #flush(): void {
    const ciphertext = this.#handle.drainEncOut();
    if (ciphertext.length === 0) return;
    this.#stream.send(ciphertext)?.catch((error) => this.#stream.onBroken(error));
  }

  chain(): readonly Uint8Array[] {
    const certificates = this.#handle.getPeerCertificateChain()?.certificates;
    const complete = Array.isArray(certificates) &&
      certificates.every((der) => der instanceof Uint8Array);
    return complete ? certificates : [];
  }

  negotiated(): Negotiated {
    const handle = this.#handle;
    const out: { protocol?: unknown; alpnProtocol?: unknown; name?: unknown } = {};
    handle.getProtocol(out);
    handle.getAlpnNegotiatedProtocol(out);
    handle.getCipher(out);
    return {
      protocol: out.protocol,
      resumed: handle.isSessionReused(),
      alpn: out.alpnProtocol,
      cipher: out.name,
      serverName: handle.getServername(),
    };
  }

  open(ends: Ends): Conn {
    // The handshake's listeners would keep all of its objects alive.
    this.#handle.onhandshakedone = IGNORED;
    this.#stream.removeAllListeners("data");
    return new NativeTlsConn(this.#stream, this.#handle, this.#native, ends);
  }

  destroy(): void {
    this.#handle.destroySsl();
  }
}

function IGNORED(): void {}
