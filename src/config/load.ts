/**
 * The text of a config file to a {@linkcode Config} that cannot be wrong, or to every problem that it
 * has, with positions.
 *
 * @module
 */

import { DIMENSIONS, type Rule, type Side } from "../acl/rule.ts";
import { DEFAULT_LISTEN, defaultServerName, runChecks } from "./checks.ts";
import type { Address, Config, EndpointConfig, Mode } from "./config.ts";
import { type ConfigProblem, formatPath, type KeyPath, type Place, quote } from "./problem.ts";
import type { RawAcl, RawConfig, RawEndpoint, RawTls } from "./raw.ts";
import { knownKeys, readSchema } from "./schema.ts";
import { suggest } from "./suggest.ts";
import { readYaml } from "./yaml.ts";

/** A config, or all that is wrong with it in the order of the file, at least one problem. */
export type ConfigResult =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

/**
 * Parses the text of a config file (YAML 1.2). Reads no file: paths in it are not looked at. Never
 * throws.
 *
 * @param fileName what problems call the file: the path as the user gave it, `<stdin>` for standard
 * input.
 */
export function parseConfig(text: string, fileName: string): ConfigResult {
  const problems = new Problems(fileName);
  const { tree, problems: found } = readYaml(text);
  for (const { path, place, message } of found) problems.add(path, place, message);
  if (tree === undefined) return { ok: false, problems: problems.sorted() };

  const { raw, issues } = readSchema(tree.root);
  const meant = new Set<string>();
  for (const issue of issues) {
    if (tree.refused(issue.path)) continue;
    if (issue.kind === "unknown") {
      const hint = nearest(issue.path);
      if (hint !== undefined) meant.add(formatPath(hint));
      problems.add(issue.path, tree.place(issue.path), unknownKey(issue.path, hint));
    } else {
      const value = tree.show(issue.path);
      problems.add(issue.path, tree.place(issue.path), `Cannot use ${value}: ${issue.reason}`);
    }
  }
  runChecks({
    raw,
    has: tree.has,
    lacks: (path) => !tree.has(path) && !meant.has(formatPath(path)),
    report: (path, message) => problems.add(path, tree.place(path), message),
  });
  const config = problems.isEmpty ? build(raw) : undefined;
  return config === undefined ? { ok: false, problems: problems.sorted() } : { ok: true, config };
}

/** Where a key of a valid config stands, or would: for what is found out about its value later. */
export function placeOf(text: string, path: KeyPath): Place {
  return readYaml(text).tree?.place(path) ?? { line: 1, column: 1 };
}

/** Collects problems. */
class Problems {
  readonly #file: string;
  readonly #list: ConfigProblem[] = [];

  constructor(file: string) {
    this.#file = file;
  }

  add(path: KeyPath, place: Place, message: string): void {
    this.#list.push({ file: this.#file, ...place, path: formatPath(path), message });
  }

  get isEmpty(): boolean {
    return this.#list.length === 0;
  }

  sorted(): readonly ConfigProblem[] {
    return this.#list.toSorted((a, b) => a.line - b.line || a.column - b.column);
  }
}

/** The path of the key that was most likely meant: of the same block, or of one further down. */
function nearest(path: KeyPath): KeyPath | undefined {
  const name = String(path.at(-1));
  const parent = path.slice(0, -1);
  const known = knownKeys(parent);
  const sibling = suggest(name, known);
  if (sibling !== undefined) return [...parent, sibling];
  if (parent.length > 0) return undefined;
  // "client_auth" and "tls.client_auth" at the top level; not a name that several blocks have.
  const nested = known.flatMap((block) => knownKeys([block]).map((key) => [block, key]));
  const matches = nested.filter((to) => to.join(".") === name || to.at(-1) === name);
  return matches.length === 1 ? matches[0] : undefined;
}

function unknownKey(path: KeyPath, hint: KeyPath | undefined): string {
  const start = `Cannot use unknown key ${quote(String(path.at(-1)))}: `;
  if (hint === undefined) {
    return `${start}known here are ${knownKeys(path.slice(0, -1)).join(", ")}`;
  }
  const key = quote(String(hint.at(-1)));
  const moved = hint.length === path.length ? "" : ` in the block ${quote(String(hint[0]))}`;
  return `${start}did you mean ${key}${moved}?`;
}

/** Adds the defaults. The checks have seen to it that nothing required is missing. */
function build(raw: RawConfig): Config | undefined {
  const { mode, listen, target, tls, acl, proxy, logging } = raw;
  if (
    mode === undefined || listen === undefined || target === undefined ||
    tls?.cert === undefined || tls.key === undefined
  ) return undefined;
  return {
    mode,
    listen,
    target,
    tls: {
      cert: tls.cert,
      key: tls.key,
      ca: tls.ca,
      clientAuth: tls.client_auth ?? "required",
      serverName: serverName(mode, tls, target),
      minVersion: tls.min_version ?? "TLS1.2",
      maxVersion: tls.max_version ?? "TLS1.3",
      handshakeTimeout: tls.handshake_timeout ?? 10_000,
      crl: tls.crl ?? [],
    },
    acl: {
      allow: rulesOf(acl, "allow"),
      deny: rulesOf(acl, "deny"),
      mode: acl?.mode ?? "enforce",
      allowAnonymous: acl?.allow_anonymous ?? false,
    },
    proxy: {
      dialTimeout: proxy?.dial_timeout ?? 10_000,
      idleTimeout: proxy?.idle_timeout ?? 90_000,
      closeTimeout: proxy?.close_timeout ?? 0,
      maxConnections: proxy?.max_connections ?? 1000,
      shutdownTimeout: proxy?.shutdown_timeout ?? 30_000,
      maxLifetime: proxy?.max_lifetime ?? 0,
      maxConnectionsPerPeer: proxy?.max_connections_per_peer ?? 0,
    },
    health: endpoint(raw.health, DEFAULT_LISTEN.health),
    metrics: endpoint(raw.metrics, DEFAULT_LISTEN.metrics),
    logging: { level: logging?.level ?? "info", format: logging?.format ?? "text" },
  };
}

/** The rules of one side, in the order in which they are tried. */
function rulesOf(acl: RawAcl | undefined, side: Side): readonly Rule[] {
  return DIMENSIONS.flatMap((dimension) => acl?.[`${side}_${dimension}`] ?? []);
}

function serverName(mode: Mode, tls: RawTls, target: Address): string | undefined {
  if (mode === "server" || tls.server_name !== undefined) return tls.server_name;
  const name = defaultServerName(target);
  return name.ok ? name.value : undefined;
}

function endpoint(raw: RawEndpoint | undefined, listen: Address): EndpointConfig {
  return { enabled: raw?.enabled ?? false, listen: raw?.listen ?? listen };
}
