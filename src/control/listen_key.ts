/**
 * Adds the config key to errors about addresses that cannot be listened on.
 *
 * @module
 */

import type { KeyPath } from "../config/problem.ts";
import { ListenError } from "../net/mod.ts";

/** The config key of a listen address. */
export type ListenKey = {
  /** The name of the tunnel; `undefined` for a single tunnel, and for keys outside of tunnels. */
  readonly tunnel: string | undefined;
  /** For example `["listen"]` or `["health", "listen"]`. */
  readonly path: KeyPath;
};

/** An address of the config cannot be listened on. */
export class ConfigListenError extends ListenError {
  /** The key that sets the address. */
  readonly key: ListenKey;

  /** Wraps an error with its key. */
  constructor(key: ListenKey, { reason, message, cause }: ListenError) {
    super(reason, message, { cause });
    this.key = key;
  }
}

/**
 * Waits for a listener to start, and adds the key to its error.
 *
 * @throws {ConfigListenError} for a {@linkcode ListenError}; other errors are passed on.
 */
export async function listeningFor<T>(key: ListenKey, starting: Promise<T>): Promise<T> {
  try {
    return await starting;
  } catch (error) {
    throw error instanceof ListenError ? new ConfigListenError(key, error) : error;
  }
}
