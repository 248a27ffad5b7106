/**
 * Protocol versions in the engine's spelling.
 *
 * @module
 */

import type { SecureVersion } from "node:tls";
import type { TlsVersion } from "../config/config.ts";

/** `TLS1.2` as `node:tls` has it, `TLSv1.2`. */
export function engineVersion(version: TlsVersion): SecureVersion {
  return version === "TLS1.2" ? "TLSv1.2" : "TLSv1.3";
}
