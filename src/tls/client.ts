/**
 * TLS for connections that we dialled (upstream).
 *
 * @module
 */

import { createPrivateKey } from "node:crypto";
import type { Duplex } from "node:stream";
import tls from "node:tls";
import type { Conn } from "../net/conn.ts";
import type { Credentials } from "./credentials.ts";
import type { TlsVersion } from "../config/config.ts";
import { parseIp } from "../x509/server_name.ts";
import {
  type Decide,
  establishedSocket,
  handshake,
  HandshakeError,
  type HandshakeEvents,
  type HandshakeLimits,
  type Handshaken,
  type Started,
  tlsError,
} from "./handshake.ts";
import { type HandleContext, handleContext, type NativeTls } from "../native/tls.ts";
import { startNative } from "../native/tls_handshake.ts";
import { nodeTlsVersion } from "./version.ts";
import type { VerifyPeer } from "./peer_verifier.ts";
import type { TransportStream } from "./transport_stream.ts";

/** Settings of {@linkcode TlsClient}. */
export type TlsClientOptions = {
  readonly credentials: Credentials;
  /**
   * The name that the server's certificate must carry: a DNS name, also sent as SNI (RFC 6066), or
   * an IP.
   */
  readonly serverName: string;
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
  /** Protocols to offer, most preferred first (RFC 7301); empty: no ALPN. */
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

/** The client side of TLS for one set of credentials; make a new one when they change. */
export class TlsClient {
  readonly #context: tls.SecureContext;
  readonly #engineContext: HandleContext;
  readonly #serverName: string;
  readonly #verify: VerifyPeer;
  readonly #alpn: readonly string[];
  readonly #requireCloseNotify: boolean;
  readonly #keyIsReadable: boolean;
  readonly #native: NativeTls | undefined;

  /** Prepares TLS; does not connect. */
  constructor(options: TlsClientOptions) {
    const { credentials, serverName, verify } = options;
    this.#serverName = serverName;
    this.#verify = verify;
    this.#native = options.native;
    this.#alpn = options.alpn ?? [];
    this.#requireCloseNotify = options.requireCloseNotify;
    this.#keyIsReadable = isReadableKey(credentials.keyPem);
    const own = {
      cert: credentials.certPem,
      key: credentials.keyPem,
      // The CAs given here do not matter, because we ignore the result of the runtime's own
      // verification. Without this line it would build paths to the public CAs; with the bundle it
      // would parse the whole bundle for each connection.
      ca: firstCertificate(credentials.certPem),
      minVersion: nodeTlsVersion(options.minVersion),
      maxVersion: nodeTlsVersion(options.maxVersion),
    };
    this.#context = tls.createSecureContext(own);
    this.#engineContext = handleContext(own, { requestCert: true, rejectUnauthorized: false });
  }

  /**
   * Performs a handshake on a dialled connection, which it owns from now on. With TLS 1.3 our
   * certificate and the end of the handshake are sent only after the server has been verified and
   * admitted.
   *
   * @throws {HandshakeError} when the handshake fails or the server is not the expected one.
   */
  connect<T>(
    transport: Conn,
    decide: Decide<T>,
    limits: HandshakeLimits,
  ): Promise<Handshaken<T>> {
    return handshake(
      transport,
      {
        start: (stream, events) => this.#start(stream, events),
        metered: true,
        demand: { kind: "certificate", verify: this.#verify, optional: false },
        requireCloseNotify: this.#requireCloseNotify,
      },
      decide,
      limits,
    );
  }

  #start(stream: TransportStream, events: HandshakeEvents): Started {
    if (!this.#keyIsReadable) {
      // The runtime would connect without a certificate and not report it.
      events.failed(new HandshakeError("other", "the own private key cannot be read"));
      return { abandon: () => {} };
    }
    const isIp = parseIp(this.#serverName) !== undefined;
    if (this.#native !== undefined) {
      const native = this.#native;
      const make = () => {
        const engine = native.client(isIp ? "" : this.#serverName, this.#engineContext);
        if (this.#alpn.length > 0) engine.setAlpnProtocols(this.#alpn);
        return engine;
      };
      return startNative(make, native, stream, events, clientError);
    }
    const socket = tls.connect({
      // `node:tls` uses no more of a Duplex than Wire implements.
      socket: stream as unknown as Duplex,
      secureContext: this.#context,
      // Chains are verified independently, by `verify` alone.
      rejectUnauthorized: false,
      ...(isIp ? {} : { servername: this.#serverName }),
      ...(this.#alpn.length > 0 ? { ALPNProtocols: [...this.#alpn] } : {}),
      // The runtime's check falls back to the CN, and splits a CN that holds a list of names. Names
      // are checked by the independent verification.
      checkServerIdentity: () => undefined,
    });
    // For that check the runtime completes the chain from the bundle, by name, and does not
    // terminate where two CAs signed each other. Its result is not used.
    socket.getPeerCertificate = () => NO_CERTIFICATE;
    socket.once("secureConnect", () => events.secure(establishedSocket(socket)));
    socket.on("error", (error) => events.failed(clientError(error)));
    socket.once("close", () => {
      events.failed(new HandshakeError("reset", "the server left during the handshake"));
    });
    return { abandon: () => void socket.destroy() };
  }
}

/**
 * Translates an error about a server. The one certificate error that remains possible is a failed
 * signature over the handshake.
 */
function clientError(error: Error): HandshakeError {
  if (Reflect.get(error, "code") !== "UNABLE_TO_VERIFY_LEAF_SIGNATURE") return tlsError(error);
  return new HandshakeError(
    "untrusted",
    "the server did not prove that it holds the certificate's key",
    {
      cause: error,
    },
  );
}

/** Our own certificate without the rest of its chain. */
function firstCertificate(pem: string): string {
  return /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/.exec(pem)?.[0] ?? pem;
}

/** Whether the runtime finds a key in this PEM: it silently skips blocks that it does not know. */
function isReadableKey(pem: string): boolean {
  if (!/^-----BEGIN (?:RSA |EC )?PRIVATE KEY-----/m.test(pem)) return false;
  try {
    createPrivateKey(pem);
    return true;
  } catch {
    return false; // The certificate store has reported why.
  }
}

const NO_CERTIFICATE = {} as tls.DetailedPeerCertificate;
