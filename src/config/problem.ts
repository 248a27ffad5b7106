/**
 * What is wrong with a configuration, and how it is shown: one line for each problem, safe to print
 * whatever the file holds.
 *
 * @module
 */

/** The way from the root of the file to a key or list item; empty for the file as a whole. */
export type KeyPath = readonly (string | number)[];

/** A position in the file; both count from 1, columns in UTF-16 code units. */
export type Place = { readonly line: number; readonly column: number };

/** Something wrong at a place of the file. */
export type FileProblem = Place & {
  /** The file's name as the user gave it, `<stdin>` for standard input. */
  readonly file: string;
  /**
   * The key path, such as `tls.min_version` or `acl.allow_cn[1]`, of a tunnel with its name in front:
   * `tunnels[1] "grpc": tls.min_version`; empty for the file as a whole.
   */
  readonly path: string;
  /** What is wrong, what would be valid. Values in it are escaped. */
  readonly message: string;
};

/** Something wrong with a variable of the environment. */
export type EnvironmentProblem = {
  /** Its name. */
  readonly variable: string;
  /** As that of a {@linkcode FileProblem}. */
  readonly message: string;
};

/** One thing that is wrong with a configuration. {@linkcode formatProblem} makes a line of it. */
export type ConfigProblem = FileProblem | EnvironmentProblem;

/** A parsed value, or why there is none: `reason` completes `Cannot use "...": `. */
export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly reason: string };

/**
 * Everything that could break out of a line or change how it reads: control, format (bidi, zero
 * width), private, unassigned and surrogate code points, line separators, spaces that are not U+0020.
 */
const UNSAFE = /\p{C}|\p{Zl}|\p{Zp}|(?! )\p{Zs}|\p{Default_Ignorable_Code_Point}/gu;

function escapeCodePoint(char: string): string {
  const hex = (char.codePointAt(0) ?? 0).toString(16);
  return hex.length > 4 ? `\\u{${hex}}` : `\\u${hex.padStart(4, "0")}`;
}

/** The text with everything that is not plainly visible as a `\u` escape: one line, always. */
export function escapeText(text: string): string {
  return text.replace(UNSAFE, escapeCodePoint);
}

/** At most `limit` code points of the text, escaped and in double quotes; `...` says it was cut. */
export function quote(text: string, limit = 60): string {
  // Twice the limit in code units holds the limit in code points: no need to split all of it.
  const points = [...text.slice(0, 2 * limit + 2)];
  const kept = points.slice(0, limit).join("").replace(/["\\]/g, "\\$&");
  return `"${escapeText(kept)}"${points.length > limit ? "..." : ""}`;
}

/** The words as a choice: `"a", "b" or "c"`, each one quoted. */
export function either(words: readonly string[]): string {
  const quoted = words.map((word) => quote(word));
  const last = quoted.pop() ?? "";
  return quoted.length === 0 ? last : `${quoted.join(", ")} or ${last}`;
}

/** The path as the user reads it: `acl.allow_cn[1]`. Unusual keys are quoted. */
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

/** Longer names of variables are cut. */
const MAX_VARIABLE = 80;

/**
 * Where a problem is, as its line begins: `server.yaml:7:3: tls.min_version`, `server.yaml:1:1`, or
 * `environment: MTLSD_TLS_MIN_VERSION`.
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
