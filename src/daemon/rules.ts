/**
 * The rules of each tunnel, which a reload reads anew, and all else in the config, which it does not.
 *
 * @module
 */

import { formatRule } from "../acl/rule.ts";
import type { AclConfig, TlsConfig, TunnelConfig } from "../config/config.ts";

/** The rules of one tunnel. */
export type Rules = {
  readonly acl: AclConfig;
  /** Of a bridge: for its target. */
  readonly upstream: AclConfig | undefined;
};

/** By the name of the tunnel; `undefined` is that of the only one. */
export type RulesByTunnel = ReadonlyMap<string | undefined, Rules>;

/** The rules that tunnels are configured with. */
export function rulesOf(tunnels: readonly TunnelConfig[]): RulesByTunnel {
  return new Map(
    tunnels.map(({ name, acl, upstream }) => [name, { acl, upstream: upstream?.acl }]),
  );
}

/**
 * The rules of running tunnels after the config was read again, by name. A tunnel keeps those that it
 * has where there is no such tunnel any more, or where what goes with them has changed and takes a
 * restart: half of each config could let in whom neither does. Rules about servers say nothing of
 * clients, fewer rules may rest on a smaller bundle or another target, and without allow rules a
 * running `client_auth: optional` lets in peers without a certificate that a new `required` keeps out.
 *
 * New deny rules about the same kind of peer hold at once all the same: they let nobody in.
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

/** The rules that are in force, and the deny rules of others besides. */
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

/** Tunnels whose rules are not those that the config has for them now, by name. */
export function keptRules(
  inForce: RulesByTunnel,
  reread: readonly TunnelConfig[],
): readonly (string | undefined)[] {
  return [...rulesOf(reread)]
    .filter(([name, next]) => inForce.has(name) && textOf(inForce.get(name)) !== textOf(next))
    .map(([name]) => name);
}

/** Equal where the rules say the same, in whatever order. */
function textOf(rules: Rules | undefined): string {
  const sides = [rules?.acl, rules?.upstream].map((acl) =>
    acl && [
      acl.mode,
      acl.allowAnonymous,
      ...[acl.allow, acl.deny].map((list) => [...new Set(list.map(formatRule))].sort()),
    ]
  );
  return JSON.stringify(sides);
}

/** Those that were read again and go with the running ones. */
function alike(
  running: readonly TunnelConfig[],
  reread: readonly TunnelConfig[],
): readonly TunnelConfig[] {
  const contexts = new Map(running.map((tunnel) => [tunnel.name, contextOf(tunnel)]));
  return reread.filter((tunnel) => contexts.get(tunnel.name) === contextOf(tunnel));
}

/** What decides together with the rules who gets where, and is not read anew with them. */
function contextOf({ mode, listen, targets, tls, upstream, proxy }: TunnelConfig): string {
  const trust = (side: TlsConfig | undefined) => side && [side.ca, side.crl];
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
