/**
 * Options of the certificate store.
 *
 * @module
 */

import type { NonEmpty } from "../config/config.ts";
import type { Logger } from "../log/mod.ts";
import type { StoreMetrics } from "./announce.ts";
import { readBoundedFile, type ReadFile } from "./files.ts";
import { type FileSet, maxBytesIn, type StoreTunnel } from "./sets.ts";
import type { WatchTiming } from "./watch.ts";

/** Delays and intervals in milliseconds. */
export type StoreTiming = WatchTiming & {
  /**
   * How long a changed set of files may stay unloadable before it counts as a failure. Default
   * 1000.
   */
  readonly settle: number;
};

/** Options of a `CertStore`. */
export type CertStoreOptions = {
  /** The tunnels whose certificates the store holds. */
  readonly tunnels: NonEmpty<StoreTunnel>;
  readonly logger: Pick<Logger, "debug" | "info" | "warn" | "error">;
  readonly metrics: StoreMetrics;
  /**
   * Called in the same turn of the event loop in which new material takes effect. If it throws, the
   * store restores the previous material; the callee must undo its own changes.
   */
  readonly onSwap?: () => void;
  /** Milliseconds since the epoch; default `Date.now`. */
  readonly now?: () => number;
  /** Default {@linkcode readBoundedFile}. */
  readonly readFile?: ReadFile;
  readonly timing?: Partial<StoreTiming>;
};

/** Reads each file up to the maximum size for its kind. */
export function readerOf(
  sets: readonly FileSet[],
  { readFile = readBoundedFile }: CertStoreOptions,
): ReadFile {
  return (path) => readFile(path, maxBytesIn(sets, path));
}
