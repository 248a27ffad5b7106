/**
 * Connects to one of a tunnel's targets: what plain and TLS upstreams have in common.
 *
 * @module
 */

import type { Conn } from "../net/conn.ts";
import { formatAddress } from "../config/address.ts";
import type { Fields } from "../log/mod.ts";
import { DialError } from "../net/mod.ts";
import type { Connection } from "./connection_table.ts";
import { cutShort, type SessionMetrics, type Stopped } from "./pipeline.ts";
import type { DialOne, LoadBalancer } from "./load_balancer.ts";
import { NoTarget, type TargetFailure } from "./target_failure.ts";

/** Dependencies of {@linkcode reachOne}. */
export type ReachDeps = {
  readonly targets: LoadBalancer;
  /** Whether the tunnel has more than one target. */
  readonly several: boolean;
  readonly metrics: Pick<SessionMetrics, "dialFailed">;
};

/** How the log lines name the dialling side. */
export type Reacher = {
  /** `listener` or `dialer`. */
  readonly name: string;
  /** The name of the target's log field. */
  readonly field: "target" | "server";
  readonly fields: Fields;
};

/**
 * Tries targets until one accepts the connection, which then counts as open there until `life` is
 * over. Logs the targets that could not be dialled; `dialOne` has logged the other failures.
 */
export async function reachOne<T extends { readonly conn: Conn }>(
  { targets, several, metrics }: ReachDeps,
  { name, field, fields }: Reacher,
  connection: Connection,
  dialOne: DialOne<T>,
): Promise<T | Stopped> {
  const { logger } = connection;
  const onFailure = ({ kind, address, error }: TargetFailure) => {
    if (kind !== "dial") return;
    const line = { ...fields, [field]: formatAddress(address), error: error.message };
    if (several) logger.warn(`${name}: dial failed`, line);
    else logger.error(`${name}: dial failed`, line);
  };
  let opened: T | undefined;
  const dial: DialOne<T> = async (attempt) => opened = await dialOne(attempt);
  try {
    const reached = await targets.connect(dial, { signal: connection.signal, onFailure });
    connection.own(reached);
    return reached.value;
  } catch (error) {
    // Our code failed in between, and no other code has a reference to this connection.
    opened?.conn.close();
    if (connection.signal.aborted) return cutShort(connection);
    if (error instanceof DialError && error.reason === "aborted") return cutShort(connection);
    if (!(error instanceof NoTarget)) throw error;
    const { failures } = error;
    if (failures.some(({ kind }) => kind === "dial")) metrics.dialFailed();
    if (several) logger.error(`${name}: no target took the connection`, fields);
    const denied = failures.every(({ kind }) => kind === "denied");
    return { stopped: denied ? "denied" : "dial_failed" };
  }
}
