/**
 * What counts for one tunnel: its own keys and those that it takes over from the top level. Lists
 * replace, blocks are merged key by key.
 *
 * @module
 */

import type { KeyPath } from "./problem.ts";
import type { RawBlocks, RawConfig, RawTunnel } from "./raw.ts";
import { formatTunnel, type Source } from "./source.ts";

/** One tunnel as far as it is valid. Paths are those of a config with one tunnel: `tls.cert`. */
export type Scope = {
  /** What messages about other tunnels call it; `undefined` where there is only one. */
  readonly label: string | undefined;
  /** Own values and those taken over. */
  readonly raw: RawTunnel;
  /** Whether the key counts here, valid or not. */
  has(path: KeyPath): boolean;
  /** Whether the key is written for this tunnel, not taken over. */
  owns(path: KeyPath): boolean;
  /** Whether the key is absent, and no mistyped key stands for it either. */
  lacks(path: KeyPath): boolean;
  /** Says what is wrong, at the place of the key that counts. */
  report(path: KeyPath, message: string): void;
  /** Stops taking over a key that cannot be used here. */
  leave(path: KeyPath): void;
};

/** What scopes are made from, besides values. */
export type ScopeDeps = {
  readonly source: Source;
  /** Whether a key that is not there was likely meant by one that was reported as unknown. */
  readonly meant: (path: KeyPath) => boolean;
  /** Problems at a path of the file; `at` is where the key stands that is taken over. */
  readonly report: (path: KeyPath, message: string, at?: KeyPath) => void;
};

/** Every tunnel of the config: one for each entry of `tunnels`, or the one of the top level. */
export function scopesOf(raw: RawConfig, deps: ScopeDeps): readonly Scope[] {
  if (!deps.source.has(["tunnels"])) return [topLevel(raw, deps)];
  const written: unknown = deps.source.root.tunnels;
  return (raw.tunnels ?? []).flatMap((entry, index) => {
    // What is no block was reported as that.
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

/** The keys that are each tunnel's own: two cannot have the same. */
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

/** A new tunnel of both: what the entry leaves out comes from the top level. */
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

/** Removes a key from a tunnel that {@linkcode merge} has made: its blocks are nobody else's. */
function remove(raw: RawTunnel, [first = "", second]: KeyPath): void {
  const block: unknown = Reflect.get(raw, first);
  if (second === undefined) Reflect.deleteProperty(raw, first);
  else if (typeof block === "object" && block !== null) Reflect.deleteProperty(block, second);
}
