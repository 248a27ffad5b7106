/**
 * Parses the text of a config file into a valid {@linkcode Config}, or into all of its problems
 * with their positions.
 *
 * @module
 */

import { buildConfig } from "./build.ts";
import { checkTogether, checkTunnel } from "./checks.ts";
import type { Config, NonEmpty } from "./config.ts";
import { type Environment, NO_ENVIRONMENT, variableFor } from "./environment.ts";
import { checkFits } from "./fit.ts";
import { foldName, foreignAnswer, foreignPath } from "./foreign.ts";
import { type ConfigProblem, formatPath, type KeyPath } from "./problem.ts";
import { quote } from "../util/text.ts";
import { knownKeys } from "./keys.ts";
import { readSchema } from "./schema.ts";
import { scopesOf } from "./scope.ts";
import { type Origin, readSource, type Source } from "./source.ts";
import { suggest } from "../util/suggest.ts";

/** A config, or all of its problems in file order, at least one. */
export type ConfigResult =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

/**
 * Parses the text of a config file (YAML 1.2). Does not access the files that it names. Never
 * throws.
 *
 * @param fileName the file's name in problems: the path as the user gave it, `<stdin>` for standard
 * input.
 * @param environment the variables that override the file; unknown names that begin with `MTLSD_`
 * are problems.
 */
export function parseConfig(
  text: string,
  fileName: string,
  environment: Environment = NO_ENVIRONMENT,
): ConfigResult {
  const { source, problems: found } = readSource(text, fileName, environment);
  const problems = [...found];
  if (source === undefined) return { ok: false, problems: sorted(problems) };
  const report = (path: KeyPath, message: string, at?: KeyPath): void => {
    problems.push({ ...source.origin(path, at), message });
  };

  const { raw, issues } = readSchema(source.root);
  const unfilled = placeholders(source.root);
  for (const path of unfilled) {
    report(path, `Cannot use ${source.show(path)}: ${unfilledReason(source, path)}`);
  }
  const reported = new Set(unfilled.map((path) => JSON.stringify(path)));
  const meant = new Set<string>();
  let unknown = 0;
  for (const issue of issues) {
    if (source.refused(issue.path)) continue;
    if (issue.kind === "unknown") {
      const hint = ++unknown > MAX_HINTS ? undefined : nearest(issue.path);
      if (hint !== undefined) meant.add(formatPath(hint));
      report(issue.path, unknownKey(issue.path, hint));
    } else if (!reported.has(JSON.stringify(issue.path))) {
      report(issue.path, `Cannot use ${source.show(issue.path)}: ${issue.reason}`);
    }
  }
  const deps = { source, report, meant: (path: KeyPath) => meant.has(formatPath(path)) };
  const scopes = scopesOf(raw, deps);
  checkFits(scopes, raw, deps);
  scopes.forEach(checkTunnel);
  checkTogether(raw, scopes, deps);
  const config = problems.length === 0
    ? buildConfig(raw, scopes.map((scope) => scope.raw))
    : undefined;
  return config === undefined ? { ok: false, problems: sorted(problems) } : { ok: true, config };
}

/**
 * Maximum number of unknown keys to find suggestions for, since each is compared with all known
 * keys.
 */
const MAX_HINTS = 50;

/** `${NAME}`, `$(NAME)`, `{{ name }}`, and `$NAME` at the start of a path segment, host or port. */
const PLACEHOLDER = /\$\{[^}]*\}|\$\([^)]*\)|\{\{.*?\}\}|(?<=^|[/:])\$[A-Z_][A-Z0-9_]*/s;

/**
 * The paths of the strings that contain a placeholder for templates or shells, which mtlsd does not
 * expand. A rule such as `${NAME}` would never match, and a path would not exist.
 */
function placeholders(root: unknown): readonly KeyPath[] {
  const found: KeyPath[] = [];
  const look = (value: unknown, path: KeyPath): void => {
    if (typeof value === "string") {
      if (PLACEHOLDER.test(value)) found.push(path);
    } else if (Array.isArray(value)) {
      value.forEach((item, index) => look(item, [...path, index]));
    } else if (typeof value === "object" && value !== null) {
      for (const [key, item] of Object.entries(value)) look(item, [...path, key]);
    }
  };
  look(root, []);
  return found;
}

