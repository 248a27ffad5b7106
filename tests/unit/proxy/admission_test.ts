import assert from "node:assert/strict";
import { Admission, FAIR_CHANCE } from "../../../src/proxy/limits.ts";
import { Connection } from "../../../src/proxy/connection.ts";
import { FakeClock, settle } from "../../support/fake_clock.ts";
import { memoryLog } from "./listener_support.ts";

function start(maxConnections: number, maxHandshakes: number) {
  const clock = new FakeClock();
  return {
    clock,
    admission: new Admission({ maxConnections, maxHandshakes, monotonic: clock.now }),
  };
}

const forEver = new AbortController().signal;

const { logger } = memoryLog();

/** Enters once there is room. */
async function enter(admission: Admission, source = "192.0.2.1"): Promise<Connection> {
  assert.equal(await admission.room(forEver), true);
  const connection = new Connection(logger);
  admission.enter(connection, source);
  return connection;
}

/** Calls back when the connection is evicted, with the reason that the log gives. */
function onEvict(connection: Connection, callback: (why: string) => void): void {
  connection.signal.addEventListener("abort", () => {
    callback(String(connection.ending?.fields?.error));
  });
}

/** Enters from each of these sources; `evicted` lists the evicted ones by their position. */
async function crowd(
  admission: Admission,
  sources: readonly string[],
): Promise<{ readonly entered: readonly Connection[]; readonly evicted: readonly number[] }> {
  const entered: Connection[] = [];
  const evicted: number[] = [];
  for (const [i, source] of sources.entries()) {
    const connection = await enter(admission, source);
    onEvict(connection, () => evicted.push(i));
    entered.push(connection);
  }
  return { entered, evicted };
}

const times = (count: number, source: string): readonly string[] => Array(count).fill(source);

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
  assert.throws(() => admission.enter(new Connection(logger), "192.0.2.1"), /Cannot enter/);
  const room = admission.room(forEver);
  assert.equal(await isSettled(room), false);
  assert.equal(await admission.establish(first), true);
  admission.leave(first);
  admission.leave(first);
  assert.equal(await room, true);
  assert.equal(admission.established, 1);
});

Deno.test("admission: handshakes do not take connections", async () => {
  const { admission } = start(1, 10);
  const entered: Connection[] = [];
  for (let i = 0; i < 5; i++) entered.push(await enter(admission));
  assert.equal(admission.established, 0);
  assert.equal(admission.handshakes, 5);
  assert.equal(await admission.establish(entered[3] as Connection), true);
  assert.equal(admission.established, 1);
  assert.equal(admission.handshakes, 4);
  // Nobody new while the connection is taken; those who shook hands meanwhile wait for it in order.
  const room = admission.room(forEver);
  const second = admission.establish(entered[0] as Connection);
  const third = admission.establish(entered[4] as Connection);
  assert.equal(await isSettled(Promise.race([room, second, third])), false);
  admission.leave(entered[3] as Connection);
  assert.equal(await second, true);
  assert.equal(await isSettled(Promise.race([room, third])), false);
  admission.leave(entered[0] as Connection);
  assert.equal(await third, true);
  assert.equal(await isSettled(room), false);
  assert.equal(admission.established, 1);
  admission.leave(entered[4] as Connection);
  assert.equal(await room, true);
  assert.equal(admission.established, 0);
  assert.equal(admission.handshakes, 2);
});

Deno.test("admission: with all places taken nobody waits, and the newest comes in", async () => {
  const { admission } = start(3, 4);
  const { entered, evicted } = await crowd(admission, times(4, "192.0.2.1"));
  assert.equal(admission.handshakes, 4);
  assert.equal(evicted.length, 0, "nobody is evicted before there is somebody to make room for");
  let why = "";
  const [oldest, , third] = entered;
  assert.ok(oldest && third);
  onEvict(oldest, (reason) => why = reason);
  const fifth = await enter(admission);
  assert.match(
    why,
    /^gave way to newer connections: the oldest of 5 handshakes from 192\.0\.2\.1, /,
  );
  assert.match(why, /of 5 under way$/);
  assert.equal(admission.handshakes, 4);
  // What is given back twice, by eviction and at the end, counts once.
  admission.leave(oldest);
  assert.equal(admission.handshakes, 4);
  // One that ends in time saves the next.
  admission.leave(third);
  await enter(admission);
  assert.deepEqual(evicted, [0]);
  admission.leave(fifth);
  assert.equal(admission.handshakes, 3);
});

Deno.test("admission: the source with most loses its oldest, in whatever order they came", async () => {
  const { admission } = start(0, 6);
  const [few, some, many] = ["192.0.2.1", "192.0.2.2", "2001:db8::/64"];
  const { evicted } = await crowd(admission, [few, many, some, many, some, many]);
  const rest: number[] = [];
  const more = async (source: string) => {
    const seat = await enter(admission, source);
    onEvict(seat, () => rest.push(rest.length));
  };
  await more(few);
  assert.deepEqual(evicted, [1], "the oldest of those with three");
  // Now two each: the next one's own source has most.
  await more(some);
  assert.deepEqual(evicted, [1, 2]);
  // Two each again, and a new source: the oldest of all.
  await more("192.0.2.9");
  assert.deepEqual(evicted, [1, 2, 0]);
  assert.equal(rest.length, 0);
  assert.equal(admission.handshakes, 6);
});

