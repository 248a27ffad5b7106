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
