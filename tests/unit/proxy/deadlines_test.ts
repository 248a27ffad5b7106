import assert from "node:assert/strict";
import { Deadlines, LONGEST_SLEEP } from "../../../src/proxy/deadlines.ts";
import { FakeClock } from "../../support/fake_clock.ts";

const YEARS = 10 * 365 * 86_400_000;

function start() {
  const clock = new FakeClock();
  const done: string[] = [];
  const due = (item: string) => void done.push(item);
  const { now, setTimer } = clock;
  return { clock, done, deadlines: new Deadlines<string>({ now, setTimer, due }) };
}

Deno.test("deadlines: each item is due at its time, once", async () => {
  const { clock, done, deadlines } = start();
  deadlines.set("second", clock.time + 300);
  deadlines.set("first", clock.time + 100);
  deadlines.set("third", clock.time + 5000);
  await clock.advance(99);
  assert.deepEqual(done, []);
  await clock.advance(1);
  assert.deepEqual(done, ["first"]);
  await clock.advance(200);
  assert.deepEqual(done, ["first", "second"]);
  assert.equal(deadlines.size, 1);
  await clock.advance(60_000);
  assert.deepEqual(done, ["first", "second", "third"]);
  assert.equal(deadlines.size, 0);
  assert.equal(clock.timers, 0, "nothing to wait for, no timer");
});

Deno.test("deadlines: ten years do not overflow a timer", async () => {
  const { clock, done, deadlines } = start();
  deadlines.set("root", clock.time + YEARS);
  deadlines.set("never", Infinity);
  await clock.advance(3000);
  assert.deepEqual(done, []);
  assert.equal(clock.longest, LONGEST_SLEEP);
  clock.time += YEARS - 3000;
  await clock.advance(LONGEST_SLEEP);
  assert.deepEqual(done, ["root"]);
  deadlines.delete("never");
  assert.equal(clock.timers, 0);
});

Deno.test("deadlines: ten years with the runtime's timer", async () => {
  const done: string[] = [];
  const deadlines = new Deadlines<string>({ now: Date.now, due: (item) => void done.push(item) });
  deadlines.set("root", Date.now() + YEARS);
  const soon = Promise.withResolvers<void>();
  const other = new Deadlines<string>({ now: Date.now, due: () => soon.resolve() });
  other.set("soon", Date.now() + 50);
  await soon.promise;
  assert.deepEqual(done, []);
  deadlines.delete("root");
});

Deno.test("deadlines: a clock that is set forwards is noticed within a second", async () => {
  const { clock, done, deadlines } = start();
  deadlines.set("tomorrow", clock.time + 86_400_000);
  await clock.advance(1);
  // The clock on the wall jumps; timers run on.
  const { time } = clock;
  const jump = new Deadlines<string>({
    now: () => clock.time + 86_400_000,
    setTimer: clock.setTimer,
    due: (item) => void done.push(item),
  });
  jump.set("today", time + 86_400_000 + 50);
  await clock.advance(50);
  assert.deepEqual(done, ["today"]);
  clock.time += 86_400_000;
  await clock.advance(LONGEST_SLEEP);
  assert.deepEqual(done, ["today", "tomorrow"]);
});

Deno.test("deadlines: the last time that was set counts, and delete calls off", async () => {
  const { clock, done, deadlines } = start();
  deadlines.set("moved", clock.time + 100);
  deadlines.set("moved", clock.time + 900);
  deadlines.set("gone", clock.time + 100);
  deadlines.delete("gone");
  deadlines.delete("never there");
  await clock.advance(899);
  assert.deepEqual(done, []);
  deadlines.set("moved", clock.time + 50);
  await clock.advance(50);
  assert.deepEqual(done, ["moved"]);
});

Deno.test("deadlines: what is past is due soon, and what is due may be set again", async () => {
  const { clock, done } = start();
  const again = new Deadlines<string>({
    now: clock.now,
    setTimer: clock.setTimer,
    due: (item) => {
      done.push(item);
      if (done.length < 5) again.set(item, clock.time);
      // Whom another takes off the list in the same turn is not due any more.
      again.delete("bystander");
    },
  });
  again.set("eager", clock.time - 1000);
  again.set("bystander", clock.time - 1000);
  await clock.advance(1000);
  assert.deepEqual(done, Array(5).fill("eager"));
  assert.ok(clock.fired < 10, `${clock.fired} timers for 5`);
  assert.equal(again.size, 0);
});

Deno.test("deadlines: thousands that are due at once take one timer", async () => {
  const { clock, done, deadlines } = start();
  for (let i = 0; i < 5000; i++) deadlines.set(`${i}`, clock.time + 100 + i / 1000);
  await clock.advance(200);
  assert.equal(done.length, 5000);
  assert.ok(clock.fired <= 3, `${clock.fired}`);
});
