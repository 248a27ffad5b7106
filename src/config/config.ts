/**
 * The typed configuration: what is left of the YAML once it has been parsed and cannot be wrong.
 *
 * @module
 */

import type { IpPattern } from "../acl/ip.ts";
import type { Rule } from "../acl/rule.ts";

/** A list that is never empty. */
export type NonEmpty<T> = readonly [T, ...T[]];

/** A host, a name or an IP address without brackets, and a port. */
export type HostPort = { readonly host: string; readonly port: number };

/** A TCP address. An empty `host` is every interface (listen only). */
export type TcpAddress = HostPort & { readonly kind: "tcp" };

/** A UNIX socket: an absolute path. Only on a plaintext side. */
export type UnixAddress = { readonly kind: "unix"; readonly path: string };

/** Where to listen or connect. */
export type Address = TcpAddress | UnixAddress;

/** Every mode, as the config spells it. */
export const MODES = ["server", "client", "bridge"] as const;

/**
 * Which end of the tunnel is TLS: the accepted one (`server`), the dialled one (`client`), or each of
 * them, a connection of its own (`bridge`).
 */
export type Mode = typeof MODES[number];

/** What the accepting side asks of clients. */
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
  /**
   * Other than `required` in server mode only: a server that is dialled always shows a certificate,
   * and so does whoever dials a bridge.
   */
  readonly clientAuth: ClientAuth;
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
  /** Protocols to offer or to accept, the favourite first (RFC 7301); empty: no ALPN. */
  readonly alpn: readonly string[];
  /** Milliseconds from accept to the end of the handshake and the ACL decision. Never 0. */
  readonly handshakeTimeout: number;
  /** Paths of certificate revocation lists; empty: nobody is looked up. */
  readonly crl: readonly string[];
  /** Path of certificates that help to build chains and to verify lists, and are not trusted. */
  readonly intermediates: string | undefined;
  /**
   * Whether a peer that ends TCP without close_notify (RFC 8446 section 6.1) has broken the connection
   * off; otherwise it has ended its own direction, as TCP's FIN does.
   */
  readonly requireCloseNotify: boolean;
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

/** The PROXY protocol in front of the bytes to the target; `v2-tls`: v2 with what TLS told. */
export const PROXY_PROTOCOLS = ["off", "v1", "v2", "v2-tls"] as const;

/** One of {@linkcode PROXY_PROTOCOLS}. */
export type ProxyProtocol = typeof PROXY_PROTOCOLS[number];

/** How one of several targets is chosen. */
export const BALANCES = ["failover", "round_robin", "least_connections"] as const;

/** One of {@linkcode BALANCES}. */
export type Balance = typeof BALANCES[number];

/** `proxy`: limits of a connection, and how it is made. Durations are milliseconds. */
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
  /** Says nothing where there is one target. */
  readonly balance: Balance;
  /** What the target is told first; other than `off` in server mode only. */
  readonly proxyProtocol: ProxyProtocol;
  /** From whom a PROXY header is expected, and nobody else may connect; empty: none is read. */
  readonly acceptProxyProtocol: readonly IpPattern[];
  /** Mode bits of a UNIX socket that is listened on. */
  readonly socketMode: number;
};

/** A small HTTP server: probes or metrics. */
export type EndpointConfig = { readonly enabled: boolean; readonly listen: TcpAddress };

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

/** Where a tunnel forwards to. */
export type Target = {
  readonly address: Address;
  /**
   * The DNS name or IP address that the certificate of this target must carry; `undefined` in server
   * mode, where the target speaks no TLS.
   */
  readonly serverName: string | undefined;
};

/** The TLS side towards the target of a bridge. */
export type UpstreamConfig = {
  /** Identity, trust and protocol there; `clientAuth` says nothing. */
  readonly tls: TlsConfig;
  /** Judges the certificate of the target. */
  readonly acl: AclConfig;
};

/** One tunnel, complete with defaults and with what it takes over from the top level. */
export type TunnelConfig = {
  /** Its name under `tunnels`, unique; `undefined` for the one tunnel of a config without. */
  readonly name: string | undefined;
  readonly mode: Mode;
  /** A UNIX socket in client mode only. */
  readonly listen: Address;
  /** In the order of the file; UNIX sockets in server mode only. */
  readonly targets: NonEmpty<Target>;
  readonly tls: TlsConfig;
  /** Judges the peer that `tls` is spoken with: who connects, or in client mode the server. */
  readonly acl: AclConfig;
  /** There in `bridge` mode, and only there. */
  readonly upstream: UpstreamConfig | undefined;
  readonly proxy: ProxyConfig;
};

/** A whole configuration file, complete with defaults. */
export type Config = {
  readonly tunnels: NonEmpty<TunnelConfig>;
  readonly health: EndpointConfig;
  readonly metrics: EndpointConfig;
  readonly logging: LoggingConfig;
};
