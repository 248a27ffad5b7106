/**
 * Waits that end at a time limit or when a signal aborts.
 *
 * Every function here removes its listener and its timer as soon as the wait is over, so a signal
 * that lives as long as the process does not collect listeners. A signal that has aborted before
 * the call counts as well. Functions that return a `Disposable` are meant for `using`:
 *
 * ```ts
 * using _limit = onceExpired({ timeout: 5000, signal }, () => conn.close());
 * await conn.read();
 * ```
 *
 * @module
 */

/** How long a step may take. */
export type TimeLimits = {
  /** Milliseconds from now. The runtime treats more than 2^31 - 1, about 25 days, as 1. */
  readonly timeout: number;
  /** Ends the step early. */
  readonly signal?: AbortSignal | undefined;
};

/** Which of the {@linkcode TimeLimits} was reached. */
export type Expired = "timeout" | "aborted";

/**
 * Calls `callback` once when `signal` aborts, or before it returns if that has happened already.
 * Without a signal it never does. Disposing removes the listener.
 */
export function onceAborted(signal: AbortSignal | undefined, callback: () => void): Disposable {
  if (signal === undefined) return NOTHING;
  if (signal.aborted) {
    callback();
    return NOTHING;
  }
  // A separate function, because `addEventListener` ignores one that is registered already.
  const listener = (): void => callback();
  signal.addEventListener("abort", listener, { once: true });
  return { [Symbol.dispose]: () => signal.removeEventListener("abort", listener) };
}

/** Calls `callback` after `ms` milliseconds. Disposing cancels that. */
export function onceElapsed(ms: number, callback: () => void): Disposable {
  const timer = setTimeout(callback, ms);
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}

/**
 * Calls `callback` once with the first limit that is reached, or before it returns if `signal` has
 * aborted already. Disposing cancels that.
 */
export function onceExpired(
  { timeout, signal }: TimeLimits,
  callback: (limit: Expired) => void,
): Disposable {
  if (signal?.aborted) {
    callback("aborted");
    return NOTHING;
  }
  const cancel = (): void => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  };
  const onAbort = (): void => {
    cancel();
    callback("aborted");
  };
  const timer = setTimeout(() => {
    cancel();
    callback("timeout");
  }, timeout);
  signal?.addEventListener("abort", onAbort);
  return { [Symbol.dispose]: cancel };
}

/** A signal that aborts at the first limit that is reached. Disposing cancels that. */
export function expiringSignal(limits: TimeLimits): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  const limit = onceExpired(limits, () => controller.abort());
  return { signal: controller.signal, [Symbol.dispose]: () => limit[Symbol.dispose]() };
}

/** Waits for `ms` milliseconds, or until `signal` aborts. Never rejects. */
export function delay(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    onceExpired({ timeout: ms, signal }, () => resolve());
  });
}

/**
 * Waits for `promise`, but only until `signal` aborts: then the result is `undefined`, and what
 * `promise` does later is ignored.
 *
 * @throws what `promise` rejects with before that.
 */
export async function unlessAborted<T>(
  promise: Promise<T>,
  signal: AbortSignal,
): Promise<T | undefined> {
  const { promise: aborted, resolve } = Promise.withResolvers<undefined>();
  using _listener = onceAborted(signal, () => resolve(undefined));
  return await Promise.race([aborted, promise]);
}

/**
 * Waits for `promise`, but for at most `ms` milliseconds: then the result is `undefined`, and what
 * `promise` does later is ignored.
 *
 * @throws what `promise` rejects with before that.
 */
export async function unlessElapsed<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  const { promise: elapsed, resolve } = Promise.withResolvers<undefined>();
  using _timer = onceElapsed(ms, () => resolve(undefined));
  return await Promise.race([promise, elapsed]);
}

const NOTHING: Disposable = { [Symbol.dispose]: () => {} };
