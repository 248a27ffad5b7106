/**
 * The effective settings of one tunnel: its own keys and those inherited from the top level. Lists
 * are replaced, blocks are merged key by key.
 *
 * @module
 */

import type { KeyPath } from "./problem.ts";
import type { RawBlocks, RawConfig, RawTunnel } from "./schema.ts";
import { formatTunnel, type Source } from "./source.ts";

/** The valid values of one tunnel. Paths are relative to the tunnel: `tls.cert`. */
export type Scope = {
  /** The tunnel's name in messages about other tunnels; `undefined` if there is only one. */
  readonly label: string | undefined;
  /** Own and inherited values. */
  readonly raw: RawTunnel;
  /** Whether the key is set here or inherited, valid or not. */
  has(path: KeyPath): boolean;
  /** Whether the key is set for this tunnel itself. */
  owns(path: KeyPath): boolean;
  /** Whether the key is absent and no unknown key was probably meant to be it. */
  lacks(path: KeyPath): boolean;
  /** Reports a problem at the position of the key that takes effect. */
  report(path: KeyPath, message: string): void;
  /** Drops an inherited key that this tunnel cannot use. */
  leave(path: KeyPath): void;
};

/** What scopes need in addition to the values. */
export type ScopeDeps = {
  readonly source: Source;
  /** Whether an absent key was probably meant by one that is reported as unknown. */
  readonly meant: (path: KeyPath) => boolean;
  /** Reports a problem at a path; `at` is the position of an inherited key. */
  readonly report: (path: KeyPath, message: string, at?: KeyPath) => void;
};

/** One scope for each entry of `tunnels`, or one for the top level. */
export function scopesOf(raw: RawConfig, deps: ScopeDeps): readonly Scope[] {
  if (!deps.source.has(["tunnels"])) return [topLevel(raw, deps)];
  const written: unknown = deps.source.root.tunnels;
  return (raw.tunnels ?? []).flatMap((entry, index) => {
    // An entry that is not a block has been reported as such.
    const value: unknown = Array.isArray(written) ? written[index] : undefined;
    const isBlock = typeof value === "object" && value !== null && !Array.isArray(value);
    return isBlock ? [entryScope(raw, entry, index, deps)] : [];
  });
}

function topLevel(raw: RawConfig, { source, meant, report }: ScopeDeps): Scope {
  return {
    label: undefined,
    raw,
    has: source.has,
    owns: source.has,
    lacks: (path) => !source.has(path) && !meant(path),
    report,
    leave: () => {},
  };
}

/** The keys that are never inherited, because two tunnels cannot share their values. */
export const OWN_KEYS = ["listen", "target", "targets"] as const;

function entryScope(
  top: RawConfig,
  entry: RawTunnel,
  index: number,
  { source, meant, report }: ScopeDeps,
): Scope {
  const own = (path: KeyPath): KeyPath => ["tunnels", index, ...path];
  const left = new Set<string>();
  const taken = (path: KeyPath): boolean =>
    !["name", ...OWN_KEYS].some((key) => key === path[0]) && !left.has(path.join(".")) &&
    source.has(path);
  const raw = merge(top, entry);
  return {
    label: formatTunnel(index, entry.name),
    raw,
    has: (path) => source.has(own(path)) || taken(path),
    owns: (path) => source.has(own(path)),
    lacks: (path) => !source.has(own(path)) && !taken(path) && !meant(own(path)) && !meant(path),
    report: (path, message) =>
      report(own(path), message, !source.has(own(path)) && taken(path) ? path : own(path)),
    leave: (path) => {
      left.add(path.join("."));
      remove(raw, path);
    },
  };
}

/** A new tunnel with the keys of both; keys that the entry leaves out come from the top level. */
function merge(top: RawConfig, entry: RawTunnel): RawTunnel {
  const block = <K extends keyof RawBlocks>(key: K): RawBlocks[K] =>
    entry[key] === undefined && top[key] === undefined ? undefined : { ...top[key], ...entry[key] };
  return {
    name: entry.name,
    mode: entry.mode ?? top.mode,
    listen: entry.listen,
    target: entry.target,
    targets: entry.targets,
    tls: block("tls"),
    acl: block("acl"),
    proxy: block("proxy"),
    upstream_tls: block("upstream_tls"),
    upstream_acl: block("upstream_acl"),
  };
}

/** Removes a key from a tunnel made by {@linkcode merge}, which shares its blocks with no other. */
function remove(raw: RawTunnel, [first = "", second]: KeyPath): void {
  const block: unknown = Reflect.get(raw, first);
  if (second === undefined) Reflect.deleteProperty(raw, first);
  else if (typeof block === "object" && block !== null) Reflect.deleteProperty(block, second);
}
