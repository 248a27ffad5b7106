/**
 * Reaching one of the targets of a tunnel: what plain and TLS far ends have in common.
 *
 * @module
 */

import type { Channel } from "../channel.ts";
import { formatAddress } from "../config/address.ts";
import type { Fields } from "../logging.ts";
import { DialError } from "../net.ts";
import type { Life } from "./lives.ts";
import { cutShort, type SessionMetrics, type Stopped } from "./session.ts";
import type { DialOne, Targets } from "./targets.ts";
import { NoTarget, type TargetFailure } from "./targets_failure.ts";

/** What it takes to reach a target. */
export type ReachDeps = {
  readonly targets: Targets;
  /** Whether there is another where one fails. */
  readonly several: boolean;
  readonly metrics: Pick<SessionMetrics, "dialFailed">;
};

/** Who reaches, for the log. */
export type Reacher = {
  /** `listener` or `dialer`. */
  readonly name: string;
  /** What a target is called there. */
  readonly field: "target" | "server";
  readonly fields: Fields;
};

/**
 * Tries targets until one takes the connection, which then counts as open there until `life` is over.
 * Tells of those that could not be dialled; of the rest `dialOne` has told.
 */
export async function reachOne<T extends { readonly channel: Channel }>(
  { targets, several, metrics }: ReachDeps,
  { name, field, fields }: Reacher,
  life: Life,
  dialOne: DialOne<T>,
): Promise<T | Stopped> {
  const { logger } = life;
  const onFailure = ({ kind, address, error }: TargetFailure) => {
    if (kind !== "dial") return;
    const told = { ...fields, [field]: formatAddress(address), error: error.message };
    if (several) logger.warn(`${name}: dial failed`, told);
    else logger.error(`${name}: dial failed`, told);
  };
  let opened: T | undefined;
  const dial: DialOne<T> = async (attempt) => opened = await dialOne(attempt);
  try {
    const reached = await targets.connect(dial, { signal: life.signal, onFailure });
    life.own(reached);
    return reached.value;
  } catch (error) {
    // A fault of ours came in between, and nobody else knows of this connection.
    opened?.channel.close();
    if (life.signal.aborted) return cutShort(life);
    if (error instanceof DialError && error.reason === "aborted") return cutShort(life);
    if (!(error instanceof NoTarget)) throw error;
    const { failures } = error;
    if (failures.some(({ kind }) => kind === "dial")) metrics.dialFailed();
    if (several) logger.error(`${name}: no target took the connection`, fields);
    const denied = failures.every(({ kind }) => kind === "denied");
    return { stopped: denied ? "denied" : "dial_failed" };
  }
}
