/**
 * Settings that work and that somebody should look at: `check` prints them, the daemon logs them.
 *
 * @module
 */

import { formatAddress, isLoopback } from "./address.ts";
import type { Config } from "./config.ts";
import { quote } from "./problem.ts";

/** One thing to look at; `key` is the key path in the config. */
export type ConfigWarning = { readonly key: string; readonly message: string };

/** What a valid config should be asked about. */
export function configWarnings(config: Config): readonly ConfigWarning[] {
  return [...plaintext(config), ...unusedCa(config)];
}

function plaintext({ mode, listen, target }: Config): readonly ConfigWarning[] {
  const [key, plain] = mode === "server"
    ? ["target", target] as const
    : ["listen", listen] as const;
  if (isLoopback(plain.host)) return [];
  return [{
    key,
    message: `${quote(formatAddress(plain))} is not loopback: traffic there is neither encrypted ` +
      "nor authenticated; use 127.0.0.1, or a network that you trust",
  }];
}

/** Not an error: who rolls out in stages sets `ca` before the first peer is asked. */
function unusedCa({ tls }: Config): readonly ConfigWarning[] {
  if (tls.clientAuth !== "none" || tls.ca === undefined) return [];
  return [{
    key: "tls.ca",
    message: 'it is not used: with client_auth "none" no peer is asked for a certificate',
  }];
}