Deno.test("admission: a flood from one source evicts its own, and no good one from another", async () => {
  const { clock, admission } = start(0, 256);
  const flood = "198.51.100.1";
  // Good ones that take a second, a hundred of them at any time, while it floods.
  const { evicted: own } = await crowd(admission, times(300, flood));
  assert.equal(own.length, 300 - 256);
  const good = await crowd(admission, Array.from({ length: 100 }, (_, i) => `192.0.2.${i}`));
  let evicted = 0;
  for (let i = 0; i < 5000; i++) {
    onEvict(await enter(admission, flood), () => evicted++);
    clock.time++;
  }
  assert.deepEqual(good.evicted, []);
  assert.equal(own.length, 300);
  assert.equal(evicted, 5000 - 156);
  assert.equal(admission.handshakes, 256);
  for (const seat of good.entered) assert.equal(await admission.establish(seat), true);
});

Deno.test("admission: sources without end leave each the time of as many new ones as there are places", async () => {
  const { admission } = start(0, 256);
  const sources = Array.from({ length: 2000 }, (_, i) => `2001:db8:0:${i.toString(16)}::/64`);
  const { evicted } = await crowd(admission, sources);
  assert.deepEqual(evicted, Array.from({ length: 2000 - 256 }, (_, i) => i), "the oldest first");
});

Deno.test("admission: behind a balancer each client answers for its own", async () => {
  const { admission } = start(0, 4);
  const balancer = "10.0.0.7";
  const { entered, evicted } = await crowd(admission, times(4, balancer));
  for (const seat of entered.slice(1)) admission.moveTo(seat, "198.51.100.1");
  admission.moveTo(entered[0] as Connection, "192.0.2.1");
  await enter(admission, balancer);
  assert.deepEqual(evicted, [1], "not the oldest, who is another");
  // Whoever moves once it is over counts nowhere.
  admission.moveTo(entered[1] as Connection, "192.0.2.1");
  admission.leave(entered[2] as Connection);
  admission.moveTo(entered[2] as Connection, "192.0.2.1");
  await enter(admission, "192.0.2.1");
  assert.deepEqual(evicted, [1]);
  assert.equal(admission.handshakes, 4);
});

Deno.test("admission: a handshake that is over does not give way", async () => {
  const { clock, admission } = start(1, 2);
  const seat = await enter(admission);
  onEvict(seat, () => assert.fail("it was over"));
  const other = await enter(admission);
  onEvict(other, () => assert.fail("it was over too"));
  assert.equal(await admission.establish(seat), true);
  const waiting = admission.establish(other);
  assert.equal(admission.handshakes, 0);
  await clock.advance(10 * FAIR_CHANCE);
  admission.freeDescriptor();
  admission.leave(seat);
  assert.equal(await waiting, true);
  assert.equal(admission.established, 1);
});

Deno.test("admission: an abort ends every wait and takes nothing", async () => {
  const { admission } = start(1, 2);
  const entered = [await enter(admission), await enter(admission)];
  assert.equal(await admission.establish(entered[0] as Connection), true);
  const again = new AbortController();
  const taken = admission.room(again.signal);
  const waits = admission.establish(entered[1] as Connection);
  assert.equal(await isSettled(taken), false);
  again.abort();
  entered[1]?.end({ reason: "shutdown" });
  assert.equal(await taken, false);
  assert.equal(await admission.room(again.signal), false);
  assert.equal(await waits, false);
  admission.leave(entered[1] as Connection);
  assert.equal(admission.established, 1);
  admission.leave(entered[0] as Connection);
  assert.equal(admission.established, 0);
});

Deno.test("admission: who left while waiting for a connection does not keep it", async () => {
  const { admission } = start(1, 3);
  const [first, second, third] = [
    await enter(admission),
    await enter(admission),
    await enter(admission),
  ];
  assert.equal(await admission.establish(first), true);
  const gone = admission.establish(second);
  const patient = admission.establish(third);
  admission.leave(second);
  admission.leave(first);
  assert.equal(await gone, false);
  assert.equal(await patient, true);
  admission.leave(third);
  assert.equal(admission.established, 0);
});

Deno.test("admission: short of descriptors the only one of its source has its chance, others have not", async () => {
  const { clock, admission } = start(0, 10);
  admission.freeDescriptor();
  const only = await crowd(admission, ["192.0.2.1"]);
  admission.freeDescriptor();
  assert.deepEqual(only.evicted, []);
  const several = await crowd(admission, times(2, "198.51.100.1"));
  admission.freeDescriptor();
  assert.deepEqual(several.evicted, [0]);
  admission.freeDescriptor();
  assert.deepEqual([only.evicted, several.evicted], [[], [0]]);
  await clock.advance(FAIR_CHANCE);
  admission.freeDescriptor();
  assert.deepEqual(only.evicted, [0]);
  assert.equal(admission.handshakes, 1);
});
