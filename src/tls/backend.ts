/**
 * The seam between a handshake, which is the same everywhere, and what runs TLS: `node_backend.ts`
 * on the public interface of `node:tls`, or `src/native/` on the runtime's private handles.
 *
 * A backend proves that the peer holds the key of the certificate that it showed, and nothing more:
 * verification and decision are those of `handshake.ts`.
 *
 * @module
 */

import type { SecureContextOptions, SecureVersion } from "node:tls";
import type { ClientAuth, TlsVersion } from "../config/config.ts";
import type { Conn } from "../net/conn.ts";
import type { TransportStream } from "./transport_stream.ts";

/** What the handshake negotiated, as the runtime reports it. */
export type Negotiated = {
  readonly protocol: unknown;
  readonly resumed: boolean;
  readonly alpn: unknown;
  readonly cipher: unknown;
  readonly serverName: unknown;
};

/** The addresses of a transport's two ends. */
export type Ends = Pick<Conn, "remote" | "local">;

/** TLS of one connection, during its handshake. */
export interface RunningTls {
  /** Discards it, in any phase. May be called again. */
  destroy(): void;
}

/** TLS at the end of a handshake, before any byte of our last flight is sent. */
export interface EstablishedTls extends RunningTls {
  /** Every certificate that the peer showed, DER, its own first. Resumed sessions remember them. */
  chain(): readonly Uint8Array[];
  /** What was negotiated. */
  negotiated(): Negotiated;
  /** Makes a connection of it. Call in the same turn, so that no byte is missed. */
  open(ends: Ends): Conn;
}

/** What a backend reports during a handshake. */
export interface HandshakeEvents {
  /** The handshake is over, and nothing of our last flight has been sent. */
  secure(established: EstablishedTls): void;
  /**
   * TLS failed; has no effect once the handshake's result is known. `verifyCode` is the runtime's
   * error about the peer's certificate, where it has one.
   */
  failed(error: Error, verifyCode?: string): void;
}

/** One role with its settings, which all of its connections share. */
export interface TlsEndpoint {
  /**
   * Starts a handshake that reads from and writes to `stream`.
   *
   * @throws {HandshakeError} when the own certificate and key cannot be used.
   */
  start(stream: TransportStream, events: HandshakeEvents): RunningTls;
}

/** The settings that both roles have. */
export type TlsSettings = {
  /** Certificate, key, versions, and CAs if any. */
  readonly context: SecureContextOptions;
  /** Protocols to offer or accept, most preferred first (RFC 7301); empty: no ALPN. */
  readonly alpn: readonly string[];
};

/** Settings of the server role. */
export type ServerSettings = TlsSettings & {
  /** Whether certificates are requested and required. Chains are not verified by the backend. */
  readonly clientAuth: ClientAuth;
};

/** Settings of the client role. */
export type ClientSettings = TlsSettings & {
  /** The name to send as SNI (RFC 6066); `undefined`: none. */
  readonly sni: string | undefined;
};

/** Runs TLS. */
export interface TlsBackend {
  /** Prepares the server role. */
  server(settings: ServerSettings): TlsEndpoint;
  /** Prepares the client role. */
  client(settings: ClientSettings): TlsEndpoint;
}

/** How a server asks for certificates, as `node:tls` spells it. */
export function certificateRequest(
  clientAuth: ClientAuth,
): { readonly requestCert: boolean; readonly rejectUnauthorized: boolean } {
  return {
    requestCert: clientAuth !== "none",
    // Whether a certificate is required. The runtime's verification of it is ignored.
    rejectUnauthorized: clientAuth === "required",
  };
}

/** A protocol version as `node:tls` spells it. */
export function nodeTlsVersion(version: TlsVersion): SecureVersion {
  return version === "TLS1.2" ? "TLSv1.2" : "TLSv1.3";
}
