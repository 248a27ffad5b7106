/**
 * The file as far as each value is valid on its own: what the schema hands on to the checks.
 *
 * @module
 */

import type { Dimension, Rule, Side } from "../acl/rule.ts";
import type {
  AclMode,
  Address,
  ClientAuth,
  LogFormat,
  LogLevel,
  Mode,
  TlsVersion,
} from "./config.ts";
import type { KeyPath } from "./problem.ts";

/** The `tls` block as far as it is valid. */
export type RawTls = {
  cert?: string | undefined;
  key?: string | undefined;
  ca?: string | undefined;
  client_auth?: ClientAuth | undefined;
  server_name?: string | undefined;
  min_version?: TlsVersion | undefined;
  max_version?: TlsVersion | undefined;
  handshake_timeout?: number | undefined;
  crl?: string[] | undefined;
};

/** The keys of rules: `allow_cn`, `deny_uri` and so on. */
export type RuleListKey = `${Side}_${Dimension}`;

/** The `acl` block as far as it is valid. */
export type RawAcl = { [key in RuleListKey]?: Rule[] | undefined } & {
  mode?: AclMode | undefined;
  allow_anonymous?: boolean | undefined;
};

/** The `proxy` block as far as it is valid; durations in milliseconds. */
export type RawProxy = {
  dial_timeout?: number | undefined;
  idle_timeout?: number | undefined;
  close_timeout?: number | undefined;
  max_connections?: number | undefined;
  shutdown_timeout?: number | undefined;
  max_lifetime?: number | undefined;
  max_connections_per_peer?: number | undefined;
};

/** The `health` or `metrics` block as far as it is valid. */
export type RawEndpoint = { enabled?: boolean | undefined; listen?: Address | undefined };

/** The `logging` block as far as it is valid. */
export type RawLogging = { level?: LogLevel | undefined; format?: LogFormat | undefined };

/** The file as far as each value is valid on its own; what is missing has no default yet. */
export type RawConfig = {
  mode?: Mode | undefined;
  listen?: Address | undefined;
  target?: Address | undefined;
  tls?: RawTls | undefined;
  acl?: RawAcl | undefined;
  proxy?: RawProxy | undefined;
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
