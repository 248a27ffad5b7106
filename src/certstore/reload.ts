/**
 * The words of a reload: who asked, how it came out, and what else takes part in it.
 *
 * @module
 */

import type { Fields } from "../logging.ts";

/** Who asked for a reload. */
export type ReloadTrigger = "watch" | "signal";

/** How a reload came out; `unchanged` when there was nothing to do. */
export type ReloadOutcome = "success" | "failure" | "unchanged";

/** The last reload, for `/certz`; all `undefined` before the first one. */
export type ReloadStatus = {
  /** ISO 8601, UTC. */
  readonly time: string | undefined;
  /** `failure` also where that reload went well and what an earlier one left out is still left out. */
  readonly result: "success" | "failure" | undefined;
  /** One line; `undefined` after a success. */
  readonly error: string | undefined;
};

/** What else a reload has read, before it is in force. */
export type Prepared = {
  /** What `commit` changes, a text for each key: `acl.allow_cn: 1 → 2 rules`. */
  readonly changes: readonly string[];
  /** What stays as it is although the file says otherwise, the same: `target: needs a restart`. */
  readonly kept: readonly string[];
  /** Puts the changes in force. Must not fail. */
  readonly commit: () => void;
};

/**
 * What else is part of a reload: parses it, which may fail. Runs even where the certificates cannot be
 * loaded, so that all that is wrong is logged.
 */
export type Prepare = () => Promise<Prepared>;

/** How a {@linkcode Prepare} ended. */
export type Preparation =
  | ({ readonly ok: true } & Prepared)
  | { readonly ok: false; readonly error: unknown };

const NOTHING: Prepared = { changes: [], kept: [], commit: () => {} };

/** Runs `prepare`, if there is one; never rejects. */
export async function runPrepare(prepare: Prepare | undefined): Promise<Preparation> {
  try {
    return { ok: true, ...(await prepare?.() ?? NOTHING) };
  } catch (error) {
    return { ok: false, error };
  }
}

/**
 * What the config says and is not in force, since the last reload that read it. It stands until another
 * one has: certificates that are reloaded meanwhile do not change it.
 */
export type Leftover = {
  /** One line, for `/certz`. */
  readonly error: string;
  /** What is logged of it: at once, and again with every later reload. */
  readonly lines: readonly { readonly message: string; readonly fields: Fields }[];
};

/** What a reload leaves out; `committed`: whether the changes are in force. */
export function leftoverOf(prepared: Preparation, committed: boolean): Leftover | undefined {
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

/** The longest text of one line; the log cuts at 1024 UTF-16 units. */
const MAX_LINE = 900;

/** As many lines as it takes for each text to be read whole. */
function linesOf(message: string, texts: readonly string[]): Leftover["lines"] {
  const lines: string[] = [];
  for (const text of texts) {
    const last = lines.at(-1);
    if (last === undefined || last.length + text.length > MAX_LINE) lines.push(text);
    else lines[lines.length - 1] = `${last}; ${text}`;
  }
  return lines.map((keys) => ({ message, fields: { keys } }));
}

/** What errors say, on one line. */
export function oneLine(errors: readonly unknown[]): string {
  return errors
    .map((error) => error instanceof Error ? error.message : String(error))
    .map((text) => text.trim().replaceAll(/\s*[\r\n]+\s*/g, "; "))
    .join("; ");
}
