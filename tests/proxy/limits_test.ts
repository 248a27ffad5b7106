import assert from "node:assert/strict";
import { Slots } from "../../src/proxy/limits.ts";

Deno.test("slots: at most so many are out, the rest wait in order", async () => {
  const slots = new Slots(2);
  const first = await slots.acquire();
  await slots.acquire();
  const order: string[] = [];
  const third = slots.acquire().then((slot) => (order.push("third"), slot));
  const fourth = slots.acquire().then((slot) => (order.push("fourth"), slot));
  await Promise.resolve();
  assert.deepEqual(order, []);
  assert.equal(slots.taken, 2);
  first.release();
  (await third).release();
  await fourth;
  assert.deepEqual(order, ["third", "fourth"]);
  assert.equal(slots.taken, 2);
});

Deno.test("slots: giving one back twice frees one", async () => {
  const slots = new Slots(1);
  const slot = await slots.acquire();
  slot.release();
  slot[Symbol.dispose]();
  assert.equal(slots.taken, 0);
  {
    using _held = await slots.acquire();
    assert.equal(slots.taken, 1);
  }
  assert.equal(slots.taken, 0);
});

Deno.test("slots: an aborted wait takes none and holds nobody up", async () => {
  const slots = new Slots(1);
  const held = await slots.acquire();
  const abort = new AbortController();
  const given = slots.acquire(abort.signal);
  const patient = slots.acquire();
  abort.abort("gone");
  await assert.rejects(given, (reason) => reason === "gone");
  await assert.rejects(slots.acquire(abort.signal), (reason) => reason === "gone");
  held.release();
  (await patient).release();
  assert.equal(slots.taken, 0);
});

Deno.test("slots: a slot that was given stays given when the signal aborts later", async () => {
  const slots = new Slots(1);
  const held = await slots.acquire();
  const abort = new AbortController();
  const waiting = slots.acquire(abort.signal);
  held.release();
  abort.abort();
  (await waiting).release();
  assert.equal(slots.taken, 0);
});

Deno.test("slots: 0 is no limit, and nonsense is refused", async () => {
  const slots = new Slots(0);
  for (let i = 0; i < 5000; i++) await slots.acquire();
  assert.equal(slots.taken, 5000);
  for (const limit of [-1, 1.5, NaN, Infinity]) {
    assert.throws(() => new Slots(limit), RangeError, `${limit}`);
  }
});
