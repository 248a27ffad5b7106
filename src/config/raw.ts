/**
 * The config with only its individually valid values: the output of the schema, and the input of
 * the checks.
 *
 * @module
 */

import type { IpPattern } from "../acl/ip.ts";
import type { AclMode, Dimension, Rule, Side } from "../acl/rule.ts";
import type {
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

/** The valid values of the `upstream_tls` block. */
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

/** The valid values of the `tls` block. */
export type RawTls = RawUpstreamTls & {
  client_auth?: ClientAuth | undefined;
  handshake_timeout?: number | undefined;
};

/** The keys of rule lists: `allow_cn`, `deny_uri` and so on. */
export type RuleListKey = `${Side}_${Dimension}`;

/** The valid values of the `upstream_acl` block. */
export type RawUpstreamAcl = { [key in RuleListKey]?: Rule[] | undefined } & {
  mode?: AclMode | undefined;
};

/** The valid values of the `acl` block. */
export type RawAcl = RawUpstreamAcl & { allow_anonymous?: boolean | undefined };

/** The valid values of the `proxy` block; durations in milliseconds. */
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

/** The blocks of a tunnel. */
export type RawBlocks = {
  tls?: RawTls | undefined;
  acl?: RawAcl | undefined;
  proxy?: RawProxy | undefined;
  upstream_tls?: RawUpstreamTls | undefined;
  upstream_acl?: RawUpstreamAcl | undefined;
};

/**
 * The valid values of a tunnel, from the top level, from an entry of `tunnels`, or merged from
 * both.
 */
export type RawTunnel = RawBlocks & {
  name?: string | undefined;
  mode?: Mode | undefined;
  listen?: Address | undefined;
  target?: Address | undefined;
  targets?: Address[] | undefined;
};

/** The valid values of the `health` or `metrics` block. */
export type RawEndpoint = { enabled?: boolean | undefined; listen?: TcpAddress | undefined };

/** The valid values of the `logging` block. */
export type RawLogging = { level?: LogLevel | undefined; format?: LogFormat | undefined };

/** All valid values of a config; defaults are not added yet. */
export type RawConfig = Omit<RawTunnel, "name"> & {
  tunnels?: RawTunnel[] | undefined;
  health?: RawEndpoint | undefined;
  metrics?: RawEndpoint | undefined;
  logging?: RawLogging | undefined;
};

/** An invalid value; `reason` completes `Cannot use ...: `. */
export type InvalidValue = {
  readonly kind: "invalid";
  readonly path: KeyPath;
  readonly reason: string;
};

/** An unknown key. */
export type UnknownKey = { readonly kind: "unknown"; readonly path: KeyPath };

/** A problem that the schema found. */
export type SchemaIssue = InvalidValue | UnknownKey;
