/**
 * TLS for connections that we accepted (downstream).
 *
 * @module
 */

import { EventEmitter } from "node:events";
import tls from "node:tls";
import type { Conn } from "../net/conn.ts";
import type { Credentials } from "./credentials.ts";
import type { ClientAuth, TlsVersion } from "../config/config.ts";
import {
  type Decide,
  establishedSocket,
  handshake,
  HandshakeError,
  type HandshakeEvents,
  type HandshakeLimits,
  type Handshaken,
  type PeerDemand,
  type Started,
  tlsError,
} from "./handshake.ts";
import { type HandleContext, handleContext, type NativeTls } from "../native/tls.ts";
import { startNative } from "../native/tls_handshake.ts";
import { completeChain } from "./own_chain.ts";
import { nodeTlsVersion } from "./version.ts";
import type { VerifyPeer } from "./peer_verifier.ts";
import type { TransportStream } from "./transport_stream.ts";

/** Settings of {@linkcode TlsServer}. */
export type TlsServerOptions = {
  readonly credentials: Credentials;
  readonly clientAuth: ClientAuth;
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
  /** Protocols to accept, most preferred first (RFC 7301); empty: no ALPN. */
  readonly alpn?: readonly string[];
  /**
   * Verifies peers against the trust at the time of the decision, which may be newer than
   * `material`.
   */
  readonly verify: VerifyPeer;
  /** Whether ending TCP without close_notify counts as breaking off the connection. */
  readonly requireCloseNotify: boolean;
  /** Carries connections on the native TLS engine, where it is available. */
  readonly native?: NativeTls | undefined;
};

/** The server side of TLS for one set of credentials; make a new one when they change. */
export class TlsServer {
  readonly #server: tls.Server;
  readonly #demand: PeerDemand;
  readonly #alpn: readonly string[];
  readonly #requireCloseNotify: boolean;
  readonly #native: NativeTls | undefined;
  readonly #context: HandleContext;

  /** Prepares TLS; does not listen. */
  constructor(options: TlsServerOptions) {
    const { credentials, clientAuth } = options;
    this.#native = options.native;
    this.#alpn = options.alpn ?? [];
    this.#requireCloseNotify = options.requireCloseNotify;
    this.#demand = clientAuth === "none" ? { kind: "nothing" } : {
      kind: "certificate",
      verify: options.verify,
      optional: clientAuth === "optional",
    };
    // No CA: the runtime checks that the peer holds the key of its certificate, and leaves the
    // chain to us. Its path search takes time without bound, depending on what an unauthenticated
    // peer sends.
    const own = {
      cert: completeChain(credentials),
      key: credentials.keyPem,
      minVersion: nodeTlsVersion(options.minVersion),
      maxVersion: nodeTlsVersion(options.maxVersion),
    };
    const asks = {
      requestCert: clientAuth !== "none",
      // Whether a certificate is required. The runtime's verification of it is ignored.
      rejectUnauthorized: clientAuth === "required",
    };
    this.#context = handleContext(own, asks);
    this.#server = new tls.Server({
      ...own,
      ...asks,
      ...(this.#alpn.length > 0 ? { ALPNProtocols: [...this.#alpn] } : {}),
      // We have our own deadline. The runtime's timer would outlive a failed handshake by two
      // minutes and keep all of the connection's memory: a peer that fails fast could exhaust it.
      handshakeTimeout: -1,
    });
  }

  /**
   * Performs a handshake on an accepted connection, which it owns from now on.
   *
   * @throws {HandshakeError} when the handshake fails or the peer's certificate does not verify.
   */
  accept<T>(
    transport: Conn,
    decide: Decide<T>,
    limits: HandshakeLimits,
  ): Promise<Handshaken<T>> {
    return handshake(
      transport,
      {
        start: (stream, events) => this.#startNative(stream, events) ?? this.#start(stream, events),
        metered: false,
        demand: this.#demand,
        requireCloseNotify: this.#requireCloseNotify,
      },
      decide,
      limits,
    );
  }

  /** Starts the native engine; `undefined` where it is not available. */
  #startNative(stream: TransportStream, events: HandshakeEvents): Started | undefined {
    const native = this.#native;
    if (native === undefined) return undefined;
    const make = () => {
      const engine = native.server(this.#context);
      if (this.#alpn.length > 0) engine.setAlpnProtocols(this.#alpn);
      return engine;
    };
    return startNative(make, native, stream, events, clientError);
  }

  /**
   * Passes the stream to the server as if it had accepted it (the documented `connection` event). The
   * server's later events do not say which connection they are about, and a server for each
   * connection would cost up to a third of a handshake. So each connection gets a view of the
   * server with its own events.
   *
   * The view also leaves `rejectUnauthorized` undefined: a certificate is then still required, with
   * the proper alert, but one that does not verify is left to our independent verification, and a
   * refused peer gets nothing. Otherwise the runtime would send its last flight, tickets included,
   * before it closes. Should a later version read `undefined` as true or false, either it or we
   * refuse the peer: no peer is admitted because of it.
   */
  #start(stream: TransportStream, events: HandshakeEvents): Started {
    let engine: tls.TLSSocket | undefined;
    const emit = (event: string, first: unknown, second: unknown): boolean => {
      if (event === "secureConnection" && first instanceof tls.TLSSocket) {
        engine = first;
        // The connection handles later errors; an earlier one is reported by the handshake.
        first.on("error", () => {});
        events.secure(establishedSocket(first));
      } else if (event === "tlsClientError") {
        engine = second instanceof tls.TLSSocket ? second : undefined;
        const verifyCode: unknown = engine?.authorizationError;
        events.failed(
          clientError(
            first instanceof Error ? first : new Error(String(first)),
            typeof verifyCode === "string" ? verifyCode : undefined,
          ),
        );
      }
      return true;
    };
    const required = this.#demand.kind === "certificate" && !this.#demand.optional;
    const view: tls.Server = Object.create(this.#server, {
      emit: { value: emit },
      ...(required ? { rejectUnauthorized: { value: undefined } } : {}),
    });
    EventEmitter.prototype.emit.call(view, "connection", stream);
    return { abandon: () => void engine?.destroy() };
  }
}

/**
 * Translates an error before the end of a handshake. Chains are not verified until then, so an
 * error about the certificate means that the signature over the handshake is wrong, or that the
 * runtime could not parse the certificate to check it. It reports neither which of the two nor the
 * certificate.
 */
function clientError(error: Error, verifyCode?: string): HandshakeError {
  const named = tlsError(error, verifyCode);
  if (named.reason !== "untrusted") return named;
  return new HandshakeError(
    "untrusted",
    "the peer did not prove that it holds the key of its certificate, or the TLS engine cannot read " +
      "that (a critical extension that it does not know, unique IDs): mtlsd explain --cert says which",
    { cause: error },
  );
}
