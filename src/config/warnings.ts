/**
 * Settings that work and that somebody should look at: `check` prints them, the daemon logs them.
 *
 * @module
 */

import { formatRule, ruleKey } from "../acl/rule.ts";
import { formatAddress, isLoopback } from "./address.ts";
import type { Config } from "./config.ts";
import { quote } from "./problem.ts";

/** One thing to look at; `key` is the key path in the config. */
export type ConfigWarning = { readonly key: string; readonly message: string };

/** What a valid config should be asked about. */
export function configWarnings(config: Config): readonly ConfigWarning[] {
  return [
    ...plaintext(config),
    ...unusedTrust(config),
    ...trial(config),
    ...anonymous(config),
    ...beaten(config),
    ...perPeer(config),
  ];
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
function unusedTrust({ tls }: Config): readonly ConfigWarning[] {
  if (tls.clientAuth !== "none") return [];
  const message = 'it is not used: with client_auth "none" no peer is asked for a certificate';
  return [
    ...(tls.ca === undefined ? [] : [{ key: "tls.ca", message }]),
    ...(tls.crl.length === 0 ? [] : [{ key: "tls.crl", message }]),
  ];
}

function trial({ acl }: Config): readonly ConfigWarning[] {
  if (acl.mode !== "audit") return [];
  return [{
    key: "acl.mode",
    message: acl.allow.length + acl.deny.length === 0
      ? '"audit" has nothing to try: there are no rules, and every valid certificate is let in; ' +
        "add the rules that are to come, or remove it"
      : "the rules are on trial: every valid certificate is let in, and only the log and " +
        "mtlsd_acl_decisions_total tell who would be denied",
  }];
}

function anonymous({ mode, tls, acl }: Config): readonly ConfigWarning[] {
  if (mode === "client" || tls.clientAuth !== "optional") return [];
  if (acl.allowAnonymous) {
    return acl.allow.length > 0 ? [] : [{
      key: "acl.allow_anonymous",
      message: "it changes nothing: without allow rules a peer without a certificate is let in",
    }];
  }
  return acl.allow.length === 0 ? [] : [{
    key: "tls.client_auth",
    message: '"optional" asks for a certificate that the rules need: a peer without one is denied' +
      (acl.mode === "audit" ? ', "audit" or not' : "") +
      '; write "required", or set acl.allow_anonymous to let it in',
  }];
}

/** What stands on both sides says nothing. */
function beaten({ acl }: Config): readonly ConfigWarning[] {
  const denied = new Set(acl.deny.map(({ dimension, text }) => `${dimension}:${text}`));
  return acl.allow.filter(({ dimension, text }) => denied.has(`${dimension}:${text}`)).map(
    (rule) => ({
      key: ruleKey(rule),
      message: `${quote(rule.text)} lets nobody in: ${
        quote(formatRule({ ...rule, side: "deny" }))
      } beats it`,
    }),
  );
}

function perPeer({ proxy }: Config): readonly ConfigWarning[] {
  const { maxConnections, maxConnectionsPerPeer } = proxy;
  if (maxConnections === 0 || maxConnectionsPerPeer < maxConnections) return [];
  return [{
    key: "proxy.max_connections_per_peer",
    message: `${maxConnectionsPerPeer} changes nothing: all peers together have no more than ` +
      `${maxConnections}, which is max_connections`,
  }];
}
