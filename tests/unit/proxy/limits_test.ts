import assert from "node:assert/strict";
import { KeyedLimiter, Semaphore } from "../../../src/proxy/limits.ts";

Deno.test("slots: at most so many are out, the rest wait in order", async () => {
  const slots = new Semaphore(2);
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
  const slots = new Semaphore(1);
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
  const slots = new Semaphore(1);
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
  const slots = new Semaphore(1);
  const held = await slots.acquire();
  const abort = new AbortController();
  const waiting = slots.acquire(abort.signal);
  held.release();
  abort.abort();
  (await waiting).release();
  assert.equal(slots.taken, 0);
});

Deno.test("slots: 0 is no limit, and nonsense is refused", async () => {
  const slots = new Semaphore(0);
  for (let i = 0; i < 5000; i++) await slots.acquire();
  assert.equal(slots.taken, 5000);
  for (const limit of [-1, 1.5, NaN, Infinity]) {
    assert.throws(() => new Semaphore(limit), RangeError, `${limit}`);
  }
});

Deno.test("slots: one is taken at once or not at all, and never past those who wait", async () => {
  const slots = new Semaphore(1);
  const first = slots.tryAcquire();
  assert.ok(first);
  assert.equal(slots.tryAcquire(), undefined);
  const waiting = slots.acquire();
  first.release();
  assert.equal(slots.tryAcquire(), undefined);
  (await waiting).release();
  assert.equal(slots.taken, 0);
});

Deno.test("slots: a vacancy is waited for behind the others, and takes nothing", async () => {
  const slots = new Semaphore(1);
  const abort = new AbortController();
  await slots.vacancy(abort.signal);
  assert.equal(slots.taken, 0);
  const first = await slots.acquire();
  let vacant = false;
  const vacancy = slots.vacancy(abort.signal).then(() => vacant = true);
  const second = slots.acquire();
  first.release();
  const slot = await second;
  assert.equal(slots.taken, 1);
  assert.equal(vacant, false, "it was handed on before anybody saw it");
  slot.release();
  await vacancy;
  assert.equal(slots.taken, 0);
  const held = await slots.acquire();
  const aborted = slots.vacancy(abort.signal);
  abort.abort();
  await aborted;
  assert.equal(slots.taken, 1);
  held.release();
});

Deno.test("quota: so many of each key, given back once, and nothing is left behind", () => {
  const quota = new KeyedLimiter(2);
  const shares = ["a", "a", "b"].map((key) => quota.take(key));
  assert.ok(shares.every((share) => share !== undefined));
  assert.equal(quota.take("a"), undefined);
  assert.equal(quota.keys, 2);
  shares[0]?.release();
  shares[0]?.[Symbol.dispose]();
  assert.ok(quota.take("a"));
  assert.equal(quota.take("a"), undefined);
  shares[2]?.release();
  assert.equal(quota.keys, 1);
});

Deno.test("quota: 0 is no limit, and nonsense is refused", () => {
  const quota = new KeyedLimiter(0);
  assert.equal(quota.limit, Infinity);
  for (let i = 0; i < 5000; i++) assert.ok(quota.take("a"));
  assert.throws(() => new KeyedLimiter(-1), RangeError);
});
