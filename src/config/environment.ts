/**
 * Settings from environment variables: `MTLSD_` and the key path in upper case, which override the
 * top level of the file. Lists, and keys within `tunnels`, can be set in the file only.
 *
 * @module
 */

import { foreignKey } from "./foreign.ts";
import { allKeys, knownKeys } from "./keys.ts";
import type { Kind } from "./config.ts";
import { type EnvironmentProblem, formatPath, type KeyPath } from "./problem.ts";
import { quote } from "../util/text.ts";
import { suggest } from "../util/suggest.ts";

/** The prefix of all environment variables. */
export const VARIABLE_PREFIX = "MTLSD_";

/** All variables, in the syntax of a Deno grant: `--allow-env=MTLSD_*`. */
export const ALL_VARIABLES: string = `${VARIABLE_PREFIX}*`;

/** The variable of a top-level key: `MTLSD_TLS_CERT` for `tls.cert`. */
export function variableOf(path: KeyPath): string {
  return VARIABLE_PREFIX + path.join("_").toUpperCase();
}

/** Variables by name. */
export type Environment = ReadonlyMap<string, string>;

/** An empty environment. */
export const NO_ENVIRONMENT: Environment = new Map();

/** A key with its kind of value. */
type Setting = { readonly path: KeyPath; readonly kind: Kind | "tunnels" };

/** The values of the file and the environment, merged. */
export type Overlay = {
  /** The merged values. */
  readonly root: Readonly<Record<string, unknown>>;
  /** The variable that set the key at the path, if any. */
  variable(path: KeyPath): string | undefined;
  /** A variable that set the key or, if it is a block, a key in it. */
  within(path: KeyPath): string | undefined;
  readonly problems: readonly EnvironmentProblem[];
};

/** All top-level keys, including lists, by the name of their variable. */
function settings(): ReadonlyMap<string, Setting> {
  const keys = allKeys();
  const found = knownKeys([]).flatMap((name): readonly Setting[] =>
    name === "tunnels"
      ? [{ path: [name], kind: "tunnels" }]
      : keys.filter(({ path }) => path[0] === name).map(({ path, key: { kind } }) => ({
        path,
        kind,
      }))
  );
  return new Map(found.map((setting) => [variableOf(setting.path), setting]));
}

/** Whether the value is a list, which a variable cannot set. */
function isList(kind: Setting["kind"]): boolean {
  return ["targets", "alpn", "networks", "rules", "tunnels"].includes(kind);
}

/** The variable that can set the key; `undefined` for lists, blocks and keys within `tunnels`. */
export function variableFor(path: KeyPath): string | undefined {
  const name = variableOf(path);
  const setting = settings().get(name);
  return setting === undefined || isList(setting.kind) ? undefined : name;
}

/**
 * Unknown variables beyond this number are counted but not listed, because each is compared with
 * all keys.
 */
const MAX_UNKNOWN = 50;

/** Merges the environment into the values of the file. */
export function applyEnvironment(
  root: Readonly<Record<string, unknown>>,
  environment: Environment,
): Overlay {
  if (environment.size === 0) {
    return { root, variable: () => undefined, within: () => undefined, problems: [] };
  }
  const known = settings();
  const problems: EnvironmentProblem[] = [];
  const set = new Map<string, string>();
  let changed = root;
  let unknown = 0;
  for (const [variable, text] of environment) {
    const setting = known.get(variable);
    if (setting === undefined) {
      if (isServiceLink(variable, environment) || ++unknown > MAX_UNKNOWN) continue;
      problems.push({ variable, message: unknownVariable(variable, known) });
      continue;
    }
    const fault = listFault(setting);
    if (fault !== undefined) problems.push({ variable, message: fault });
    if (isList(setting.kind)) continue;
    const next = assign(changed, setting.path, convert(text, setting.kind));
    // The file has a value that is not a block here. This is reported elsewhere.
    if (next === undefined) continue;
    changed = next;
    set.set(JSON.stringify(setting.path), variable);
  }
  if (unknown > MAX_UNKNOWN) {
    const message = `Cannot use ${unknown - MAX_UNKNOWN} more unknown variables: remove them`;
    problems.push({ variable: ALL_VARIABLES, message });
  }
  const blocks = new Map(
    [...set].flatMap(([path, variable]) =>
      prefixes(JSON.parse(path)).map((prefix) => [prefix, variable] as const)
    ),
  );
  return {
    root: changed,
    variable: (path) => set.get(JSON.stringify(path)),
    within: (path) => blocks.get(JSON.stringify(path)),
    problems,
  };
}

