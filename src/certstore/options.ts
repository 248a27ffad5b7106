/**
 * What the certificate store works with.
 *
 * @module
 */

import type { NonEmpty } from "../config/config.ts";
import type { Logger } from "../logging.ts";
import type { StoreMetrics } from "./announce.ts";
import { readBoundedFile, type ReadFile } from "./files.ts";
import { type FileSet, maxBytesIn, type StoreTunnel } from "./sets.ts";
import type { WatchTiming } from "./watch.ts";

/** How long things may take; milliseconds. */
export type StoreTiming = WatchTiming & {
  /** A watched change that cannot be loaded counts as failed after this long. Default 1000. */
  readonly settle: number;
};

/** What a `CertStore` works with. */
export type CertStoreOptions = {
  /** Those whose certificates it holds. */
  readonly tunnels: NonEmpty<StoreTunnel>;
  readonly logger: Pick<Logger, "debug" | "info" | "warn" | "error">;
  readonly metrics: StoreMetrics;
  /**
   * Called in the same turn in which new materials come into force. If it throws, the previous ones
   * are in force again; what it has made of the new ones it has to take back itself.
   */
  readonly onSwap?: () => void;
  /** Milliseconds since the epoch; default `Date.now`. */
  readonly now?: () => number;
  /** Default {@linkcode readBoundedFile}. */
  readonly readFile?: ReadFile;
  readonly timing?: Partial<StoreTiming>;
};

/** Reads each file as far as its kind may go. */
export function readerOf(
  sets: readonly FileSet[],
  { readFile = readBoundedFile }: CertStoreOptions,
): ReadFile {
  return (path) => readFile(path, maxBytesIn(sets, path));
}
