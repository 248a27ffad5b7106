/**
 * Drains one tunnel in bounded time.
 *
 * @module
 */

import type { Logger } from "../log/mod.ts";
import type { Drained } from "../report.ts";
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
  const timers: ReturnType<typeof setTimeout>[] = [];
  const cut = () => {
    if (tunnel.active > 0) result = "cut";
    tunnel.cut();
    timers.push(setTimeout(() => {
      logger.error("connections did not end when they were cut", { active: tunnel.active });
      over.resolve();
    }, GRACE));
  };
  const drained = tunnel.drain();
  if (timeout > 0) timers.push(setTimeout(cut, timeout));
  hurry.addEventListener("abort", cut, { once: true });
  if (hurry.aborted) cut();
  await Promise.race([drained, over.promise]);
  for (const timer of timers) clearTimeout(timer);
  hurry.removeEventListener("abort", cut);
  return result;
}
