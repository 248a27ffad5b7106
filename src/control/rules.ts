/**
 * The rules of each tunnel, which a reload replaces, as opposed to the rest of the config.
 *
 * @module
 */

import { type Dimension, DIMENSIONS, formatRule, type Side, SIDES } from "../acl/rule.ts";
import type { AclConfig, TlsConfig, TunnelConfig } from "../config/config.ts";
import { quote } from "../config/problem.ts";

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
