/**
 * The typed configuration: the result of parsing and validating the YAML.
 *
 * @module
 */

import type { IpPattern } from "../acl/ip.ts";
import type { AclConfig } from "../acl/rule.ts";

/** A list with at least one element. */
export type NonEmpty<T> = readonly [T, ...T[]];

/** A host, which is a name or an IP address without brackets, and a port. */
export type HostPort = { readonly host: string; readonly port: number };

/** A TCP address. An empty `host` means every interface (`listen` only). */
export type TcpAddress = HostPort & { readonly kind: "tcp" };

/** A UNIX socket at an absolute path. Only on a plaintext side. */
export type UnixAddress = { readonly kind: "unix"; readonly path: string };

/** An address to listen on or to connect to. */
export type Address = TcpAddress | UnixAddress;

/** All modes, as spelled in the config. */
export const MODES = ["server", "client", "bridge"] as const;

/**
 * Which side of the tunnel speaks TLS: the downstream (`server`), the upstream (`client`), or both,
 * in separate connections (`bridge`).
 */
export type Mode = typeof MODES[number];

/** Whether clients must present a certificate. */
export type ClientAuth = "required" | "optional" | "none";

/** A TLS protocol version, as spelled in the config. */
export type TlsVersion = "TLS1.2" | "TLS1.3";

/** The `tls` block: identity, trust and protocol settings. */
export type TlsConfig = {
  /** Path of the own certificate chain, leaf first, PEM. */
  readonly cert: string;
  /** Path of the private key, PEM; may be the same file as `cert`. */
  readonly key: string;
  /**
   * Path of the bundle of CAs for peer certificates; `undefined` only with `clientAuth: "none"`.
   */
  readonly ca: string | undefined;
  /**
   * Always `required` except in server mode: servers always present a certificate, and clients of a
   * bridge must.
   */
  readonly clientAuth: ClientAuth;
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
  /** ALPN protocols in order of preference (RFC 7301); empty for no ALPN. */
  readonly alpn: readonly string[];
  /** Milliseconds from accept to the end of the handshake and the ACL decision. Never 0. */
  readonly handshakeTimeout: number;
  /** Paths of certificate revocation lists; empty for no revocation checks. */
  readonly crl: readonly string[];
  /**
   * Path of intermediate CAs that help to build chains and to verify lists, and are not trusted.
   */
  readonly intermediates: string | undefined;
  /**
   * Whether an end of TCP without close_notify (RFC 8446 section 6.1) counts as a truncated
   * connection. If false, it ends one direction, like a TCP FIN.
   */
  readonly requireCloseNotify: boolean;
};

/** The PROXY protocol version to send to the target; `v2-tls` is v2 with TLS information. */
export const PROXY_PROTOCOLS = ["off", "v1", "v2", "v2-tls"] as const;

/** One of {@linkcode PROXY_PROTOCOLS}. */
export type ProxyProtocol = typeof PROXY_PROTOCOLS[number];

/** How to choose among several targets. */
export const BALANCES = ["failover", "round_robin", "least_connections"] as const;

/** One of {@linkcode BALANCES}. */
export type Balance = typeof BALANCES[number];

/** The `proxy` block: limits and connection settings. Durations are in milliseconds. */
export type ProxyConfig = {
  /** Maximum time to connect to the target, in client mode including the TLS handshake. Never 0. */
  readonly dialTimeout: number;
  /** Maximum time without any bytes in either direction; 0 = no limit. */
  readonly idleTimeout: number;
  /** Maximum time that one direction may continue after the other has ended; 0 = no limit. */
  readonly closeTimeout: number;
  /** Maximum number of concurrent connections; 0 = no limit. */
  readonly maxConnections: number;
  /** Maximum duration of a drain; 0 = no limit. */
  readonly shutdownTimeout: number;
  /** Maximum age of a connection; 0 = no limit. */
  readonly maxLifetime: number;
  /** Maximum number of concurrent connections per certificate identity; 0 = no limit. */
  readonly maxConnectionsPerPeer: number;
  /** Has no effect with a single target. */
  readonly balance: Balance;
  /** The PROXY header to send to the target; other than `off` in server mode only. */
  readonly proxyProtocol: ProxyProtocol;
  /**
   * Networks that must send a PROXY header; others may not connect. Empty: no header is expected.
   */
  readonly acceptProxyProtocol: readonly IpPattern[];
  /** Mode bits of a UNIX socket to listen on. */
  readonly socketMode: number;
};

/** A small HTTP server, for probes or metrics. */
export type EndpointConfig = { readonly enabled: boolean; readonly listen: TcpAddress };

/** Log levels, least severe first. */
export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;

/** One of {@linkcode LOG_LEVELS}. */
export type LogLevel = typeof LOG_LEVELS[number];

/** Log formats: the text format of Go's slog, or one JSON object per line. */
export const LOG_FORMATS = ["text", "json"] as const;

/** One of {@linkcode LOG_FORMATS}. */
export type LogFormat = typeof LOG_FORMATS[number];

/** The `logging` block. */
export type LoggingConfig = { readonly level: LogLevel; readonly format: LogFormat };

/** A target to forward to. */
export type Target = {
  readonly address: Address;
  /**
   * The DNS name or IP address that the certificate of this target must contain; `undefined` in
   * server mode, where the target does not speak TLS.
   */
  readonly serverName: string | undefined;
};

/** The upstream TLS side of a bridge. */
export type UpstreamConfig = {
  /** Identity, trust and protocol settings for the upstream; `clientAuth` has no effect. */
  readonly tls: TlsConfig;
  /** Rules for the certificate of the target. */
  readonly acl: AclConfig;
};

/** One tunnel, complete with defaults and with settings inherited from the top level. */
export type TunnelConfig = {
  /** Its unique name under `tunnels`; `undefined` for the tunnel of a config without `tunnels`. */
  readonly name: string | undefined;
  readonly mode: Mode;
  /** The address to listen on. A UNIX socket in client mode only. */
  readonly listen: Address;
  /** In the order of the config; UNIX sockets in server mode only. */
  readonly targets: NonEmpty<Target>;
  readonly tls: TlsConfig;
  /** Rules for the TLS peer of `tls`: the downstream or, in client mode, the server. */
  readonly acl: AclConfig;
  /** Present in `bridge` mode only. */
  readonly upstream: UpstreamConfig | undefined;
  readonly proxy: ProxyConfig;
};

/** A complete configuration with defaults. */
export type Config = {
  readonly tunnels: NonEmpty<TunnelConfig>;
  readonly health: EndpointConfig;
  readonly metrics: EndpointConfig;
  readonly logging: LoggingConfig;
};
