/**
 * TLS on the runtime's private handles, the same for both roles.
 *
 * @module
 */

import type { Conn } from "../net/conn.ts";
import {
  certificateRequest,
  type ClientSettings,
  type Ends,
  type EstablishedTls,
  type HandshakeEvents,
  type RunningTls,
  type ServerSettings,
  type Session,
  textOf,
  type TlsBackend,
  type TlsEndpoint,
} from "../tls/backend.ts";
import { HandshakeError } from "../tls/handshake_error.ts";
import type { TransportStream } from "../tls/transport_stream.ts";
import { messageOf } from "../util/errors.ts";
import { type HandleContext, handleContext, type NativeTls, type TlsHandle } from "./tls.ts";
import { NativeTlsConn } from "./tls_conn.ts";

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
    // Chains are verified independently of this.
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
    const running = new NativeHandshake(this.#makeHandle(), this.#native, stream, events);
    try {
      running.start();
      return running;
    } catch (error) {
      running.destroy();
      throw error;
    }
  }

  #makeHandle(): TlsHandle {
    try {
      const handle = this.#role.kind === "server"
        ? this.#native.server(this.#context)
        : this.#native.client(this.#role.sni, this.#context);
      if (this.#alpn.length > 0) handle.setAlpnProtocols(this.#alpn);
      return handle;
    } catch (error) {
      throw new HandshakeError("other", messageOf(error), { cause: error });
    }
  }
}

/** One handshake: input from the stream is passed to the handle, and its output to the stream. */
class NativeHandshake implements EstablishedTls {
  readonly #handle: TlsHandle;
  readonly #native: NativeTls;
  readonly #stream: TransportStream;
  readonly #events: HandshakeEvents;

  constructor(
    handle: TlsHandle,
    native: NativeTls,
    stream: TransportStream,
    events: HandshakeEvents,
  ) {
    this.#handle = handle;
    this.#native = native;
    this.#stream = stream;
    this.#events = events;
  }

  start(): void {
    const handle = this.#handle;
    handle.onhandshakedone = () => this.#events.secure(this);
    handle.onerror = (error) => {
      this.#events.failed(error instanceof Error ? error : new Error(messageOf(error)));
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

  session(): Session {
    const handle = this.#handle;
    const out: { protocol?: unknown; alpnProtocol?: unknown; name?: unknown } = {};
    handle.getProtocol(out);
    handle.getAlpnNegotiatedProtocol(out);
    handle.getCipher(out);
    return {
      protocol: textOf(out.protocol) ?? "unknown",
      resumed: handle.isSessionReused(),
      alpn: textOf(out.alpnProtocol),
      cipher: textOf(out.name),
      serverName: textOf(handle.getServername()),
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
