/**
 * Which key of the config an address comes from that cannot be listened on.
 *
 * @module
 */

import type { KeyPath } from "../config/problem.ts";
import { ListenError } from "../net.ts";

/** Where an address to listen on is set. */
export type ListenKey = {
  /** The name of the tunnel; `undefined` for the only one, and for what is no tunnel's. */
  readonly tunnel: string | undefined;
  /** Such as `["listen"]` or `["health", "listen"]`. */
  readonly path: KeyPath;
};

/** An address of the config that cannot be listened on. */
export class ConfigListenError extends ListenError {
  /** Where it is set. */
  readonly key: ListenKey;

  /** The same error, of that key. */
  constructor(key: ListenKey, { reason, message, cause }: ListenError) {
    super(reason, message, { cause });
    this.key = key;
  }
}

/**
 * What listens on the address of the key.
 *
 * @throws {ConfigListenError} where that fails; anything else as it is.
 */
export async function listeningFor<T>(key: ListenKey, starting: Promise<T>): Promise<T> {
  try {
    return await starting;
  } catch (error) {
    throw error instanceof ListenError ? new ConfigListenError(key, error) : error;
  }
}