/** The path of a key and the paths of its enclosing blocks. */
function prefixes(path: KeyPath): string[] {
  return path.map((_, index) => JSON.stringify(path.slice(0, index + 1)));
}

function convert(text: string, kind: Setting["kind"]): unknown {
  if (kind === "boolean" && (text === "true" || text === "false")) return text === "true";
  return kind === "count" && /^\d+$/.test(text) ? Number(text) : text;
}

/**
 * A copy with the value set at the path; `undefined` if a value that is not a block is in the way.
 */
function assign(
  block: Readonly<Record<string, unknown>>,
  [key = "", ...rest]: KeyPath,
  value: unknown,
): Readonly<Record<string, unknown>> | undefined {
  const copy: Record<string, unknown> = Object.assign(Object.create(null), block);
  if (rest.length > 0) {
    const inner = block[key] ?? {};
    if (typeof inner !== "object" || Array.isArray(inner)) return undefined;
    value = assign(inner as Record<string, unknown>, rest, value);
  }
  copy[key] = value;
  return copy;
}

function listFault({ path, kind }: Setting): string | undefined {
  if (!isList(kind)) return undefined;
  const key = quote(formatPath(path));
  return `Cannot set a list from the environment: write ${key} in the file`;
}

/**
 * The variables that Kubernetes sets for a Service: `MTLSD_SERVICE_HOST`,
 * `MTLSD_WEB_PORT_443_TCP_ADDR`.
 */
const SERVICE_LINK =
  /^(MTLSD(?:_\w+?)??)_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)$/;

/** Whether Kubernetes set the variable for a Service; it does so in every pod. */
function isServiceLink(variable: string, environment: Environment): boolean {
  const [, service] = SERVICE_LINK.exec(variable) ?? [];
  return service !== undefined && environment.has(`${service}_SERVICE_HOST`) &&
    environment.has(`${service}_SERVICE_PORT`);
}

function unknownVariable(variable: string, known: ReadonlyMap<string, Setting>): string {
  const start = "Cannot use unknown variable: ";
  if (variable.startsWith(`${VARIABLE_PREFIX}TUNNELS_`)) {
    return `${start}what stands in "tunnels" is set in the file only`;
  }
  const hint = nearest(variable, [...known.keys()]);
  return start +
    (hint === undefined
      ? `a variable is ${VARIABLE_PREFIX} and the path of a key in capitals, such as ` +
        variableOf(["tls", "cert"])
      : `did you mean ${quote(hint)}?`);
}

function nearest(variable: string, known: readonly string[]): string | undefined {
  const hint = suggest(variable, known);
  if (hint !== undefined) return hint;
  // Suggest MTLSD_TLS_CERT for MTLSD_CERT, unless the name exists in several blocks.
  const key = variable.slice(VARIABLE_PREFIX.length - 1);
  const matches = known.filter((name) => name.endsWith(key));
  if (key.length > 1 && matches.length === 1) return matches[0];
  const meant = foreignKey(variable.slice(VARIABLE_PREFIX.length));
  return meant === undefined ? undefined : known.find((name) => name === variableOf(meant));
}

/**
 * The variables to query one by one if the environment cannot be listed: the valid names, and each
 * without its block, which is a likely mistake. Other unknown variables go unnoticed then.
 */
export function* variablesToAsk(): Iterable<string> {
  for (const [name, { path }] of settings()) {
    yield name;
    yield variableOf(path.slice(-1));
  }
}
