/**
 * One end of a tunnel, of any product.
 *
 * @module
 */

import type { PkiFiles } from "../support/pki.ts";

/** One end of a tunnel to set up. */
export type Side = {
  readonly mode: "server" | "client";
  /** Ports of 127.0.0.1. */
  readonly listen: number;
  readonly target: number;
  readonly files: PkiFiles;
  /** In place of the CA of `files`. */
  readonly ca?: string | undefined;
  /** A revocation list; mtlsd only. */
  readonly crl?: string | undefined;
  /** A directory of its own for whatever it needs. */
  readonly dir: string;
  /** Most connections at once. */
  readonly connections: number;
};

/** How to run one end. */
export type Setup = {
  readonly argv: readonly string[];
  /** Where to run it. */
  readonly cwd: string;
};

/** After so long without a byte every subject closes a connection; no measure takes as long. */
export const IDLE_TIMEOUT = "10m";
