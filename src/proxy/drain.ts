/**
 * Drains one tunnel in bounded time.
 *
 * @module
 */

import type { Logger } from "../log/mod.ts";
import type { Drained } from "../report.ts";
import { onceAborted, onceElapsed } from "../util/abort.ts";
import type { Tunnel } from "./tunnel.ts";

/** Milliseconds until connections that were cut should have ended. */
const GRACE = 2000;

/** The limits of a drain. */
export type DrainLimits = {
  /** Milliseconds after which the remaining connections are cut; 0 = never. */
  readonly timeout: number;
  /** Cuts the remaining connections at once. */
  readonly hurry: AbortSignal;
};

/**
 * Stops accepting and waits for the connections within the limits. A connection that does not end
 * when it is cut does not delay the result.
 */
export async function drainTunnel(
  tunnel: Pick<Tunnel, "active" | "drain" | "cut">,
  { timeout, hurry }: DrainLimits,
  logger: Logger,
): Promise<Drained> {
  let result: Drained = "clean";
  const over = Promise.withResolvers<void>();
  using limits = new DisposableStack();
  const cut = () => {
    if (tunnel.active > 0) result = "cut";
    tunnel.cut();
    limits.use(onceElapsed(GRACE, () => {
      logger.error("connections did not end when they were cut", { active: tunnel.active });
      over.resolve();
    }));
  };
  const drained = tunnel.drain();
  if (timeout > 0) limits.use(onceElapsed(timeout, cut));
  limits.use(onceAborted(hurry, cut));
  await Promise.race([drained, over.promise]);
  return result;
}
