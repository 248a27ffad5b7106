/**
 * Adds the defaults: turns the validated values into the {@linkcode Config} that the daemon runs
 * on.
 *
 * @module
 */

import { type AclConfig, DIMENSIONS, type Rule, type Side } from "../acl/rule.ts";
import { defaultServerName, targetsOf, upstreamTls } from "./checks.ts";
import type {
  Address,
  Config,
  EndpointConfig,
  NonEmpty,
  ProxyConfig,
  Target,
  TcpAddress,
  TlsConfig,
  TunnelConfig,
  UpstreamConfig,
} from "./config.ts";
import type { RawAcl, RawConfig, RawEndpoint, RawProxy, RawTls, RawTunnel } from "./raw.ts";
import { DEFAULT_LISTEN } from "./together.ts";

/**
 * Builds the config; `undefined` if something required is missing, which the checks have reported.
 */
export function buildConfig(raw: RawConfig, tunnels: readonly RawTunnel[]): Config | undefined {
  const built = tunnels.map(buildTunnel);
  const [first, ...rest] = built.filter((tunnel) => tunnel !== undefined);
  if (first === undefined || rest.length + 1 < built.length) return undefined;
  const { logging } = raw;
  return {
    tunnels: [first, ...rest],
    health: endpoint(raw.health, DEFAULT_LISTEN.health),
    metrics: endpoint(raw.metrics, DEFAULT_LISTEN.metrics),
    logging: { level: logging?.level ?? "info", format: logging?.format ?? "text" },
  };
}

function buildTunnel(raw: RawTunnel): TunnelConfig | undefined {
  const { name, mode, listen, tls: rawTls } = raw;
  const tls = rawTls && buildTls(rawTls);
  const targets = buildTargets(raw);
  if (mode === undefined || listen === undefined || tls === undefined || targets === undefined) {
    return undefined;
  }
  return {
    name,
    mode,
    listen,
    targets,
    tls,
    acl: buildAcl(raw.acl),
    upstream: mode === "bridge" ? buildUpstream(raw) : undefined,
    proxy: buildProxy(raw.proxy),
  };
}

function buildUpstream({ tls, upstream_tls, upstream_acl }: RawTunnel): UpstreamConfig | undefined {
  const built = tls && buildTls(upstreamTls(tls, upstream_tls));
  return built && { tls: built, acl: buildAcl(upstream_acl) };
}

function buildTls(tls: RawTls): TlsConfig | undefined {
  if (tls.cert === undefined || tls.key === undefined) return undefined;
  return {
    cert: tls.cert,
    key: tls.key,
    ca: tls.ca,
    clientAuth: tls.client_auth ?? "required",
    minVersion: tls.min_version ?? "TLS1.2",
    maxVersion: tls.max_version ?? "TLS1.3",
    alpn: tls.alpn ?? [],
    handshakeTimeout: tls.handshake_timeout ?? 10_000,
    crl: tls.crl ?? [],
    intermediates: tls.intermediates,
    requireCloseNotify: tls.require_close_notify ?? false,
  };
}

function buildAcl(acl: RawAcl | undefined): AclConfig {
  return {
    allow: rulesOf(acl, "allow"),
    deny: rulesOf(acl, "deny"),
    mode: acl?.mode ?? "enforce",
    allowAnonymous: acl?.allow_anonymous ?? false,
  };
}

/** The rules of one side, in the order in which they are tried. */
function rulesOf(acl: RawAcl | undefined, side: Side): readonly Rule[] {
  return DIMENSIONS.flatMap((dimension) => acl?.[`${side}_${dimension}`] ?? []);
}

function buildProxy(proxy: RawProxy = {}): ProxyConfig {
  return {
    dialTimeout: proxy.dial_timeout ?? 10_000,
    idleTimeout: proxy.idle_timeout ?? 90_000,
    closeTimeout: proxy.close_timeout ?? 0,
    maxConnections: proxy.max_connections ?? 1000,
    shutdownTimeout: proxy.shutdown_timeout ?? 30_000,
    maxLifetime: proxy.max_lifetime ?? 0,
    maxConnectionsPerPeer: proxy.max_connections_per_peer ?? 0,
    balance: proxy.balance ?? "failover",
    proxyProtocol: proxy.proxy_protocol ?? "off",
    acceptProxyProtocol: proxy.accept_proxy_protocol ?? [],
    socketMode: proxy.socket_mode ?? 0o600,
  };
}

function buildTargets(raw: RawTunnel): NonEmpty<Target> | undefined {
  const [first, ...rest] = targetsOf({ raw }).map(([, address]): Target => ({
    address,
    serverName: serverName(raw, address),
  }));
  return first && [first, ...rest];
}

function serverName({ mode, tls, upstream_tls }: RawTunnel, address: Address): string | undefined {
  if (mode === "server" || address.kind === "unix") return undefined;
  const named = (mode === "bridge" ? upstream_tls?.server_name : undefined) ?? tls?.server_name;
  if (named !== undefined) return named;
  const name = defaultServerName(address.host);
  return name.ok ? name.value : undefined;
}

function endpoint(raw: RawEndpoint | undefined, listen: TcpAddress): EndpointConfig {
  return { enabled: raw?.enabled ?? false, listen: raw?.listen ?? listen };
}
