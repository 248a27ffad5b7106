/**
 * The debugger is closed in every turn of the event loop while Deno may open it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { guardSignals } from "../../../src/control/inspector.ts";
import type { SignalPlatform } from "../../../src/control/signals.ts";
import { until } from "../../support/wait.ts";

function platform(os: typeof Deno.build.os) {
  const listeners = new Map<Deno.Signal, () => void>();
  const system: SignalPlatform = {
    build: { os },
    addSignalListener: (signal, handler) => void listeners.set(signal, handler),
    removeSignalListener: () => assert.fail("the guard is never given back"),
  };
  return { system, listeners };
}

/** Waits until nothing is closed any more: for as long as it was said to go on, and then some turns. */
async function settled(count: () => number): Promise<void> {
  let before = -1;
  await until(() => {
    const now = count();
    const same = now === before;
    before = now;
    return same;
  }, { every: 400 });
}

Deno.test("inspector: it is closed at the start, and in each turn after a signal, for a while", async () => {
  const { system, listeners } = platform("linux");
  let closes = 0;
  guardSignals(system, () => closes++);
  assert.deepEqual([...listeners.keys()], ["SIGUSR1", "SIGUSR2"]);
  assert.equal(closes, 1, "what is open already");
  await settled(() => closes);
  const atStart = closes;
  assert.ok(atStart > 1000, `${atStart}`);

  for (let signal = 0; signal < 3; signal++) {
    const before: number = closes;
    listeners.get("SIGUSR1")?.();
    assert.equal(closes, before + 1, "in the turn in which it is heard");
    for (let turn = 1; turn <= 20; turn++) {
      await setImmediate();
      // Never a turn without one, and one run of closes however many signals came.
      assert.ok(closes - before >= turn, `${closes - before} in ${turn}`);
    }
  }
  await settled(() => closes);
  listeners.get("SIGUSR2")?.();
  const after = closes;
  await settled(() => closes);
  assert.equal(closes, after);
});

Deno.test("inspector: Windows has no such signals, and the guard asks for none", () => {
  const { system, listeners } = platform("windows");
  guardSignals(system, () => assert.fail("nothing to close"));
  assert.equal(listeners.size, 0);
});