function unfilledReason(source: Source, path: KeyPath): string {
  const reason = "nothing fills in variables here: write the value itself";
  if ("variable" in source.origin(path)) return reason;
  const variable = variableFor(path);
  return variable === undefined
    ? reason
    : `${reason}, or leave the key out and set ${variable} (with --allow-env=MTLSD_*)`;
}

/** In file order; problems in environment variables come last. */
function sorted(problems: readonly ConfigProblem[]): readonly ConfigProblem[] {
  const inFile = problems.filter((problem) => "line" in problem);
  return [
    ...inFile.toSorted((a, b) => a.line - b.line || a.column - b.column),
    ...problems.filter((problem) => "variable" in problem),
  ];
}

/** The text that a config was parsed from. */
export type ConfigText = {
  readonly text: string;
  /** The file's name in messages. */
  readonly file: string;
  readonly environment: Environment;
};

/**
 * Where a key of a valid config was written, for the tunnel or at the top level. For problems that
 * are found later, such as an address in use. If several paths are given, the first that is set
 * counts.
 */
export function originOf(
  { text, file, environment }: ConfigText,
  { tunnel, paths }: {
    /** The name of the tunnel; `undefined` if there is only one. */
    readonly tunnel: string | undefined;
    readonly paths: NonEmpty<KeyPath>;
  },
): Origin {
  const { source } = readSource(text, file, environment);
  const tunnels: unknown = source?.root.tunnels;
  const index = tunnel === undefined || !Array.isArray(tunnels)
    ? -1
    : tunnels.findIndex((entry: unknown) =>
      typeof entry === "object" && entry !== null && "name" in entry && entry.name === tunnel
    );
  const places = index === -1
    ? paths
    : paths.flatMap((path): KeyPath[] => [["tunnels", index, ...path], path]);
  const found = places.find((path) => source?.has(path)) ?? paths[0];
  return source?.origin(found) ?? { file, line: 1, column: 1, path: formatPath(found) };
}

/** Blocks that repeat keys of others, so that their keys are ambiguous as suggestions. */
const SECOND_BLOCKS = ["upstream_tls", "upstream_acl", "tunnels"];

/** The path of the key that was most likely meant: in the same block, or further down. */
function nearest(path: KeyPath): KeyPath | undefined {
  const name = String(path.at(-1));
  const parent = path.slice(0, -1);
  const known = knownKeys(parent);
  const folded = foldName(name);
  const same = known.find((key) => foldName(key) === folded);
  if (same !== undefined) return [...parent, same];
  const foreign = foreignPath(path);
  if (foreign !== undefined) return foreign;
  const sibling = suggest(name, known);
  if (sibling !== undefined) return [...parent, sibling];
  const isTunnel = parent.length === 0 || (parent.length === 2 && parent[0] === "tunnels");
  if (!isTunnel) return undefined;
  // Suggest "tls.client_auth" for "client_auth" at the top level, unless the name exists in several
  // blocks.
  const nested = known.filter((block) => !SECOND_BLOCKS.includes(block))
    .flatMap((block) => knownKeys([...parent, block]).map((key) => [block, key]));
  const matches = nested.filter((to) =>
    folded !== "" && (foldName(to.join(".")) === folded || foldName(to.at(-1) ?? "") === folded)
  );
  const [match] = matches;
  return match !== undefined && matches.length === 1 ? [...parent, ...match] : undefined;
}

function unknownKey(path: KeyPath, hint: KeyPath | undefined): string {
  const start = `Cannot use unknown key ${quote(String(path.at(-1)))}: `;
  if (hint === undefined) {
    const answer = foreignAnswer(String(path.at(-1)));
    if (answer !== undefined) return start + answer;
    return `${start}known here are ${knownKeys(path.slice(0, -1)).join(", ")}`;
  }
  const key = quote(String(hint.at(-1)));
  const moved = hint.length === path.length ? "" : ` in the block ${quote(String(hint.at(-2)))}`;
  return `${start}did you mean ${key}${moved}?`;
}
