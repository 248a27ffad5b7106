/**
 * The source of a config, file and environment together: its values and their positions.
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
} from "./problem.ts";
import { quote } from "../util/text.ts";
import { readYaml, type YamlTree } from "./yaml.ts";
import { parseTunnelName } from "./values.ts";

/** The position of a value: in the file, or a variable. */
export type Origin = Omit<FileProblem, "message"> | Omit<EnvironmentProblem, "message">;

/** The values of a config and their positions. */
export type Source = {
  readonly root: Readonly<Record<string, unknown>>;
  /** Whether the key is set, to any value. */
  has(path: KeyPath): boolean;
  /** Whether the value is left out because of a problem that has been reported. */
  refused(path: KeyPath): boolean;
  /** The value formatted for an error message. */
  show(path: KeyPath): string;
  /**
   * The position of the key, or where it would be.
   *
   * @param at where the key is in the file, if it is inherited.
   */
  origin(path: KeyPath, at?: KeyPath): Origin;
};

/** The source, and its problems as YAML and in variables. */
export type SourceResult = {
  /** `undefined` if the text is not a map of keys. */
  readonly source: Source | undefined;
  readonly problems: readonly ConfigProblem[];
};

/** Reads the text of a config and the variables that override it. Never throws. */
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
      // A block that is not in the file exists only through its variables.
      const variable = overlay.variable(at) ?? (tree.has(at) ? undefined : overlay.within(at));
      return variable === undefined
        ? { file, ...tree.place(at), path: nameOf(tree, path) }
        : { variable };
    },
  };
  return { source, problems: [...found, ...overlay.problems] };
}

/** The path in the syntax of messages, with the tunnel's name if it is in a tunnel. */
function nameOf({ root }: YamlTree, path: KeyPath): string {
  const [first, index, ...rest] = path;
  if (first !== "tunnels" || typeof index !== "number") return formatPath(path);
  const entry: unknown = Array.isArray(root.tunnels) ? root.tunnels[index] : undefined;
  const name = typeof entry === "object" && entry !== null && "name" in entry ? entry.name : "";
  const tunnel = formatTunnel(index, typeof name === "string" ? name : undefined);
  return rest.length === 0 ? tunnel : `${tunnel}: ${formatPath(rest)}`;
}

/** A tunnel in messages: `tunnels[1] "grpc"`, or `tunnels[1]` if its name is invalid. */
export function formatTunnel(index: number, name: string | undefined): string {
  const named = name !== undefined && parseTunnelName(name).ok;
  return `tunnels[${index}]${named ? ` ${quote(name)}` : ""}`;
}

/** The value of a variable for messages; anything that may be a private key is not shown. */
function show(root: Readonly<Record<string, unknown>>, path: KeyPath): string {
  let value: unknown = root;
  for (const part of path) {
    value = typeof value === "object" && value !== null ? Reflect.get(value, part) : undefined;
  }
  const text = String(value);
  return text.trimStart().startsWith("-----BEGIN") ? "PEM text" : quote(text);
}
