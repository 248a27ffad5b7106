/**
 * Waiting for conditions, never for a time.
 *
 * @module
 */

/** Settings of {@linkcode until}. */
export type UntilOptions = {
  /** What the error says did not happen. */
  readonly what?: () => string;
  /** Give up at once when this holds. */
  readonly failed?: () => boolean;
  /**
   * Milliseconds after which waiting is a failure; default 60 s. A busy machine takes ten times as long as
   * one at rest: this ends a test that hangs, and says nothing about speed.
   */
  readonly within?: number;
  /** Milliseconds between two polls; default 10. */
  readonly every?: number;
};

/**
 * Polls until `condition` gives something other than false, undefined or null. Options that are a string
 * are what the error says did not happen.
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  options: UntilOptions | string = {},
): Promise<NonNullable<Exclude<T, false>>> {
  const given = typeof options === "string" ? { what: () => options } : options;
  const { what = () => String(condition), failed = () => false, within = 60_000 } = given;
  const { every = 10 } = given;
  const deadline = performance.now() + within;
  for (;;) {
    const value = await condition();
    if (value !== undefined && value !== null && value !== false) {
      return value as NonNullable<Exclude<T, false>>;
    }
    if (failed()) throw new Error(`It will not happen: ${what()}`);
    if (performance.now() > deadline) throw new Error(`Waited ${within} ms for ${what()}`);
    await new Promise((done) => setTimeout(done, every));
  }
}

/**
 * How many milliseconds it takes; rejects once that is `limit` or more.
 *
 * The clock starts with the call, whenever the promise was made.
 */
export async function timed(
  limit: number,
  promise: Promise<unknown>,
  what: string | (() => string) = "it",
): Promise<number> {
  const said = () => typeof what === "string" ? what : what();
  const start = performance.now();
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`${said()} took over ${limit} ms`)), limit);
  try {
    await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
  const took = performance.now() - start;
  if (took >= limit) throw new Error(`${said()} took ${Math.round(took)} ms`);
  return took;
}

/** What the promise gives, which must be in less than `limit` milliseconds from now. */
export async function within<T>(limit: number, promise: Promise<T>): Promise<T> {
  await timed(limit, promise);
  return await promise;
}
