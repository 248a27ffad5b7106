/**
 * TLS for connections that we dialled (upstream).
 *
 * @module
 */

import { createPrivateKey } from "node:crypto";
import type { Conn } from "../net/conn.ts";
import type { TlsVersion } from "../config/config.ts";
import { parseIp } from "../util/ip.ts";
import { nodeTlsVersion, type RunningTls, type TlsBackend, type TlsEndpoint } from "./backend.ts";
import type { Credentials } from "../x509/credentials.ts";
import {
  type Decide,
  Handshake,
  type HandshakeLimits,
  type Handshaken,
  type Role,
} from "./handshake.ts";
import { HandshakeError, serverError } from "./handshake_error.ts";
import { NodeTlsBackend } from "./node_backend.ts";
import type { VerifyPeer } from "./peer_verifier.ts";

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
   * `credentials`.
   */
  readonly verify: VerifyPeer;
  /** Whether ending TCP without close_notify counts as breaking off the connection. */
  readonly requireCloseNotify: boolean;
  /** Runs TLS; default {@linkcode NodeTlsBackend}. */
  readonly backend?: TlsBackend | undefined;
};

/** The client side of TLS for one set of credentials; make a new one when they change. */
export class TlsClient {
  readonly #role: Role;

  /** Prepares TLS; does not connect. */
  constructor(options: TlsClientOptions) {
    const { credentials, serverName, verify, backend = new NodeTlsBackend() } = options;
    const endpoint = backend.client({
      context: {
        cert: credentials.certPem,
        key: credentials.keyPem,
        // The CAs given here do not matter, because we ignore the result of the runtime's own
        // verification. Without this line it would build paths to the public CAs; with the bundle
        // it would parse the whole bundle for each connection.
        ca: firstCertificate(credentials.certPem),
        minVersion: nodeTlsVersion(options.minVersion),
        maxVersion: nodeTlsVersion(options.maxVersion),
      },
      alpn: options.alpn ?? [],
      sni: parseIp(serverName) === undefined ? serverName : undefined,
    });
    this.#role = {
      endpoint: isReadableKey(credentials.keyPem) ? endpoint : UNREADABLE_KEY,
      demand: { kind: "certificate", verify, optional: false },
      requireCloseNotify: options.requireCloseNotify,
      metered: true,
      translate: serverError,
    };
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
    return new Handshake(transport, this.#role, decide, limits).run();
  }
}

/** With a key that it cannot read, the runtime would connect without a certificate, silently. */
const UNREADABLE_KEY: TlsEndpoint = {
  start: (): RunningTls => {
    throw new HandshakeError("other", "the own private key cannot be read");
  },
};

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
