/**
 * Problems in a configuration and their formatting: one line each, safe to print whatever the file
 * contains.
 *
 * @module
 */

import { escapeText, quote } from "../util/text.ts";

/** The path from the root of the file to a key or list item; empty for the file as a whole. */
export type KeyPath = readonly (string | number)[];

/** A position in the file; both count from 1, columns in UTF-16 code units. */
export type Place = { readonly line: number; readonly column: number };

/** A problem at a position in the file. */
export type FileProblem = Place & {
  /** The file's name as the user gave it, `<stdin>` for standard input. */
  readonly file: string;
  /**
   * The key path, such as `tls.min_version` or `acl.allow_cn[1]`, for a tunnel with its name in
   * front: `tunnels[1] "grpc": tls.min_version`; empty for the file as a whole.
   */
  readonly path: string;
  /** What is wrong and what would be valid. Quoted values are escaped. */
  readonly message: string;
};

/** A problem with an environment variable. */
export type EnvironmentProblem = {
  /** Its name. */
  readonly variable: string;
  /** As in {@linkcode FileProblem}. */
  readonly message: string;
};

/** One problem in a configuration; see {@linkcode formatProblem}. */
export type ConfigProblem = FileProblem | EnvironmentProblem;

/** Formats a path in the syntax of messages: `acl.allow_cn[1]`. Unusual keys are quoted. */
export function formatPath(path: KeyPath): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") {
      text += `[${part}]`;
    } else {
      text += (text === "" ? "" : ".") + (/^[\w-]{1,60}$/.test(part) ? part : quote(part));
    }
  }
  return text;
}

/** Longer variable names are truncated. */
const MAX_VARIABLE = 80;

/**
 * The position of a problem, as at the start of its line: `server.yaml:7:3: tls.min_version`,
 * `server.yaml:1:1`, or `environment: MTLSD_TLS_MIN_VERSION`.
 */
export function formatOrigin(
  origin: Omit<FileProblem, "message"> | Omit<EnvironmentProblem, "message">,
): string {
  if ("variable" in origin) {
    const { variable } = origin;
    const plain = /^\w+$/.test(variable) && variable.length <= MAX_VARIABLE;
    return `environment: ${plain ? variable : quote(variable, MAX_VARIABLE)}`;
  }
  const { file, line, column, path } = origin;
  return escapeText(`${file}:${line}:${column}${path === "" ? "" : `: ${path}`}`);
}

/** The problem as one line, without a newline: `server.yaml:7:3: tls.min_version: Cannot ...`. */
export function formatProblem(problem: ConfigProblem): string {
  return `${formatOrigin(problem)}: ${escapeText(problem.message)}`;
}
