/**
 * The reasons for which a handshake fails.
 *
 * @module
 */

import { ConnError } from "../net/conn.ts";
import type { HandshakeReason } from "../outcome.ts";
import { messageOf } from "../util/errors.ts";

/** A handshake failed; no data of the peer was forwarded. */
export class HandshakeError extends Error {
  /** The name of the class. */
  override readonly name = "HandshakeError";
  /** The `reason` label of the metric. */
  readonly reason: HandshakeReason;
  /** Milliseconds of CPU that processing a server's bytes took; 0 for clients. */
  cpuSpent = 0;

  /** `message` is for the log and may quote the peer. */
  constructor(reason: HandshakeReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** The handshake was cancelled by its signal. */
export class HandshakeCut extends HandshakeError {
  /** Neither end is at fault; the code that aborted the signal knows the reason. */
  constructor() {
    super("other", "the handshake was cut");
  }
}

const REASONS: Readonly<Record<string, HandshakeReason>> = {
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: "no_certificate",
  CERT_HAS_EXPIRED: "expired",
  CERT_NOT_YET_VALID: "not_yet_valid",
  CERT_REVOKED: "revoked",
  INVALID_PURPOSE: "bad_certificate",
  DEPTH_ZERO_SELF_SIGNED_CERT: "untrusted",
  SELF_SIGNED_CERT_IN_CHAIN: "untrusted",
  UNABLE_TO_GET_ISSUER_CERT: "untrusted",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "untrusted",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "untrusted",
};

/**
 * Translates an error about a client, before the end of a handshake. Chains are not verified until
 * then, so an error about the certificate means that the signature over the handshake is wrong, or
 * that the runtime could not parse the certificate to check it. It reports neither which of the two
 * nor the certificate.
 */
export function clientError(error: Error, verifyCode?: string): HandshakeError {
  const translated = tlsError(error, verifyCode);
  if (translated.reason !== "untrusted") return translated;
  return new HandshakeError(
    "untrusted",
    "the peer did not prove that it holds the key of its certificate, or the TLS engine cannot read " +
      "that (a critical extension that it does not know, unique IDs): mtlsd explain --cert says which",
    { cause: error },
  );
}

/**
 * Translates an error about a server. The one certificate error that remains possible is a wrong
 * signature over the handshake.
 */
export function serverError(error: Error): HandshakeError {
  if (Reflect.get(error, "code") !== "UNABLE_TO_VERIFY_LEAF_SIGNATURE") return tlsError(error);
  return new HandshakeError(
    "untrusted",
    "the server did not prove that it holds the certificate's key",
    { cause: error },
  );
}

/**
 * Translates an error of the runtime's TLS; `verifyCode` is its error about the peer's certificate.
 */
function tlsError(error: Error, verifyCode?: string): HandshakeError {
  const own: unknown = Reflect.get(error, "code");
  const code = verifyCode ?? (typeof own === "string" ? own : "");
  const known = REASONS[code];
  if (known === "no_certificate") {
    return new HandshakeError(known, "peer sent no certificate", { cause: error });
  }
  if (known !== undefined) {
    return new HandshakeError(known, `the peer's certificate was refused: ${code}`, {
      cause: error,
    });
  }
  if (code === "ERR_SSL_UNSUPPORTED_PROTOCOL") {
    // This code concerns our own side only, whether certificate, key or versions are wrong.
    return new HandshakeError("other", "the TLS engine cannot use the own certificate and key", {
      cause: error,
    });
  }
  if (code === "ERR_SSL_NO_APPLICATION_PROTOCOL") {
    return new HandshakeError("protocol", "the client offers none of tls.alpn", { cause: error });
  }
  if (/NoApplicationProtocol/.test(error.message)) {
    return new HandshakeError("other", "the peer refused us: it takes none of tls.alpn", {
      cause: error,
    });
  }
  if (/received fatal alert|alert/i.test(error.message)) {
    return new HandshakeError("other", `the peer refused us: ${error.message}`, { cause: error });
  }
  if (code.startsWith("ERR_SSL") || code === "ERR_TLS_HANDSHAKE") {
    return new HandshakeError("protocol", error.message, { cause: error });
  }
  return new HandshakeError("other", error.message, { cause: error });
}

/** Translates a failure of the transport. */
export function transportError(error: unknown): HandshakeError {
  const message = messageOf(error);
  const reset = error instanceof ConnError && error.fault !== "other";
  return new HandshakeError(reset ? "reset" : "other", message, { cause: error });
}
