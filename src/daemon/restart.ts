/**
 * What a config that was read again says otherwise than the one that runs, apart from the rules.
 *
 * @module
 */

import type { Config, TunnelConfig } from "../config/config.ts";
import type { Fields } from "../logging.ts";
import { keptRules, type RulesByTunnel } from "./rules.ts";

/**
 * What would take a restart, as log fields; `undefined` where there is nothing. `rules` are those that the
 * tunnels have after the config was read again.
 */
export function needsRestart(
  running: Config,
  reread: Config,
  rules: RulesByTunnel,
): Fields | undefined {
  const before = byName(running);
  const after = byName(reread);
  const keys = changed(processSettings(running), processSettings(reread));
  const added: string[] = [];
  const removed: string[] = [];
  if (before.has(undefined) !== after.has(undefined)) {
    keys.push("tunnels");
  } else {
    for (const [name, tunnel] of before) {
      const now = after.get(name);
      if (now === undefined) removed.push(String(name));
      else keys.push(...changed(tunnelSettings(tunnel), tunnelSettings(now)));
    }
    for (const name of after.keys()) if (!before.has(name)) added.push(String(name));
  }
  const kept = keptRules(rules, reread.tunnels);
  if (keys.length + added.length + removed.length === 0) return undefined;
  return {
    ...(keys.length === 0 ? {} : { keys }),
    // The only tunnel has no name.
    ...(kept.length === 0 ? {} : { rules_kept: kept.map((name) => name ?? "all") }),
    ...(added.length === 0 ? {} : { tunnels_added: added }),
    ...(removed.length === 0 ? {} : { tunnels_removed: removed }),
  };
}

type Settings = ReadonlyMap<string, string>;

function byName({ tunnels }: Config): ReadonlyMap<string | undefined, TunnelConfig> {
  return new Map(tunnels.map((tunnel) => [tunnel.name, tunnel]));
}

function changed(before: Settings, after: Settings): string[] {
  return [...new Set([...before.keys(), ...after.keys()])]
    .filter((key) => before.get(key) !== after.get(key));
}

function processSettings({ tunnels: _, ...rest }: Config): Settings {
  return settings("", rest);
}

/** Keys with the name of the tunnel in front, where it has one. */
function tunnelSettings({ name, acl: _, upstream, ...rest }: TunnelConfig): Settings {
  const of = name === undefined ? "" : `${name}.`;
  return settings(of, { ...rest, upstream_tls: upstream?.tls });
}

function settings(of: string, values: Readonly<Record<string, unknown>>): Settings {
  return new Map(
    Object.entries(values).map(([key, value]) => [of + key, JSON.stringify(value) ?? ""]),
  );
}
