/**
 * The sets of files that the `tls` blocks of a config name. Blocks that name the same files share
 * one set, whatever their other settings are: it is loaded once, and all of them use the same
 * credentials.
 *
 * @module
 */

import type { NonEmpty, TlsConfig } from "../config/config.ts";
import { formatTunnel } from "../config/source.ts";
import { formatFinding } from "./findings.ts";
import {
  CredentialError,
  type CredentialPaths,
  credentialPaths,
  loadCredentials,
  type LoadDeps,
  maxBytesOf,
} from "./load.ts";
import type { Credentials } from "../x509/credentials.ts";

/** What the store needs to know about a tunnel; a `TunnelConfig` fits. */
export type StoreTunnel = {
  /** `undefined` if there is only one tunnel. */
  readonly name: string | undefined;
  readonly tls: TlsConfig;
  /** The upstream side, if it has a `tls` block of its own. */
  readonly upstream: { readonly tls: TlsConfig } | undefined;
};

/** A `tls` block that uses a set. */
export type SetUser = {
  /** The name of the tunnel; `undefined` if there is only one. */
  readonly tunnel: string | undefined;
  /** The index of the tunnel in the config. */
  readonly index: number;
  readonly side: "tls" | "upstream_tls";
};

/** Files that are loaded together, and the blocks that use them. */
export type FileSet = {
  /** Equal for blocks that name the same files. */
  readonly key: string;
  readonly files: CredentialPaths;
  /** In the order of the config. */
  readonly users: NonEmpty<SetUser>;
};

/** Key that is equal for blocks that name the same files. */
function setKey({ cert, key, ca, intermediates, crl = [] }: CredentialPaths): string {
  return JSON.stringify([cert, key, ca ?? null, intermediates ?? null, ...crl]);
}

/** The sets that the tunnels use; the set of the first tunnel comes first. */
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

/**
 * The log fields that name the users of a set; empty if there is only one tunnel with one block.
 */
export function usersOf({ users }: FileSet): Readonly<Record<string, readonly string[] | string>> {
  const tunnels = [...new Set(users.flatMap(({ tunnel }) => tunnel ?? []))];
  return {
    ...(tunnels.length === 0 ? {} : { tunnels }),
    ...(users.every(({ side }) => side === "upstream_tls") ? { side: "upstream_tls" } : {}),
  };
}

/** The paths that the sets name, without duplicates. */
export function pathsOf(sets: readonly FileSet[]): readonly string[] {
  return [...new Set(sets.flatMap(({ files }) => credentialPaths(files)))];
}

/** The maximum size of the file at a path, in bytes: the largest limit of the sets that name it. */
export function maxBytesIn(sets: readonly FileSet[], path: string): number {
  return Math.max(...sets.map(({ files }) => maxBytesOf(files, path)));
}

/** The credentials of all sets, loaded together. */
export class CredentialSets {
  readonly #bySet: ReadonlyMap<string, Credentials>;
  readonly #first: Credentials;

  /** `first` are the credentials of the first set. */
  constructor(first: Credentials, bySet: ReadonlyMap<string, Credentials>) {
    this.#first = first;
    this.#bySet = bySet;
  }

  /** The credentials of the first tunnel's own block. */
  get first(): Credentials {
    return this.#first;
  }

  /**
   * The credentials of the files that a block names.
   *
   * @throws {Error} if these files are not among those that were loaded.
   */
  of(files: CredentialPaths): Credentials {
    const found = this.#bySet.get(setKey(files));
    if (found === undefined) throw new Error(`Cannot give what was not loaded: "${files.cert}"`);
    return found;
  }
}

/** A set that is not usable, and why. */
export type FailedSet = { readonly set: FileSet; readonly error: CredentialError };

/**
 * All sets that are not usable. If there are several sets, the message names the tunnel of each
 * finding.
 */
export class SetsError extends CredentialError {
  /** In the order of the sets. */
  readonly failed: NonEmpty<FailedSet>;

  /** `named` says whether to name the tunnels, because there are other sets. */
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
 * @throws {SetsError} with the errors of all sets.
 */
export async function loadSets(sets: NonEmpty<FileSet>, deps: LoadDeps): Promise<CredentialSets> {
  const loaded = new Map<string, Credentials>();
  const failed: FailedSet[] = [];
  for (const set of sets) {
    try {
      loaded.set(set.key, await loadCredentials(set.files, deps));
    } catch (error) {
      if (!(error instanceof CredentialError)) throw error;
      failed.push({ set, error });
    }
  }
  const [bad, ...worse] = failed;
  if (bad !== undefined) throw new SetsError([bad, ...worse], sets.length > 1);
  const first = loaded.get(sets[0].key);
  if (first === undefined) throw new Error("Cannot load certificates: no block names any");
  return new CredentialSets(first, loaded);
}
