/**
 * The sets of files that the `tls` blocks of a config name. Blocks that name the same files are one
 * set, whatever else they say: it is loaded once, and all who use it are told of the same material.
 *
 * @module
 */

import type { NonEmpty, TlsConfig } from "../config/config.ts";
import { formatTunnel } from "../config/source.ts";
import { formatFinding } from "./findings.ts";
import {
  type LoadDeps,
  loadMaterial,
  MaterialError,
  type MaterialPaths,
  materialPaths,
  maxBytesOf,
} from "./load.ts";
import type { Material } from "./material.ts";

/** What the store needs to know of a tunnel; `TunnelConfig` is one. */
export type StoreTunnel = {
  /** `undefined` for the only one. */
  readonly name: string | undefined;
  readonly tls: TlsConfig;
  /** The side of the target, where that has a block of its own. */
  readonly upstream: { readonly tls: TlsConfig } | undefined;
};

/** Whose `tls` block it is. */
export type SetUser = {
  /** The name of the tunnel; `undefined` for the only one. */
  readonly tunnel: string | undefined;
  /** Its place in the config. */
  readonly index: number;
  readonly side: "tls" | "upstream_tls";
};

/** Files that are loaded together, and who uses them. */
export type FileSet = {
  /** Equal for blocks that name the same files. */
  readonly key: string;
  readonly files: MaterialPaths;
  /** In the order of the config. */
  readonly users: NonEmpty<SetUser>;
};

/** What tells the files of one block from those of another. */
export function setKey({ cert, key, ca, intermediates, crl = [] }: MaterialPaths): string {
  return JSON.stringify([cert, key, ca ?? null, intermediates ?? null, ...crl]);
}

/** The sets that tunnels use, that of the first tunnel at first. */
export function setsOf([first, ...rest]: NonEmpty<StoreTunnel>): NonEmpty<FileSet> {
  const start: FileSet = {
    key: setKey(first.tls),
    files: first.tls,
    users: [{ tunnel: first.name, index: 0, side: "tls" }],
  };
  const others = new Map<string, FileSet>([[start.key, start]]);
  const add = (files: TlsConfig, user: SetUser): void => {
    const key = setKey(files);
    const present = others.get(key);
    const users: NonEmpty<SetUser> = present === undefined ? [user] : [...present.users, user];
    others.set(key, { key, files, users });
  };
  for (const [index, { name: tunnel, tls, upstream }] of [first, ...rest].entries()) {
    if (index > 0) add(tls, { tunnel, index, side: "tls" });
    if (upstream !== undefined) add(upstream.tls, { tunnel, index, side: "upstream_tls" });
  }
  const found = others.get(start.key) ?? start;
  others.delete(start.key);
  return [found, ...others.values()];
}

/** The log fields that say whose set it is; none where there is one tunnel with one block. */
export function usersOf({ users }: FileSet): Readonly<Record<string, readonly string[] | string>> {
  const tunnels = [...new Set(users.flatMap(({ tunnel }) => tunnel ?? []))];
  return {
    ...(tunnels.length === 0 ? {} : { tunnels }),
    ...(users.every(({ side }) => side === "upstream_tls") ? { side: "upstream_tls" } : {}),
  };
}

/** The paths that sets name, each once. */
export function pathsOf(sets: readonly FileSet[]): readonly string[] {
  return [...new Set(sets.flatMap(({ files }) => materialPaths(files)))];
}

/** How much the file at a path may hold, in bytes: as much as the set that allows it most. */
export function maxBytesIn(sets: readonly FileSet[], path: string): number {
  return Math.max(...sets.map(({ files }) => maxBytesOf(files, path)));
}

/** The materials of all sets, loaded as one. */
export class Materials {
  readonly #bySet: ReadonlyMap<string, Material>;
  readonly #first: Material;

  /** `first` is that of the first set. */
  constructor(first: Material, bySet: ReadonlyMap<string, Material>) {
    this.#first = first;
    this.#bySet = bySet;
  }

  /** That of the first tunnel's own block. */
  get first(): Material {
    return this.#first;
  }

  /**
   * What was loaded from the files that a block names.
   *
   * @throws {Error} for a block that is none of those that were loaded.
   */
  of(files: MaterialPaths): Material {
    const found = this.#bySet.get(setKey(files));
    if (found === undefined) throw new Error(`Cannot give what was not loaded: "${files.cert}"`);
    return found;
  }
}

/** A set that cannot be used, and why. */
export type FailedSet = { readonly set: FileSet; readonly error: MaterialError };

/**
 * Sets that cannot be used, all of them at once. With several sets the message names the tunnel of
 * each finding.
 */
export class SetsError extends MaterialError {
  /** In the order of the sets. */
  readonly failed: NonEmpty<FailedSet>;

  /** `named`: whether there are other sets that could be meant. */
  constructor(failed: NonEmpty<FailedSet>, named: boolean) {
    const retries = failed.map(({ error }) => error.retryAt ?? Infinity);
    const last = Math.max(...retries);
    super(failed.flatMap(({ error }) => error.findings), last === Infinity ? undefined : last);
    this.failed = failed;
    if (named) this.message = failed.flatMap(namedFindings).join("; ");
  }
}

function namedFindings({ set: { users }, error }: FailedSet): readonly string[] {
  const [{ index, tunnel, side }] = users;
  const others = new Set(users.map((user) => user.index)).size - 1;
  const of = tunnel === undefined
    ? ""
    : `${formatTunnel(index, tunnel)}${others === 0 ? "" : ` and ${others} more`}: `;
  return error.findings.map((finding) => of + formatFinding(finding).replace(/^tls(?=\.)/, side));
}

/**
 * Loads all sets, or none.
 *
 * @throws {SetsError} with everything that is wrong with any of them.
 */
export async function loadSets(sets: NonEmpty<FileSet>, deps: LoadDeps): Promise<Materials> {
  const loaded = new Map<string, Material>();
  const failed: FailedSet[] = [];
  for (const set of sets) {
    try {
      loaded.set(set.key, await loadMaterial(set.files, deps));
    } catch (error) {
      if (!(error instanceof MaterialError)) throw error;
      failed.push({ set, error });
    }
  }
  const [bad, ...worse] = failed;
  if (bad !== undefined) throw new SetsError([bad, ...worse], sets.length > 1);
  const first = loaded.get(sets[0].key);
  if (first === undefined) throw new Error("Cannot load certificates: no block names any");
  return new Materials(first, loaded);
}
