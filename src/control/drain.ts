/**
 * Drains one tunnel in bounded time.
 *
 * @module
 */

import type { Logger } from "../log/mod.ts";
import type { Tunnel } from "../proxy/tunnel.ts";

/** How a drain ended: all connections ended by themselves, or some had to be cut. */
export type Drained = "clean" | "cut";

/** Milliseconds to wait for steps that should end at once: cut connections, files, probes. */
export const GRACE = 2000;

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

/** Requests to stop the daemon. */
export type StopSignals = {
  /** Stop gracefully. */
  readonly stop: AbortSignal;
  /** Stop at once. */
  readonly hurry: AbortSignal;
};

/**
 * Waits for a start to finish. Once `stop` aborts, waits for at most {@linkcode GRACE}; once
 * `hurry` aborts, not at all. Returns whether the start has finished. If not, it continues and its
 * result is ignored.
 *
 * @throws the error of the start.
 */
export async function unlessStopped(
  start: Promise<void>,
  { stop, hurry }: StopSignals,
): Promise<boolean> {
  const { promise: enough, resolve } = Promise.withResolvers<boolean>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const onHurry = () => resolve(false);
  const onStop = () => timer ??= setTimeout(onHurry, GRACE);
  stop.addEventListener("abort", onStop, { once: true });
  hurry.addEventListener("abort", onHurry, { once: true });
  if (stop.aborted) onStop();
  if (hurry.aborted) onHurry();
  try {
    return await Promise.race([start.then(() => true), enough]);
  } finally {
    clearTimeout(timer);
    stop.removeEventListener("abort", onStop);
    hurry.removeEventListener("abort", onHurry);
  }
}

/** Waits for a promise for at most the given number of milliseconds. */
export async function within(promise: Promise<unknown>, milliseconds: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const enough = new Promise<void>((resolve) => timer = setTimeout(resolve, milliseconds));
  try {
    await Promise.race([promise, enough]);
  } finally {
    clearTimeout(timer);
  }
}
