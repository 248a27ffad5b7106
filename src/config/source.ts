/**
 * What a config was written in, file and environment together: the values, and where each of them
 * stands.
 *
 * @module
 */

import { applyEnvironment, type Environment } from "./environment.ts";
import {
  type ConfigProblem,
  type EnvironmentProblem,
  type FileProblem,
  formatPath,
  type KeyPath,
  quote,
} from "./problem.ts";
import { readYaml } from "./yaml.ts";
import type { YamlTree } from "./tree.ts";
import { parseTunnelName } from "./names.ts";

/** Where something stands. */
export type Origin = Omit<FileProblem, "message"> | Omit<EnvironmentProblem, "message">;

/** The values of a config and their places. */
export type Source = {
  readonly root: Readonly<Record<string, unknown>>;
  /** Whether the key is set, to whatever value. */
  has(path: KeyPath): boolean;
  /** Whether the value is left out because of a problem that was reported. */
  refused(path: KeyPath): boolean;
  /** The value as an error message shows it. */
  show(path: KeyPath): string;
  /**
   * Where the key stands, or would.
   *
   * @param at where to look for it in the file: elsewhere, where the key is taken over.
   */
  origin(path: KeyPath, at?: KeyPath): Origin;
};

/** What was read, and what is wrong with it as YAML or as variables. */
export type SourceResult = {
  /** `undefined` where the text is no map of keys. */
  readonly source: Source | undefined;
  readonly problems: readonly ConfigProblem[];
};

/** Reads the text of a config and the variables that are set over it. Never throws. */
export function readSource(text: string, file: string, environment: Environment): SourceResult {
  const { tree, problems } = readYaml(text);
  const found = problems.map(({ path, place, message }): ConfigProblem => ({
    file,
    ...place,
    path: tree === undefined ? formatPath(path) : nameOf(tree, path),
    message,
  }));
  if (tree === undefined) return { source: undefined, problems: found };
  const overlay = applyEnvironment(tree.root, environment);
  const source: Source = {
    root: overlay.root,
    has: (path) => overlay.within(path) !== undefined || tree.has(path),
    refused: (path) => overlay.variable(path) === undefined && tree.refused(path),
    show: (path) =>
      overlay.variable(path) === undefined ? tree.show(path) : show(overlay.root, path),
    origin: (path, at = path) => {
      // A block that no line begins is there by its variables only.
      const variable = overlay.variable(at) ?? (tree.has(at) ? undefined : overlay.within(at));
      return variable === undefined
        ? { file, ...tree.place(at), path: nameOf(tree, path) }
        : { variable };
    },
  };
  return { source, problems: [...found, ...overlay.problems] };
}

/** The path as the user reads it; that of a tunnel has its name in it. */
function nameOf({ root }: YamlTree, path: KeyPath): string {
  const [first, index, ...rest] = path;
  if (first !== "tunnels" || typeof index !== "number") return formatPath(path);
  const entry: unknown = Array.isArray(root.tunnels) ? root.tunnels[index] : undefined;
  const name = typeof entry === "object" && entry !== null && "name" in entry ? entry.name : "";
  const tunnel = formatTunnel(index, typeof name === "string" ? name : undefined);
  return rest.length === 0 ? tunnel : `${tunnel}: ${formatPath(rest)}`;
}

/** What messages call a tunnel: `tunnels[1] "grpc"`; `tunnels[1]` where its name is no good. */
export function formatTunnel(index: number, name: string | undefined): string {
  const named = name !== undefined && parseTunnelName(name).ok;
  return `tunnels[${index}]${named ? ` ${quote(name)}` : ""}`;
}

/** The value of a variable; what may be a private key is not shown at all. */
function show(root: Readonly<Record<string, unknown>>, path: KeyPath): string {
  let value: unknown = root;
  for (const part of path) {
    value = typeof value === "object" && value !== null ? Reflect.get(value, part) : undefined;
  }
  const text = String(value);
  return text.trimStart().startsWith("-----BEGIN") ? "PEM text" : quote(text);
}
