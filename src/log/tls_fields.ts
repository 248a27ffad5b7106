/**
 * Log fields that say how a tunnel is protected.
 *
 * @module
 */

import type { ClientAuth, TunnelConfig } from "../config/config.ts";
import type { Fields } from "./format.ts";

const MTLS = { required: "on", optional: "optional", none: "off" } as const satisfies Record<
  ClientAuth,
  string
>;

/**
 * The fields `tls` and `mtls`, and `client_auth` where the tunnel accepts TLS. With
 * `client_auth: none`, traffic is encrypted but clients are not authenticated.
 */
export function tlsFields({ mode, tls }: Pick<TunnelConfig, "mode" | "tls">): Fields {
  switch (mode) {
    case "client":
      return { tls: "on", mtls: "on" };
    case "server":
    case "bridge":
      return {
        tls: "on",
        mtls: MTLS[tls.clientAuth],
        client_auth: tls.clientAuth,
      };
    default:
      return mode satisfies never;
  }
}
