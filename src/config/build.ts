/**
 * Adds the defaults: turns the validated values into the {@linkcode Config} that the daemon runs
 * on.
 *
 * @module
 */

import { type AclConfig, DIMENSIONS, type Rule, type Side } from "../acl/rule.ts";
import { defaultServerName, type RawTls, targetsOf, upstreamTls } from "./checks.ts";
import type {
  Address,
  Config,
  NonEmpty,
  Settings,
  Target,
  TlsConfig,
  TunnelConfig,
  UpstreamConfig,
} from "./config.ts";
import { KEYS } from "./keys.ts";
import { type Keys } from "./config.ts";
import { defaultOf, type Raw, type RawConfig, type RawTunnel } from "./schema.ts";

type RawAcl = Raw<typeof KEYS.acl.keys>;

/**
 * Builds the config; `undefined` if something required is missing, which the checks have reported.
 */
export function buildConfig(raw: RawConfig, tunnels: readonly RawTunnel[]): Config | undefined {
  const built = tunnels.map(buildTunnel);
  const [first, ...rest] = built.filter((tunnel) => tunnel !== undefined);
  if (first === undefined || rest.length + 1 < built.length) return undefined;
  return {
    tunnels: [first, ...rest],
    health: withDefaults(KEYS.health.keys, raw.health),
    metrics: withDefaults(KEYS.metrics.keys, raw.metrics),
    logging: withDefaults(KEYS.logging.keys, raw.logging),
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
    proxy: withDefaults(KEYS.proxy.keys, raw.proxy),
  };
}

function buildUpstream({ tls, upstream_tls, upstream_acl }: RawTunnel): UpstreamConfig | undefined {
  const built = tls && buildTls(upstreamTls(tls, upstream_tls));
  return built && { tls: built, acl: buildAcl(upstream_acl) };
}

function buildTls(raw: RawTls): TlsConfig | undefined {
  const { cert, key } = raw;
  if (cert === undefined || key === undefined) return undefined;
  // The names belong to the targets.
  const { serverName: _, ...tls } = withDefaults(KEYS.tls.keys, { ...raw, cert, key });
  return tls;
}

function buildAcl(acl: RawAcl = {}): AclConfig {
  const { mode, allow_anonymous } = KEYS.acl.keys;
  const settings = withDefaults({ mode, allow_anonymous }, acl);
  return { allow: rulesOf(acl, "allow"), deny: rulesOf(acl, "deny"), ...settings };
}

/** The rules of one side, in the order in which they are tried. */
function rulesOf(acl: RawAcl, side: Side): readonly Rule[] {
  return DIMENSIONS.flatMap((dimension) => acl[`${side}_${dimension}`] ?? []);
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

/** The values of a block under the names of the code, with the defaults of what is left out. */
function withDefaults<B extends Keys>(
  keys: B,
  raw: Raw<NoInfer<B>> | undefined,
): Settings<B> {
  const values = Object.entries(keys).map(([name, key]) => {
    const camelCase = name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    const written = raw?.[name];
    return [camelCase, written === undefined ? defaultOf(key) : written] as const;
  });
  return Object.fromEntries(values) as Settings<B>;
}
