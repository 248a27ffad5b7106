/**
 * How a connection can end: one closed set of names, the same in the log and in the metrics.
 *
 * @module
 */

/** Why a TLS handshake failed: the `reason` label of `mtlsd_tls_handshake_errors_total`. */
export const HANDSHAKE_REASONS = [
  "timeout",
  "no_certificate",
  "untrusted",
  "expired",
  "not_yet_valid",
  "revoked",
  "bad_certificate",
  "name_mismatch",
  "protocol",
  "reset",
  "other",
] as const;

/** One of {@linkcode HANDSHAKE_REASONS}. */
export type HandshakeReason = typeof HANDSHAKE_REASONS[number];

/** What each handshake reason means, in Markdown, for the reference page. */
export const HANDSHAKE_REASON_MEANINGS: Readonly<Record<HandshakeReason, string>> = {
  timeout:
    "not complete within `tls.handshake_timeout`, or towards a target within what is left of " +
    "`proxy.dial_timeout`; or evicted by newer handshakes",
  no_certificate: "the peer sent no certificate",
  untrusted: "no chain of valid signatures leads to a CA of `tls.ca`",
  expired: "a certificate of the path, which may be the CA, has expired",
  not_yet_valid: "a certificate of the path is not valid yet; compare the clocks",
  revoked: "a certificate of the path is on a list of `tls.crl`",
  bad_certificate:
    "not acceptable from any CA: version, encoding, key, signature algorithm, usage " +
    "or constraints",
  name_mismatch: "client and bridge mode: the server's certificate lacks `tls.server_name`",
  protocol: "not TLS, no common version or protocol (ALPN), a malformed message, or more than " +
    "128 KiB before the end of the handshake",
  reset: "the peer closed the connection after its first byte",
  other: "everything else, such as an alert with which the peer refused our certificate",
};

/** Why a connection was closed: the `reason` label of `mtlsd_connections_closed_total`. */
export const CLOSE_REASONS = [
  "completed",
  "no_data",
  "idle_timeout",
  "close_timeout",
  "max_lifetime",
  "peer_reset",
  "target_reset",
  "dial_failed",
  "denied",
  "untrusted",
  "revoked",
  "expired",
  "shutdown",
  "error",
] as const;

/** One of {@linkcode CLOSE_REASONS}. */
export type CloseReason = typeof CLOSE_REASONS[number];

/** What each close reason means, in Markdown, for the reference page. */
export const CLOSE_REASON_MEANINGS: Readonly<Record<CloseReason, string>> = {
  completed: "both sides ended in good order",
  no_data:
    "the peer connected and left without a single byte, as TCP health checks and port scans " +
    "do (HAProxy: null connection). Logged at debug, and not counted as a failed handshake. Not in " +
    "client mode, which dials at once because the server may speak first",
  idle_timeout: "no byte in either direction for `proxy.idle_timeout`",
  close_timeout: "one side ended, and the other went on for longer than `proxy.close_timeout`",
  max_lifetime: "older than `proxy.max_lifetime`",
  peer_reset: "the accepted side broke the connection off",
  target_reset: "the dialled side broke the connection off",
  dial_failed: "no target could be reached, or the TLS server there was not the one that was meant",
  denied: "refused by the access rules, at the start or later, or by " +
    "`proxy.max_connections_per_peer`",
  untrusted: "server mode: the handshake reason of that name. All modes: the chain of an open " +
    "connection's peer is no longer valid, for a reason other than the next two",
  revoked: "the same: a certificate of the peer's path is on a revocation list",
  expired: "the same: a certificate of the peer's path has expired",
  shutdown: "cut at the end of a drain",
  error: "everything else, such as all other handshake reasons of server mode, or a TLS 1.2 " +
    "connection whose keys are used up",
};

/** Direction of proxied bytes: the `direction` label of `mtlsd_bytes_proxied_total`. */
export const DIRECTIONS = ["client_to_target", "target_to_client"] as const;

/** One of {@linkcode DIRECTIONS}. */
export type Direction = typeof DIRECTIONS[number];

/**
 * The close reason of a connection whose handshake failed; `error` for failures without one of
 * their own.
 */
export function closeReasonOf(reason: HandshakeReason): CloseReason {
  switch (reason) {
    case "untrusted":
    case "expired":
    case "revoked":
      return reason;
    case "reset":
      return "peer_reset";
    case "timeout":
    case "no_certificate":
    case "not_yet_valid":
    case "bad_certificate":
    case "name_mismatch":
    case "protocol":
    case "other":
      return "error";
    default:
      return reason satisfies never;
  }
}
