/**
 * Draining one tunnel in bounded time.
 *
 * @module
 */

import type { Logger } from "../logging.ts";
import type { Tunnel } from "../tunnel.ts";

/** How a drain came out: everything ended by itself, or it had to be cut. */
export type Drained = "clean" | "cut";

/** Milliseconds for what needs no time to be over: connections that were cut, files, probes. */
export const GRACE = 2000;

/** How long a drain may take. */
export type DrainLimits = {
  /** Milliseconds after which what is left is cut; 0 = never. */
  readonly timeout: number;
  /** Cuts what is left at once. */
  readonly hurry: AbortSignal;
};

/**
 * Stops accepting and waits for the connections within the limits. A connection
 * that does not heed the cut does not hold it up.
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

/** When somebody wants a daemon to stop. */
export type StopSignals = {
  /** It is to stop. */
  readonly stop: AbortSignal;
  /** At once. */
  readonly hurry: AbortSignal;
};

/**
 * Waits for a start, {@linkcode GRACE} at most once it is to stop, not at all once that is to be at once.
 * Whether it is over; a start that is not goes on, and how that ends is nobody's concern.
 *
 * @throws what the start throws.
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

/** Waits for a promise, but no longer than so many milliseconds. */
export async function within(promise: Promise<unknown>, milliseconds: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const enough = new Promise<void>((resolve) => timer = setTimeout(resolve, milliseconds));
  try {
    await Promise.race([promise, enough]);
  } finally {
    clearTimeout(timer);
  }
}
