/**
 * The typed configuration: the result of parsing and validating the YAML.
 *
 * @module
 */

import type { IpPattern } from "../acl/ip.ts";
import type { AclConfig, Rule } from "../acl/rule.ts";
import type { KEYS } from "./keys.ts";

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
export const CLIENT_AUTHS = ["required", "optional", "none"] as const;

/** One of {@linkcode CLIENT_AUTHS}. */
export type ClientAuth = typeof CLIENT_AUTHS[number];

/** TLS protocol versions, as spelled in the config. */
export const TLS_VERSIONS = ["TLS1.2", "TLS1.3"] as const;

/** One of {@linkcode TLS_VERSIONS}. */
export type TlsVersion = typeof TLS_VERSIONS[number];

/** The PROXY protocol version to send to the target; `v2-tls` is v2 with TLS information. */
export const PROXY_PROTOCOLS = ["off", "v1", "v2", "v2-tls"] as const;

/** One of {@linkcode PROXY_PROTOCOLS}. */
export type ProxyProtocol = typeof PROXY_PROTOCOLS[number];

/** How to choose among several targets. */
export const BALANCES = ["failover", "round_robin", "least_connections"] as const;

/** One of {@linkcode BALANCES}. */
export type Balance = typeof BALANCES[number];

/** Log levels, least severe first. */
export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;

/** One of {@linkcode LOG_LEVELS}. */
export type LogLevel = typeof LOG_LEVELS[number];

/** Log formats: the text format of Go's slog, or one JSON object per line. */
export const LOG_FORMATS = ["text", "json"] as const;

/** One of {@linkcode LOG_FORMATS}. */
export type LogFormat = typeof LOG_FORMATS[number];

/** The kinds of values, each with its type once parsed. `values.ts` has a parser for each. */
export type ValueTypes = {
  /** The path of a file. */
  readonly path: string;
  /** The path of a file, or a list of them. */
  readonly paths: readonly string[];
  /** Milliseconds; 0 is no limit. */
  readonly limit: number;
  /** Milliseconds; never 0. */
  readonly timeout: number;
  /** A whole number; 0 is no limit. */
  readonly count: number;
  readonly boolean: boolean;
  /** One of the `words` of the key. */
  readonly word: string;
  readonly listen: Address;
  readonly target: Address;
  /** At least one. */
  readonly targets: readonly Address[];
  /** Where to serve probes or metrics. */
  readonly endpoint: TcpAddress;
  readonly server_name: string;
  readonly alpn: readonly string[];
  readonly networks: readonly IpPattern[];
  /** Permission bits. */
  readonly socket_mode: number;
  readonly tunnel_name: string;
  /** The rules of one side and dimension. */
  readonly rules: readonly Rule[];
};

/** A kind of value. */
export type Kind = keyof ValueTypes;

/** The type of a key's value. */
export type ValueOf<K extends Pick<Key, "kind">> = K extends
  { readonly kind: "word"; readonly words: readonly (infer W)[] } ? W : ValueTypes[K["kind"]];

/** `min_version` as a name in the code: `minVersion`. */
export type CamelCase<S extends string> = S extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : S;

/** The values of a block with its defaults; `undefined` for what is left out and has none. */
export type Settings<B extends Keys> = {
  readonly [K in keyof B & string as CamelCase<K>]:
    | ValueOf<B[K]>
    | (B[K] extends { readonly default: unknown } | { readonly required: string } ? never
      : undefined);
};

/**
 * The `tls` block: identity, trust and protocol settings. Paths are not accessed; `clientAuth` is
 * always `required` except in server mode, and `ca` is `undefined` only where it is `none`. The names
 * that servers must have are in {@linkcode Target}.
 */
export type TlsConfig = Omit<Settings<typeof KEYS.tls.keys>, "serverName">;

/** The `proxy` block: limits and connection settings. Durations are in milliseconds. */
export type ProxyConfig = Settings<typeof KEYS.proxy.keys>;

/** A small HTTP server, for probes or metrics. */
export type EndpointConfig = Settings<typeof KEYS.health.keys>;

/** The `logging` block. */
export type LoggingConfig = Settings<typeof KEYS.logging.keys>;

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

/**
 * What a reload does when the value has changed: nothing until the restart, which is the default;
 * the same, but it reads the file at the path again; or it applies the new rules.
 */
export type Reload = "restart" | "file" | "rules";

/** What a key and a block have in common. */
export type Entry = {
  /** For the JSON Schema and the reference page: Markdown without a final stop. */
  readonly description: string;
  /** What to add where it is missing; completes `Cannot do without "cert": add`. */
  readonly required?: string;
  /** The modes in which it cannot be used; the reason completes `in client mode, where`. */
  readonly notIn?: { readonly [M in Mode]?: string };
};

/** One key. */
export type Key = Entry & {
  readonly kind: Kind;
  /** Without: the key has no default. In config syntax. */
  readonly default?: string | number | boolean | readonly never[];
  /** The valid words of a `word`. */
  readonly words?: readonly string[];
  /** Other spellings of words. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** What the rules of a list are about, and the block that they are in if that is not `acl`. */
  readonly rules?: Pick<Rule, "side" | "dimension" | "block">;
  /** `restart` where it is left out. */
  readonly reload?: Reload;
};

/** The keys of a block. */
export type Keys = Readonly<Record<string, Key>>;

/** A block of keys. */
export type Block = Entry & {
  readonly keys: Keys;
  /** The reason for a value that is not a block. */
  readonly error?: string;
};
