/**
 * Protocol versions as `node:tls` spells them.
 *
 * @module
 */

import type { SecureVersion } from "node:tls";
import type { TlsVersion } from "../config/config.ts";

/** Converts `TLS1.2` to `TLSv1.2`, as `node:tls` spells it. */
export function nodeTlsVersion(version: TlsVersion): SecureVersion {
  return version === "TLS1.2" ? "TLSv1.2" : "TLSv1.3";
}
