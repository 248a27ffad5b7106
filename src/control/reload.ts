/**
 * What a reload takes from a config that was read again: the rules of each tunnel, where nothing else
 * that decides on access has changed. All other changes need a restart.
 *
 * @module
 */

import {
  type AclConfig,
  type Dimension,
  DIMENSIONS,
  formatRule,
  type Side,
  SIDES,
} from "../acl/rule.ts";
import { formatAddress } from "../config/address.ts";
import type { Config, TlsConfig, TunnelConfig } from "../config/config.ts";
import { quote } from "../util/text.ts";

/** The rules of one tunnel. */
export type Rules = {
  readonly acl: AclConfig;
  /** The rules for the upstream of a bridge. */
  readonly upstream: AclConfig | undefined;
};

/** Rules by the name of the tunnel; `undefined` is the only tunnel. */
export type RulesByTunnel = ReadonlyMap<string | undefined, Rules>;

/** The rules in the config of the tunnels. */
export function rulesOf(tunnels: readonly TunnelConfig[]): RulesByTunnel {
  return new Map(
    tunnels.map(({ name, acl, upstream }) => [name, { acl, upstream: upstream?.acl }]),
  );
}

/**
 * The rules of the running tunnels after the config was read again, by name. A tunnel keeps its
 * rules if the new config does not have it any more, or if settings that go with the rules have
 * changed and need a restart. Otherwise half of each config could admit peers that neither config
 * admits: rules about servers do not apply to clients, fewer rules may rely on a smaller bundle or
 * another target, and without allow rules a running `client_auth: optional` admits peers without a
 * certificate that a new `required` denies.
 *
 * New deny rules about the same kind of peer take effect in any case, because they cannot admit a
 * peer.
 */
export function renewedRules(
  running: readonly TunnelConfig[],
  inForce: RulesByTunnel,
  reread: readonly TunnelConfig[],
): RulesByTunnel {
  const modes = new Map(running.map(({ name, mode }) => [name, mode]));
  const taken = rulesOf(alike(running, reread));
  const result = new Map([...inForce, ...taken]);
  for (const [name, next] of rulesOf(reread.filter(({ name, mode }) => modes.get(name) === mode))) {
    const held = inForce.get(name);
    if (held !== undefined && !taken.has(name)) result.set(name, withDenials(held, next));
  }
  return result;
}

/** The rules in effect, plus the deny rules of others. */
function withDenials(held: Rules, { acl, upstream }: Rules): Rules {
  const add = (to: AclConfig, { deny }: AclConfig): AclConfig => {
    const there = new Set(to.deny.map(formatRule));
    return { ...to, deny: [...to.deny, ...deny.filter((rule) => !there.has(formatRule(rule)))] };
  };
  return {
    acl: add(held.acl, acl),
    upstream: held.upstream && upstream && add(held.upstream, upstream),
  };
}

/**
 * The differences between two sets of rules, one text for each key, with the name of the tunnel in
 * front: `tunnel "web": acl.allow_cn: 1 → 2 rules`. The order of rules is ignored.
 */
export function ruleChanges(before: RulesByTunnel, after: RulesByTunnel): readonly string[] {
  return [...after].flatMap(([name, rules]) =>
    differences(before.get(name), rules).map(({ key, change }) =>
      `${ofTunnel(name)}${key}: ${change}`
    )
  );
}

/** The keys of rules that differ from the rules in effect, with the name of the tunnel. */
export function keptRules(
  inForce: RulesByTunnel,
  reread: readonly TunnelConfig[],
): readonly string[] {
  return [...rulesOf(reread)].filter(([name]) => inForce.has(name)).flatMap(([name, next]) =>
    differences(inForce.get(name), next).map(({ key }) => ofTunnel(name) + key)
  );
}

/** The prefix for keys of a tunnel: `tunnel "web": `; empty for a single tunnel. */
export function ofTunnel(name: string | undefined): string {
  return name === undefined ? "" : `tunnel ${quote(name)}: `;
}

/** A key and how it has changed. */
type Difference = { readonly key: string; readonly change: string };

function differences(before: Rules | undefined, after: Rules): readonly Difference[] {
  const blocks = [
    ["acl", before?.acl, after.acl],
    ["upstream_acl", before?.upstream, after.upstream],
  ] as const;
  return blocks.flatMap(([block, from, to]) => {
    const lists = SIDES.flatMap((side) =>
      DIMENSIONS.flatMap((dimension) => {
        const change = listChange(textsOf(from, side, dimension), textsOf(to, side, dimension));
        return change === undefined ? [] : [{ key: `${block}.${side}_${dimension}`, change }];
      })
    );
    const words = ([["mode", "mode"], ["allow_anonymous", "allowAnonymous"]] as const)
      .filter(([, field]) => from !== undefined && to !== undefined && from[field] !== to[field])
      .map(([key, field]) => ({
        key: `${block}.${key}`,
        change: `${from?.[field]} → ${to?.[field]}`,
      }));
    return [...lists, ...words];
  });
}

function textsOf(acl: AclConfig | undefined, side: Side, dimension: Dimension): Set<string> {
  const rules = acl?.[side].filter((rule) => rule.dimension === dimension) ?? [];
  return new Set(rules.map(({ text }) => text));
}

function listChange(before: Set<string>, after: Set<string>): string | undefined {
  const added = after.difference(before).size;
  const removed = before.difference(after).size;
  if (added + removed === 0) return undefined;
  const counts = `${before.size} → ${after.size} ${after.size === 1 ? "rule" : "rules"}`;
  // The counts alone do not show that rules were replaced.
  return added > 0 && removed > 0 ? `${counts} (${added} added, ${removed} removed)` : counts;
}

/** The tunnels of the reread config whose other settings are those of the running ones. */
function alike(
  running: readonly TunnelConfig[],
  reread: readonly TunnelConfig[],
): readonly TunnelConfig[] {
  const contexts = new Map(running.map((tunnel) => [tunnel.name, contextOf(tunnel)]));
  return reread.filter((tunnel) => contexts.get(tunnel.name) === contextOf(tunnel));
}

/**
 * The settings that together with the rules decide on access, and that a reload does not change.
 */
function contextOf({ mode, listen, targets, tls, upstream, proxy }: TunnelConfig): string {
  const trust = (side: TlsConfig | undefined) => side && [side.ca, side.crl, side.intermediates];
  return JSON.stringify([
    mode,
    listen,
    proxy.socketMode,
    proxy.acceptProxyProtocol,
    targets,
    tls.clientAuth,
    trust(tls),
    trust(upstream?.tls),
  ]);
}

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
