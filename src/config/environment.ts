/**
 * Settings from environment variables: `MTLSD_` and the key path in upper case, which override the
 * top level of the file. Lists, and keys within `tunnels`, can be set in the file only.
 *
 * @module
 */

import { foreignKey } from "./foreign.ts";
import { configJsonSchema, type JsonSchema } from "./json_schema.ts";
import { type EnvironmentProblem, formatPath, type KeyPath } from "./problem.ts";
import { quote } from "../util/text.ts";
import { suggest } from "../util/suggest.ts";
import { ALL_VARIABLES, VARIABLE_PREFIX, variableOf } from "./variables.ts";

/** Variables by name. */
export type Environment = ReadonlyMap<string, string>;

/** An empty environment. */
export const NO_ENVIRONMENT: Environment = new Map();

/** The type of a key, as far as needed to convert the text of a variable. */
type Kind = "text" | "boolean" | "number" | "list";

/** A key that a variable can set. */
type Setting = { readonly path: KeyPath; readonly kind: Kind };

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
  const found = new Map<string, Setting>();
  const add = (path: KeyPath, schema: JsonSchema): void => {
    if (schema.properties === undefined) {
      found.set(variableOf(path), { path, kind: kindOf(schema) });
      return;
    }
    for (const [key, inner] of Object.entries(schema.properties)) add([...path, key], inner);
  };
  add([], configJsonSchema());
  return found;
}

function kindOf({ type }: JsonSchema): Kind {
  if (type === "array") return "list";
  if (type === "boolean") return "boolean";
  return type === "integer" || type === "number" ? "number" : "text";
}

/** The variable that can set the key; `undefined` for lists, blocks and keys within `tunnels`. */
export function variableFor(path: KeyPath): string | undefined {
  const name = variableOf(path);
  const setting = settings().get(name);
  return setting === undefined || setting.kind === "list" ? undefined : name;
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
    if (setting.kind === "list") continue;
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

function convert(text: string, kind: Kind): unknown {
  if (kind === "boolean" && (text === "true" || text === "false")) return text === "true";
  return kind === "number" && /^\d+$/.test(text) ? Number(text) : text;
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
  if (kind !== "list") return undefined;
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
