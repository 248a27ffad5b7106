/**
 * What the log says of how a tunnel is protected.
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
 * `tls`, and whether it is mutual; where clients are served, also what they are asked for. With
 * `client_auth: none` the encryption is there and nobody is authenticated.
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
