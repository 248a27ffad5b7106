/**
 * Waits end at the first limit, once, and leave neither a timer nor a listener behind. Deno's test
 * runner fails a test that leaves a timer.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  delay,
  expiringSignal,
  onceAborted,
  onceElapsed,
  onceExpired,
  unlessAborted,
  unlessElapsed,
} from "../../../src/util/abort.ts";

/** Longer than any test runs. */
const NEVER = 1_000_000;

/** Counts the "abort" listeners of a signal that are registered through it. */
class CountedSignal {
  readonly #controller = new AbortController();
  readonly signal = this.#controller.signal;
  readonly #listeners = new Set<unknown>();

  constructor() {
    const { signal } = this;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (type: string, listener: EventListener, options?: object) => {
      this.#listeners.add(listener);
      add(type, listener, options);
    };
    signal.removeEventListener = (type: string, listener: EventListener) => {
      this.#listeners.delete(listener);
      remove(type, listener);
    };
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  abort(): void {
    this.#controller.abort(new Error("told to"));
  }
}

Deno.test("onceAborted: calls back once, and not after disposal", () => {
  const calls: string[] = [];
  const kept = new AbortController();
  const first = onceAborted(kept.signal, () => calls.push("kept"));
  kept.abort();
  kept.abort();
  first[Symbol.dispose]();
  const disposed = new CountedSignal();
  onceAborted(disposed.signal, () => calls.push("disposed"))[Symbol.dispose]();
  assert.equal(disposed.listeners, 0);
  disposed.abort();
  assert.deepEqual(calls, ["kept"]);
});

Deno.test("onceAborted: one function can be registered twice", () => {
  const controller = new AbortController();
  let calls = 0;
  const callback = () => calls++;
  const first = onceAborted(controller.signal, callback);
  onceAborted(controller.signal, callback);
  first[Symbol.dispose]();
  controller.abort();
  assert.equal(calls, 1);
});

Deno.test("onceAborted: an aborted signal calls back at once, no signal never", () => {
  const calls: string[] = [];
  onceAborted(AbortSignal.abort(), () => calls.push("aborted"))[Symbol.dispose]();
  onceAborted(undefined, () => calls.push("none"))[Symbol.dispose]();
  assert.deepEqual(calls, ["aborted"]);
});

Deno.test("onceElapsed: calls back, but not after disposal", async () => {
  const calls: string[] = [];
  const disposed = onceElapsed(1, () => calls.push("disposed"));
  disposed[Symbol.dispose]();
  await new Promise<void>((resolve) => onceElapsed(2, resolve));
  assert.deepEqual(calls, []);
});

Deno.test("onceExpired: the first limit counts, and both are cancelled by it", async () => {
  const early = new CountedSignal();
  const limits: string[] = [];
  onceExpired({ timeout: NEVER, signal: early.signal }, (limit) => limits.push(limit));
  assert.equal(early.listeners, 1);
  early.abort();
  assert.equal(early.listeners, 0);
  const late = new CountedSignal();
  const limit = await new Promise((resolve) =>
    onceExpired({ timeout: 1, signal: late.signal }, resolve)
  );
  late.abort();
  assert.deepEqual([...limits, limit], ["aborted", "timeout"]);
  assert.equal(late.listeners, 0);
});

Deno.test("onceExpired: disposing cancels both limits", async () => {
  const signal = new CountedSignal();
  let calls = 0;
  onceExpired({ timeout: 1, signal: signal.signal }, () => calls++)[Symbol.dispose]();
  assert.equal(signal.listeners, 0);
  signal.abort();
  await delay(2);
  assert.equal(calls, 0);
});

Deno.test("onceExpired: an aborted signal calls back at once, without a timer", () => {
  const limits: string[] = [];
  const signal = AbortSignal.abort();
  onceExpired({ timeout: NEVER, signal }, (limit) => limits.push(limit));
  assert.deepEqual(limits, ["aborted"]);
});

Deno.test("onceExpired: works without a signal", async () => {
  const limit = await new Promise((resolve) => onceExpired({ timeout: 1 }, resolve));
  assert.equal(limit, "timeout");
});

Deno.test("expiringSignal: aborts at either limit, and not after disposal", async () => {
  const outer = new AbortController();
  const byAbort = expiringSignal({ timeout: NEVER, signal: outer.signal });
  const disposed = expiringSignal({ timeout: 1, signal: outer.signal });
  disposed[Symbol.dispose]();
  outer.abort();
  assert.equal(byAbort.signal.aborted, true);
  assert.equal(expiringSignal({ timeout: NEVER, signal: outer.signal }).signal.aborted, true);
  const byTime = expiringSignal({ timeout: 1 });
  await new Promise<void>((resolve) => onceAborted(byTime.signal, resolve));
  await delay(2);
  assert.equal(disposed.signal.aborted, false);
});

Deno.test("delay: ends at its time, at the abort, and at once when aborted", async () => {
  const signal = new CountedSignal();
  await delay(1, signal.signal);
  assert.equal(signal.listeners, 0);
  const waiting = delay(NEVER, signal.signal);
  assert.equal(signal.listeners, 1);
  signal.abort();
  await waiting;
  assert.equal(signal.listeners, 0);
  await delay(NEVER, signal.signal);
});

Deno.test("unlessAborted: the promise's result, or nothing after the abort", async () => {
  const signal = new CountedSignal();
  assert.equal(await unlessAborted(Promise.resolve("result"), signal.signal), "result");
  await assert.rejects(unlessAborted(Promise.reject(new Error("failed")), signal.signal), /failed/);
  assert.equal(signal.listeners, 0);
  const { promise, reject } = Promise.withResolvers<string>();
  const waiting = unlessAborted(promise, signal.signal);
  signal.abort();
  assert.equal(await waiting, undefined);
  assert.equal(signal.listeners, 0);
  // Not an unhandled rejection: the result was given up.
  reject(new Error("too late"));
  assert.equal(await unlessAborted(Promise.resolve("result"), signal.signal), undefined);
});

Deno.test("unlessElapsed: the promise's result, or nothing after the time", async () => {
  assert.equal(await unlessElapsed(Promise.resolve("result"), NEVER), "result");
  await assert.rejects(unlessElapsed(Promise.reject(new Error("failed")), NEVER), /failed/);
  const { promise, reject } = Promise.withResolvers<string>();
  assert.equal(await unlessElapsed(promise, 1), undefined);
  reject(new Error("too late"));
});
