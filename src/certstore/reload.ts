/**
 * The words of a reload: who asked, how it came out, and what else takes part in it.
 *
 * @module
 */

/** Who asked for a reload. */
export type ReloadTrigger = "watch" | "signal";

/** How a reload came out; `unchanged` when there was nothing to do. */
export type ReloadOutcome = "success" | "failure" | "unchanged";

/** The last reload, for `/certz`; all `undefined` before the first one. */
export type ReloadStatus = {
  /** ISO 8601, UTC. */
  readonly time: string | undefined;
  readonly result: "success" | "failure" | undefined;
  /** One line; `undefined` after a success. */
  readonly error: string | undefined;
};

/**
 * What else is part of a reload: parses it, which may fail, and returns what puts it in force, which
 * must not. Runs even where the certificates cannot be loaded, so that all that is wrong is told.
 */
export type Prepare = () => Promise<() => void>;

/** How `prepare` came out. */
export type Prepared =
  | { readonly ok: true; readonly commit: (() => void) | undefined }
  | { readonly ok: false; readonly error: unknown };

/** Runs `prepare`, if there is one; never rejects. */
export async function runPrepare(prepare: Prepare | undefined): Promise<Prepared> {
  try {
    return { ok: true, commit: await prepare?.() };
  } catch (error) {
    return { ok: false, error };
  }
}

/** What errors say, on one line. */
export function oneLine(errors: readonly unknown[]): string {
  return errors
    .map((error) => error instanceof Error ? error.message : String(error))
    .map((text) => text.trim().replaceAll(/\s*[\r\n]+\s*/g, "; "))
    .join("; ");
}
