/**
 * The typed configuration: what is left of the YAML once it has been parsed and cannot be wrong.
 *
 * @module
 */

import type { Rule } from "../acl/rule.ts";

/** Where to listen or connect: a TCP address. An empty `host` is every interface (listen only). */
export type Address = { readonly host: string; readonly port: number };

/** Which end of the tunnel is TLS: the accepted one (`server`) or the dialled one (`client`). */
export type Mode = "server" | "client";

/** What server mode asks of clients. */
export type ClientAuth = "required" | "optional" | "none";

/** A TLS protocol version, as the config spells it. */
export type TlsVersion = "TLS1.2" | "TLS1.3";

/** `tls`: identity, trust and protocol. */
export type TlsConfig = {
  /** Path of the own chain, leaf first, PEM. */
  readonly cert: string;
  /** Path of the private key, PEM; may be the same file as `cert`. */
  readonly key: string;
  /** Path of the bundle of CAs that sign the peers; absent only with `clientAuth: "none"`. */
  readonly ca: string | undefined;
  /** Server mode only; `required` in client mode, where the server always shows a certificate. */
  readonly clientAuth: ClientAuth;
  /** Client mode: the DNS name or IP address that the server's certificate must carry. */
  readonly serverName: string | undefined;
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
  /** Milliseconds from accept to the end of the handshake and the ACL decision. Never 0. */
  readonly handshakeTimeout: number;
  /** Paths of certificate revocation lists; empty: nobody is looked up. */
  readonly crl: readonly string[];
};

/** `acl`: rules that a peer's certificate must match. No rule at all: every valid one may in. */
export type AclConfig = {
  /** All dimensions are OR'd; empty adds nothing. */
  readonly allow: readonly Rule[];
  /** Any match keeps out, whatever an allow rule says; empty keeps nobody out. */
  readonly deny: readonly Rule[];
  /** `audit` lets everybody with a valid certificate in, and tells who would have been denied. */
  readonly mode: AclMode;
  /** Whether a peer without a certificate may in although there are allow rules. */
  readonly allowAnonymous: boolean;
};

/** What a denial does. */
export const ACL_MODES = ["enforce", "audit"] as const;

/** One of {@linkcode ACL_MODES}. */
export type AclMode = typeof ACL_MODES[number];

/** `proxy`: limits of a connection. Durations are milliseconds. */
export type ProxyConfig = {
  /** To connect to the target (client mode: TLS handshake included). Never 0. */
  readonly dialTimeout: number;
  /** Neither direction moved a byte for so long; 0 = no limit. */
  readonly idleTimeout: number;
  /** How long one half may go on after the other has ended; 0 = no limit. */
  readonly closeTimeout: number;
  /** At most this many connections at once; 0 = no limit. */
  readonly maxConnections: number;
  /** How long a drain may take; 0 = for ever. */
  readonly shutdownTimeout: number;
  /** How old a connection may get; 0 = no limit. */
  readonly maxLifetime: number;
  /** At most this many connections at once of one certificate identity; 0 = no limit. */
  readonly maxConnectionsPerPeer: number;
};

/** A small HTTP server: probes or metrics. */
export type EndpointConfig = { readonly enabled: boolean; readonly listen: Address };

/** Log levels, least important first. */
export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;

/** One of {@linkcode LOG_LEVELS}. */
export type LogLevel = typeof LOG_LEVELS[number];

/** Log formats: slog's text or one JSON object a line. */
export const LOG_FORMATS = ["text", "json"] as const;

/** One of {@linkcode LOG_FORMATS}. */
export type LogFormat = typeof LOG_FORMATS[number];

/** `logging`. */
export type LoggingConfig = { readonly level: LogLevel; readonly format: LogFormat };

/** A whole configuration file, complete with defaults. */
export type Config = {
  readonly mode: Mode;
  readonly listen: Address;
  readonly target: Address;
  readonly tls: TlsConfig;
  readonly acl: AclConfig;
  readonly proxy: ProxyConfig;
  readonly health: EndpointConfig;
  readonly metrics: EndpointConfig;
  readonly logging: LoggingConfig;
};
