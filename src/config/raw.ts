/**
 * The file as far as each value is valid on its own: what the schema hands on to the checks.
 *
 * @module
 */

import type { IpPattern } from "../acl/ip.ts";
import type { Dimension, Rule, Side } from "../acl/rule.ts";
import type {
  AclMode,
  Address,
  Balance,
  ClientAuth,
  LogFormat,
  LogLevel,
  Mode,
  ProxyProtocol,
  TcpAddress,
  TlsVersion,
} from "./config.ts";
import type { KeyPath } from "./problem.ts";

/** The `upstream_tls` block as far as it is valid. */
export type RawUpstreamTls = {
  cert?: string | undefined;
  key?: string | undefined;
  ca?: string | undefined;
  server_name?: string | undefined;
  min_version?: TlsVersion | undefined;
  max_version?: TlsVersion | undefined;
  alpn?: string[] | undefined;
  crl?: string[] | undefined;
  intermediates?: string | undefined;
  require_close_notify?: boolean | undefined;
};

/** The `tls` block as far as it is valid. */
export type RawTls = RawUpstreamTls & {
  client_auth?: ClientAuth | undefined;
  handshake_timeout?: number | undefined;
};

/** The keys of rules: `allow_cn`, `deny_uri` and so on. */
export type RuleListKey = `${Side}_${Dimension}`;

/** The `upstream_acl` block as far as it is valid. */
export type RawUpstreamAcl = { [key in RuleListKey]?: Rule[] | undefined } & {
  mode?: AclMode | undefined;
};

/** The `acl` block as far as it is valid. */
export type RawAcl = RawUpstreamAcl & { allow_anonymous?: boolean | undefined };

/** The `proxy` block as far as it is valid; durations in milliseconds. */
export type RawProxy = {
  dial_timeout?: number | undefined;
  idle_timeout?: number | undefined;
  close_timeout?: number | undefined;
  max_connections?: number | undefined;
  shutdown_timeout?: number | undefined;
  max_lifetime?: number | undefined;
  max_connections_per_peer?: number | undefined;
  balance?: Balance | undefined;
  proxy_protocol?: ProxyProtocol | undefined;
  accept_proxy_protocol?: IpPattern[] | undefined;
  socket_mode?: number | undefined;
};

/** The keys of a tunnel that a block of keys belongs to. */
export type RawBlocks = {
  tls?: RawTls | undefined;
  acl?: RawAcl | undefined;
  proxy?: RawProxy | undefined;
  upstream_tls?: RawUpstreamTls | undefined;
  upstream_acl?: RawUpstreamAcl | undefined;
};

/** What stands at the top level, in an entry of `tunnels`, or in both, as far as it is valid. */
export type RawTunnel = RawBlocks & {
  name?: string | undefined;
  mode?: Mode | undefined;
  listen?: Address | undefined;
  target?: Address | undefined;
  targets?: Address[] | undefined;
};

/** The `health` or `metrics` block as far as it is valid. */
export type RawEndpoint = { enabled?: boolean | undefined; listen?: TcpAddress | undefined };

/** The `logging` block as far as it is valid. */
export type RawLogging = { level?: LogLevel | undefined; format?: LogFormat | undefined };

/** The file as far as each value is valid on its own; what is missing has no default yet. */
export type RawConfig = Omit<RawTunnel, "name"> & {
  tunnels?: RawTunnel[] | undefined;
  health?: RawEndpoint | undefined;
  metrics?: RawEndpoint | undefined;
  logging?: RawLogging | undefined;
};

/** A value that cannot be used; `reason` completes `Cannot use ...: `. */
export type InvalidValue = {
  readonly kind: "invalid";
  readonly path: KeyPath;
  readonly reason: string;
};

/** A key that there is not. */
export type UnknownKey = { readonly kind: "unknown"; readonly path: KeyPath };

/** What the schema finds wrong. */
export type SchemaIssue = InvalidValue | UnknownKey;
