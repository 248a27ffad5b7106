/**
 * Types of a reload: its trigger, its outcome, and the other steps that take part in it.
 *
 * @module
 */

import type { Fields } from "../log/mod.ts";
import { messageOf } from "../util/errors.ts";

/** What triggered the reload. */
export type ReloadTrigger = "watch" | "signal";

/** The outcome of a reload; `unchanged` if there was nothing to do. */
export type ReloadOutcome = "success" | "failure" | "unchanged";

/** The last reload, for `/certz`. All fields are `undefined` before the first one. */
export type ReloadStatus = {
  /** ISO 8601, UTC. */
  readonly time: string | undefined;
  /**
   * Also `failure` if that reload succeeded but a config change from an earlier one is still
   * pending.
   */
  readonly result: "success" | "failure" | undefined;
  /** One line; `undefined` after a success. */
  readonly error: string | undefined;
};

/** What other parts of a reload have read, before it takes effect. */
export type Prepared = {
  /** The changes that `commit` makes, one text per config key: `acl.allow_cn: 1 → 2 rules`. */
  readonly changes: readonly string[];
  /**
   * The changes in the file that do not take effect, in the same form: `target: needs a restart`.
   */
  readonly kept: readonly string[];
  /** Applies the changes. Must not throw. */
  readonly commit: () => void;
};

/**
 * Parses another part of the reload; may fail. It runs even if the certificates cannot be loaded,
 * so that all errors are logged.
 */
export type Prepare = () => Promise<Prepared>;

/** The result of a {@linkcode Prepare}. */
export type Preparation =
  | ({ readonly ok: true } & Prepared)
  | { readonly ok: false; readonly error: unknown };

const NOTHING: Prepared = { changes: [], kept: [], commit: () => {} };

/** Runs `prepare`, if given; never rejects. */
export async function runPrepare(prepare: Prepare | undefined): Promise<Preparation> {
  try {
    return { ok: true, ...(await prepare?.() ?? NOTHING) };
  } catch (error) {
    return { ok: false, error };
  }
}

/**
 * Config changes that are not in effect, as of the last reload that read the config. Reloads of
 * certificates alone do not change this.
 */
export type PendingChanges = {
  /** One line, for `/certz`. */
  readonly error: string;
  /** Log lines, written at once and again after every later reload. */
  readonly lines: readonly { readonly message: string; readonly fields: Fields }[];
};

/** The changes that a reload leaves out. `committed` says whether its other changes took effect. */
export function pendingChangesOf(
  prepared: Preparation,
  committed: boolean,
): PendingChanges | undefined {
  if (!prepared.ok) {
    const error = oneLine([prepared.error]);
    return { error, lines: [{ message: NOT_TAKEN, fields: { error } }] };
  }
  const waiting = committed
    ? []
    : prepared.changes.map((change) => `${change}, not in force: send SIGHUP again`);
  const { kept } = prepared;
  if (waiting.length + kept.length === 0) return undefined;
  return {
    error: [...kept, ...waiting].join("; "),
    lines: [...linesOf(NEEDS_RESTART, kept), ...linesOf(NOT_TAKEN, waiting)],
  };
}

const NEEDS_RESTART = "the config has changes that need a restart";
const NOT_TAKEN = "the config as it was read last is not in force";

/** Maximum length of the texts on one line; the log truncates at 1024 UTF-16 units. */
const MAX_LINE = 900;

/** Splits the texts over several lines so that none is truncated. */
function linesOf(message: string, texts: readonly string[]): PendingChanges["lines"] {
  const lines: string[] = [];
  for (const text of texts) {
    const last = lines.at(-1);
    if (last === undefined || last.length + text.length > MAX_LINE) lines.push(text);
    else lines[lines.length - 1] = `${last}; ${text}`;
  }
  return lines.map((keys) => ({ message, fields: { keys } }));
}

/** The messages of several errors, on one line. */
export function oneLine(errors: readonly unknown[]): string {
  return errors
    .map(messageOf)
    .map((text) => text.trim().replaceAll(/\s*[\r\n]+\s*/g, "; "))
    .join("; ");
}
