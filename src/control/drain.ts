/**
 * Time limits of a stop.
 *
 * @module
 */

/** Milliseconds to wait for steps that should end at once: cut connections, files, probes. */
export const GRACE = 2000;

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
