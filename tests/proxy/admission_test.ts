import assert from "node:assert/strict";
import { Admission, FAIR_CHANCE, type Seat } from "../../src/proxy/admission.ts";
import { FakeClock, settle } from "./fake_clock.ts";

function start(maxConnections: number, maxHandshakes: number) {
  const clock = new FakeClock();
  const { now: monotonic, setTimer } = clock;
  return {
    clock,
    admission: new Admission({ maxConnections, maxHandshakes, monotonic, setTimer }),
  };
}

const forEver = new AbortController().signal;

/** Enters once there is room. */
async function enter(admission: Admission): Promise<Seat> {
  assert.equal(await admission.room(forEver), true);
  return admission.enter();
}

/** Whether a promise has settled, after everything that can go on has. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  void promise.then(() => settled = true, () => settled = true);
  await settle();
  return settled;
}

Deno.test("admission: without handshakes a connection counts from the start", async () => {
  const { admission } = start(2, 0);
  const first = await enter(admission);
  await enter(admission);
  assert.equal(admission.established, 2);
  assert.equal(admission.handshakes, 0);
  assert.throws(() => admission.enter(), /Cannot enter/);
  const room = admission.room(forEver);
  assert.equal(await isSettled(room), false);
  assert.equal(await first.establish(forEver), true);
  first.release();
  first.release();
  assert.equal(await room, true);
  assert.equal(admission.established, 1);
});

Deno.test("admission: handshakes do not take connections", async () => {
  const { admission } = start(1, 10);
  const seats = [];
  for (let i = 0; i < 5; i++) seats.push(await enter(admission));
  assert.equal(admission.established, 0);
  assert.equal(admission.handshakes, 5);
  assert.equal(await seats[3]?.establish(forEver), true);
  assert.equal(admission.established, 1);
  assert.equal(admission.handshakes, 4);
  // Nobody new while the connection is taken; those who shook hands meanwhile wait for it in order.
  const room = admission.room(forEver);
  const second = seats[0]?.establish(forEver);
  const third = seats[4]?.establish(forEver);
  assert.ok(second && third);
  assert.equal(await isSettled(Promise.race([room, second, third])), false);
  seats[3]?.release();
  assert.equal(await second, true);
  assert.equal(await isSettled(Promise.race([room, third])), false);
  seats[0]?.release();
  assert.equal(await third, true);
  assert.equal(await isSettled(room), false);
  assert.equal(admission.established, 1);
  seats[4]?.release();
  assert.equal(await room, true);
  assert.equal(admission.established, 0);
  assert.equal(admission.handshakes, 2);
});

Deno.test("admission: the oldest handshake gives way to a newer one once it had its chance", async () => {
  const { clock, admission } = start(3, 4);
  const yielded: number[] = [];
  const seats: Seat[] = [];
  for (let i = 0; i < 4; i++) {
    const seat = await enter(admission);
    seat.onYield = (why) => {
      assert.match(why, /4 handshakes under way/);
      yielded.push(i);
    };
    seats.push(seat);
    await clock.advance(100);
  }
  const room = admission.room(forEver);
  await clock.advance(FAIR_CHANCE - 401);
  assert.equal(await isSettled(room), false);
  await clock.advance(1);
  assert.equal(await room, true);
  assert.deepEqual(yielded, [], "nobody gives way before there is somebody to give way to");
  const fifth = admission.enter();
  assert.deepEqual(yielded, [0]);
  assert.equal(admission.handshakes, 4);
  // What is given back twice, by yielding and at the end, counts once.
  seats[0]?.release();
  assert.equal(admission.handshakes, 4);
  assert.equal(clock.timers, 0);
  // One that ends in time saves the next.
  const next = admission.room(forEver);
  assert.equal(await isSettled(next), false);
  seats[2]?.release();
  assert.equal(await next, true);
  admission.enter();
  assert.deepEqual(yielded, [0]);
  assert.equal(clock.timers, 0);
  fifth.release();
});

Deno.test("admission: a handshake that is over does not give way", async () => {
  const { clock, admission } = start(1, 2);
  const seat = await enter(admission);
  seat.onYield = () => assert.fail("it was over");
  const other = await enter(admission);
  other.onYield = () => assert.fail("it was over too");
  assert.equal(await seat.establish(forEver), true);
  const waiting = other.establish(forEver);
  assert.equal(admission.handshakes, 0);
  await clock.advance(10 * FAIR_CHANCE);
  admission.relieve();
  seat.release();
  assert.equal(await waiting, true);
  assert.equal(admission.established, 1);
});

Deno.test("admission: silent peers by the hundred keep a good one waiting no longer than a chance", async () => {
  const { clock, admission } = start(3, 256);
  const began = clock.time;
  const good = Promise.withResolvers<number>();
  const loop = (async () => {
    for (let i = 0; i < 300; i++) (await enter(admission)).onYield = () => {};
    const seat = await enter(admission);
    assert.equal(await seat.establish(forEver), true);
    good.resolve(clock.time);
  })();
  await clock.advance(FAIR_CHANCE);
  assert.ok(await good.promise - began <= FAIR_CHANCE);
  await loop;
  assert.equal(admission.handshakes, 255);
});

Deno.test("admission: an abort ends every wait and takes nothing", async () => {
  const { clock, admission } = start(1, 2);
  const seats = [await enter(admission), await enter(admission)];
  const abort = new AbortController();
  const full = admission.room(abort.signal);
  assert.equal(await isSettled(full), false);
  abort.abort();
  assert.equal(await full, false);
  assert.equal(clock.timers, 0);
  assert.equal(await admission.room(abort.signal), false);

  assert.equal(await seats[0]?.establish(forEver), true);
  const again = new AbortController();
  const taken = admission.room(again.signal);
  const waits = seats[1]?.establish(again.signal);
  again.abort();
  assert.equal(await taken, false);
  assert.equal(await waits, false);
  seats[1]?.release();
  assert.equal(admission.established, 1);
  seats[0]?.release();
  assert.equal(admission.established, 0);
});

Deno.test("admission: who left while waiting for a connection does not keep it", async () => {
  const { admission } = start(1, 3);
  const [first, second, third] = [
    await enter(admission),
    await enter(admission),
    await enter(admission),
  ];
  assert.equal(await first.establish(forEver), true);
  const gone = second.establish(forEver);
  const patient = third.establish(forEver);
  second.release();
  first.release();
  assert.equal(await gone, false);
  assert.equal(await patient, true);
  third.release();
  assert.equal(admission.established, 0);
});

Deno.test("admission: short of descriptors the oldest handshake gives way, if it had its chance", async () => {
  const { clock, admission } = start(0, 10);
  admission.relieve();
  const yielded: string[] = [];
  const seat = await enter(admission);
  seat.onYield = (why) => void yielded.push(why);
  admission.relieve();
  assert.deepEqual(yielded, []);
  await clock.advance(FAIR_CHANCE);
  admission.relieve();
  assert.equal(yielded.length, 1);
  assert.equal(admission.handshakes, 0);
});
