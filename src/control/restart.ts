/**
 * Finds the settings of a reread config that differ from the running ones and that a reload does
 * not change.
 *
 * @module
 */

import { formatAddress } from "../config/address.ts";
import type { Config, TlsConfig, TunnelConfig } from "../config/config.ts";
import { keptRules, ofTunnel, type RulesByTunnel } from "./rules.ts";

/**
 * The keys that have not taken effect, each with what they need: `target: needs a restart`, `tunnel
 * "web": acl.allow_cn: kept until the restart`. Empty if everything is in effect. `rules` are the
 * rules of the tunnels after the config was read again.
 */
export function notInForce(
  running: Config,
  reread: Config,
  rules: RulesByTunnel,
): readonly string[] {
  const before = byName(running);
  const after = byName(reread);
  const keys = changed(processSettings(running), processSettings(reread));
  const tunnels: string[] = [];
  if (before.has(undefined) !== after.has(undefined)) {
    keys.push("tunnels");
  } else {
    for (const [name, tunnel] of before) {
      const now = after.get(name);
      if (now === undefined) tunnels.push(`${ofTunnel(name)}removed, serves until the restart`);
      else keys.push(...tunnelChanges(tunnel, now).map((key) => ofTunnel(name) + key));
    }
    for (const name of after.keys()) {
      if (!before.has(name)) tunnels.push(`${ofTunnel(name)}added, needs a restart`);
    }
  }
  return [
    ...keys.map((key) => `${key}: needs a restart`),
    ...tunnels,
    ...keptRules(rules, reread.tunnels).map((key) => `${key}: kept until the restart`),
  ];
}

/** Values by key path, in a text form that is equal for equal values. */
type Settings = ReadonlyMap<string, string>;

function byName({ tunnels }: Config): ReadonlyMap<string | undefined, TunnelConfig> {
  return new Map(tunnels.map((tunnel) => [tunnel.name, tunnel]));
}

function changed(before: Settings, after: Settings): string[] {
  return [...new Set([...before.keys(), ...after.keys()])]
    .filter((key) => before.get(key) !== after.get(key));
}

function processSettings({ tunnels: _, ...blocks }: Config): Settings {
  return new Map(Object.entries(blocks).flatMap(([name, block]) => [...settings(name, block)]));
}

function tunnelChanges(before: TunnelConfig, after: TunnelConfig): readonly string[] {
  return [
    ...(before.mode === after.mode ? [] : ["mode"]),
    ...(formatAddress(before.listen) === formatAddress(after.listen) ? [] : ["listen"]),
    ...targetChanges(before, after),
    ...changed(settings("tls", before.tls), settings("tls", after.tls)),
    ...upstreamChanges(before, after),
    ...changed(settings("proxy", before.proxy), settings("proxy", after.proxy)),
  ];
}

function targetChanges(before: TunnelConfig, after: TunnelConfig): readonly string[] {
  const addresses = ({ targets }: TunnelConfig) =>
    targets.map(({ address }) => formatAddress(address)).join(" ");
  if (addresses(before) !== addresses(after)) {
    return [before.targets.length + after.targets.length === 2 ? "target" : "targets"];
  }
  const names = ({ targets }: TunnelConfig) =>
    targets.map(({ serverName }) => serverName).join(" ");
  if (before.mode !== after.mode || names(before) === names(after)) return [];
  return [before.mode === "bridge" ? "upstream_tls.server_name" : "tls.server_name"];
}

function upstreamChanges(before: TunnelConfig, after: TunnelConfig): readonly string[] {
  const of = ({ upstream }: TunnelConfig) =>
    upstream === undefined ? new Map<string, string>() : settings("upstream_tls", upstream.tls);
  // The changed mode is reported already.
  if (before.upstream === undefined || after.upstream === undefined) return [];
  const own = [settings("tls", before.tls), settings("tls", after.tls)];
  const theirs = [of(before), of(after)];
  // Changes inherited from "tls" are reported there.
  return changed(of(before), of(after)).filter((key) => {
    const taken = key.replace(/^upstream_/, "");
    return own.some((block, at) => block.get(taken) !== theirs[at]?.get(key));
  });
}

function settings(block: string, values: TlsConfig | Readonly<Record<string, unknown>>): Settings {
  return new Map(
    Object.entries(values).map(([name, value]) => [
      `${block}.${name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`,
      JSON.stringify(value) ?? "",
    ]),
  );
}
