/**
 * The rules of each tunnel, which a reload reads anew, and all else in the config, which it does not.
 *
 * @module
 */

import type { AclConfig, TunnelConfig } from "../config/config.ts";

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
 * has where there is no such tunnel any more, or one of another mode: rules about servers say nothing
 * of clients, and in place of theirs they could let every client in.
 */
export function renewedRules(
  running: readonly TunnelConfig[],
  inForce: RulesByTunnel,
  reread: readonly TunnelConfig[],
): RulesByTunnel {
  const modes = new Map(running.map(({ name, mode }) => [name, mode]));
  const alike = reread.filter(({ name, mode }) => modes.get(name) === mode);
  return new Map([...inForce, ...rulesOf(alike)]);
}
