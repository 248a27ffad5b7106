/**
 * Settings that are valid but questionable: `check` prints them, the daemon logs them.
 *
 * @module
 */

import { type AclConfig, formatRule, ruleKey } from "../acl/rule.ts";
import { formatAddress, isLoopback } from "./address.ts";
import type { Address, Config, TunnelConfig } from "./config.ts";
import { quote } from "../util/text.ts";
import { ruleWarnings } from "./rule_warnings.ts";
import { formatTunnel } from "./source.ts";

/** A warning; `key` is the key path in the config. */
export type ConfigWarning = { readonly key: string; readonly message: string };

/** The warnings about a valid config. */
export function configWarnings(config: Config): readonly ConfigWarning[] {
  return config.tunnels.flatMap((tunnel, index) => {
    const { name } = tunnel;
    const of = name === undefined ? "" : `${formatTunnel(index, name)}: `;
    return tunnelWarnings(tunnel).map(({ key, message }) => ({ key: of + key, message }));
  });
}

function tunnelWarnings(tunnel: TunnelConfig): readonly ConfigWarning[] {
  return [
    ...plaintext(tunnel),
    ...openSocket(tunnel),
    ...anySource(tunnel),
    ...unusedTrust(tunnel),
    ...auditWarnings(tunnel.acl, "acl"),
    ...anonymous(tunnel),
    ...beaten(tunnel.acl),
    ...ruleWarnings([...tunnel.acl.allow, ...tunnel.acl.deny]),
    ...(tunnel.upstream === undefined ? [] : [
      ...auditWarnings(tunnel.upstream.acl, "upstream_acl"),
      ...beaten(tunnel.upstream.acl),
      ...ruleWarnings([...tunnel.upstream.acl.allow, ...tunnel.upstream.acl.deny]),
    ]),
    ...perPeer(tunnel),
  ];
}

function plaintext({ mode, listen, targets }: TunnelConfig): readonly ConfigWarning[] {
  switch (mode) {
    case "server":
      return targets.flatMap(({ address }, index) =>
        plaintextAt(targets.length === 1 ? "target" : `targets[${index}]`, address)
      );
    case "client":
      return plaintextAt("listen", listen);
    case "bridge":
      return [];
    default:
      return mode satisfies never;
  }
}

function plaintextAt(key: string, address: Address): readonly ConfigWarning[] {
  if (address.kind === "unix" || isLoopback(address.host)) return [];
  return [{
    key,
    message:
      `${quote(formatAddress(address))} is not loopback: traffic there is neither encrypted ` +
      "nor authenticated; use 127.0.0.1, or a network that you trust",
  }];
}

/** Write permission on a socket is permission to connect to it. */
function openSocket({ listen, proxy: { socketMode } }: TunnelConfig): readonly ConfigWarning[] {
  if (listen.kind !== "unix" || (socketMode & 0o002) === 0) return [];
  return [{
    key: "proxy.socket_mode",
    message: `${quote(socketMode.toString(8).padStart(4, "0"))} lets every user of this machine ` +
      'connect; use "0660" and a group',
  }];
}

function anySource({ proxy: { acceptProxyProtocol } }: TunnelConfig): readonly ConfigWarning[] {
  if (!acceptProxyProtocol.some(({ bits }) => bits === 0)) return [];
  return [{
    key: "proxy.accept_proxy_protocol",
    message: "a network of every address lets whoever connects say where it comes from; name the " +
      "load balancers only",
  }];
}

/** Not an error: in a staged rollout, `ca` is set before certificates are requested. */
function unusedTrust({ tls }: TunnelConfig): readonly ConfigWarning[] {
  if (tls.clientAuth !== "none") return [];
  const message = 'it is not used: with client_auth "none" no peer is asked for a certificate';
  return [
    ...(tls.ca === undefined ? [] : [{ key: "tls.ca", message }]),
    ...(tls.crl.length === 0 ? [] : [{ key: "tls.crl", message }]),
  ];
}

function auditWarnings(acl: AclConfig, block: string): readonly ConfigWarning[] {
  if (acl.mode !== "audit") return [];
  return [{
    key: `${block}.mode`,
    message: acl.allow.length + acl.deny.length === 0
      ? '"audit" has nothing to try: there are no rules, and every valid certificate is let in; ' +
        "add the rules that are to come, or remove it"
      : "the rules are on trial: every valid certificate is let in, and only the log and " +
        "mtlsd_acl_decisions_total tell who would be denied",
  }];
}

function anonymous({ mode, tls, acl }: TunnelConfig): readonly ConfigWarning[] {
  if (mode !== "server" || tls.clientAuth !== "optional") return [];
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

/** An allow rule that is also a deny rule has no effect. */
function beaten(acl: AclConfig): readonly ConfigWarning[] {
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

function perPeer({ proxy }: TunnelConfig): readonly ConfigWarning[] {
  const { maxConnections, maxConnectionsPerPeer } = proxy;
  if (maxConnections === 0 || maxConnectionsPerPeer < maxConnections) return [];
  return [{
    key: "proxy.max_connections_per_peer",
    message: `${maxConnectionsPerPeer} changes nothing: all peers together have no more than ` +
      `${maxConnections}, which is max_connections`,
  }];
}
