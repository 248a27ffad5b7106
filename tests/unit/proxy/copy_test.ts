import assert from "node:assert/strict";
import type { ConnFault } from "../../../src/net/conn.ts";
import type { CloseReason, Direction } from "../../../src/outcome.ts";
import { copyBidirectional, type CopyOptions, type CopyResult } from "../../../src/proxy/copy.ts";
import { FakeChannel } from "./fake_conn.ts";

type Fixture = { client: FakeChannel; target: FakeChannel; done: Promise<CopyResult> };

/** Checks besides what holds of every splice: both closed, nothing under way. */
function start(options: Partial<CopyOptions> = {}, prepare?: (f: Fixture) => void): Fixture {
  const client = new FakeChannel();
  const target = new FakeChannel();
  const fixture = { client, target } as Fixture;
  prepare?.(fixture);
  fixture.done = copyBidirectional(client, target, { idleTimeout: 0, closeTimeout: 0, ...options })
    .then((result) => {
      assert.ok(client.closed && target.closed, "both are closed");
      assert.equal(client.pending + target.pending, 0, "nothing is under way");
      return result;
    });
  return fixture;
}

const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms));

/** Milliseconds: less than the 5 s that a sender gets whom nobody listens to, and enough if busy. */
const SOON = 4000;

/** Milliseconds until `promise` settles. */
async function timed<T>(promise: Promise<T>): Promise<{ value: T; ms: number }> {
  const from = performance.now();
  return { value: await promise, ms: performance.now() - from };
}

Deno.test("splice: bytes go both ways, ends are passed on after the last byte", async () => {
  const moved: [Direction, number][] = [];
  const { client, target, done } = start({ onBytes: (...move) => moved.push(move) });
  client.push("hello ");
  client.push("there");
  client.end();
  await target.until(() => target.endedAt !== undefined);
  assert.equal(target.written, "hello there");
  assert.equal(target.endedAt, 11);
  assert.ok(!client.closed, "the answer is still to come");
  target.push("answer");
  await client.until(() => client.written === "answer");
  assert.equal(client.endedAt, undefined);
  target.end();
  assert.deepEqual(await done, {
    reason: "completed",
    bytes: { client_to_target: 11, target_to_client: 6 },
    detail: undefined,
  });
  assert.equal(client.endedAt, 6);
  assert.deepEqual(moved, [
    ["client_to_target", 6],
    ["client_to_target", 5],
    ["target_to_client", 6],
  ]);
});

Deno.test("splice: the target may end first, and the client goes on", async () => {
  const { client, target, done } = start();
  target.push("banner");
  target.end();
  await client.until(() => client.endedAt === 6);
  client.push("more");
  client.end();
  assert.equal((await done).reason, "completed");
  assert.equal(target.written, "more");
});

Deno.test("splice: nothing is read while the last write has not finished", async () => {
  const { client, target, done } = start({}, ({ target }) => target.stall());
  for (let i = 0; i < 100; i++) client.push("x");
  client.end();
  await target.until(() => target.pending === 2);
  await sleep(20);
  assert.equal(client.reads, 1);
  assert.equal(target.written, "");
  target.end();
  target.release();
  assert.equal((await done).reason, "completed");
  assert.equal(target.written.length, 100);
});

Deno.test("splice: idle, neither direction moved a byte", async () => {
  const { client, done } = start({ idleTimeout: 60 });
  client.push("hello");
  const { value, ms } = await timed(done);
  assert.equal(value.reason, "idle_timeout");
  assert.equal(value.bytes.client_to_target, 5);
  assert.ok(ms >= 55, `${ms} ms`);
});

Deno.test("splice: both sides are told of an end that is ours, and none is reset", async () => {
  const abort = new AbortController();
  for (
    const [options, act] of [
      [{ idleTimeout: 60 }, () => {}],
      [{ closeTimeout: 60 }, ({ client }: Fixture) => client.end()],
      [{ signal: abort.signal }, () => abort.abort("max_lifetime")],
    ] as const
  ) {
    const fixture = start(options);
    const { client, target, done } = fixture;
    client.push("up");
    target.push("down!");
    await target.until(() => target.written === "up");
    await client.until(() => client.written === "down!");
    act(fixture);
    await client.until(() => client.endedAt !== undefined);
    await target.until(() => target.endedAt !== undefined);
    // What comes from now on is read, and goes nowhere.
    const { reads } = target;
    target.push("too late");
    await target.until(() => target.reads > reads);
    assert.ok(!client.closed && !target.closed, "each has a moment to end its half");
    client.end();
    target.end();
    await done;
    assert.deepEqual([client.written, target.written], ["down!", "up"]);
    assert.deepEqual([client.endedAt, target.endedAt], [5, 2]);
    assert.deepEqual([client.wasReset, target.wasReset], [false, false]);
  }
});

Deno.test("splice: an end that is ours comes after the write that is under way", async () => {
  const abort = new AbortController();
  const { client, target, done } = start({ signal: abort.signal }, ({ target }) => target.stall());
  client.push("under way");
  await target.until(() => target.pending === 2);
  abort.abort("shutdown");
  target.release();
  await target.until(() => target.endedAt !== undefined);
  assert.equal(target.endedAt, "under way".length);
  target.end();
  client.end();
  assert.equal((await done).reason, "shutdown");
});

Deno.test("splice: an end that is ours waits for nobody who does not take it", async () => {
  const abort = new AbortController();
  const { client, target, done } = start({ signal: abort.signal }, ({ client, target }) => {
    client.stall();
    target.stall();
  });
  client.push("stuck");
  target.push("stuck");
  // No more than microtasks until both writes are under way.
  await sleep(1);
  abort.abort("shutdown");
  assert.equal((await done).reason, "shutdown");
  assert.deepEqual([client.endedAt, target.endedAt], [undefined, undefined]);
});

Deno.test("splice: who broke off has the other side reset, after what it had said has arrived", async () => {
  for (const fault of ["reset", "truncated", "protocol", "other"] as const) {
    for (const side of ["client", "target"] as const) {
      for (const said of [true, false]) {
        const fixture = start();
        const broken = fixture[side];
        const other = side === "client" ? fixture.target : fixture.client;
        if (said) broken.push("half of it");
        broken.breakRead(fault);
        if (said) {
          await other.until(() => other.written !== "");
          assert.ok(!other.closed, "a reset would overtake it");
        }
        await fixture.done;
        assert.equal(other.wasReset, true);
        assert.equal(broken.wasReset, false);
      }
    }
  }
});

Deno.test("splice: a side whose stream had ended before the other one broke is not reset", async () => {
  const { client, target, done } = start();
  target.push("all of it");
  target.end();
  await client.until(() => client.endedAt !== undefined);
  target.breakRead("reset");
  client.breakRead("reset");
  assert.equal((await done).reason, "peer_reset");
  assert.equal(target.wasReset, true, "what the client had to say is not complete");
  assert.equal(client.wasReset, false);
});

Deno.test("splice: idle, a write that nobody takes is no movement", async () => {
  const { client, done } = start({ idleTimeout: 60 }, ({ target }) => target.stall());
  client.push("hello");
  const result = await done;
  assert.equal(result.reason, "idle_timeout");
  assert.equal(result.bytes.client_to_target, 0);
});

Deno.test("splice: one direction that moves keeps both from being idle", async () => {
  const { target, client, done } = start({ idleTimeout: 1500 });
  const from = performance.now();
  while (performance.now() - from < 2500) {
    target.push(".");
    await sleep(10);
  }
  assert.ok(!client.closed);
  assert.equal((await done).reason, "idle_timeout");
});

Deno.test("splice: close_timeout limits the other direction, even while it moves", async () => {
  for (const first of ["client", "target"] as const) {
    const fixture = start({ closeTimeout: 80, idleTimeout: 5000 });
    const { done } = fixture;
    const [ended, other] = first === "client"
      ? [fixture.client, fixture.target]
      : [fixture.target, fixture.client];
    await sleep(120);
    assert.ok(!ended.closed, "it does not run before one side has ended");
    ended.end();
    const drip = setInterval(() => other.push("."), 10);
    const { value, ms } = await timed(done);
    clearInterval(drip);
    assert.equal(value.reason, "close_timeout");
    assert.ok(ms >= 75, `${ms} ms`);
  }
});

Deno.test("splice: close_timeout holds for an end that cannot be passed on", async () => {
  const { client, target, done } = start({ closeTimeout: 60 }, ({ client }) => client.stall());
  target.push("an answer that the client does not read");
  await client.until(() => client.pending === 2);
  target.end();
  client.end();
  assert.equal((await done).reason, "close_timeout");
});

Deno.test("splice: idle_timeout holds after one side has ended", async () => {
  const { client, done } = start({ closeTimeout: 5000, idleTimeout: 60 });
  client.end();
  assert.equal((await done).reason, "idle_timeout");
});

Deno.test("splice: the abort signal cuts both with its reason", async () => {
  for (
    const [given, reason] of [
      ["shutdown", "shutdown"],
      ["max_lifetime", "max_lifetime"],
      ["no such reason", "shutdown"],
      [new Error("x"), "shutdown"],
    ] as const
  ) {
    const abort = new AbortController();
    const { client, target, done } = start(
      { signal: abort.signal },
      ({ target }) => target.stall(),
    );
    client.push("stuck");
    await target.until(() => target.pending === 2);
    abort.abort(given);
    const result = await done;
    assert.equal(result.reason, reason);
    assert.equal(target.endedAt, undefined);
  }
});

Deno.test("splice: a signal that has aborted before moves nothing", async () => {
  const { target, done } = start(
    { signal: AbortSignal.abort("revoked"), idleTimeout: 10_000 },
    ({ client }) => client.push("late"),
  );
  assert.equal((await done).reason, "revoked");
  assert.equal(target.written, "");
});

Deno.test("splice: who cannot be read any more is told apart, and the other is closed", async () => {
  const cases: [ConnFault, CloseReason, CloseReason][] = [
    ["reset", "peer_reset", "target_reset"],
    ["truncated", "peer_reset", "target_reset"],
    ["protocol", "error", "error"],
    ["other", "error", "error"],
  ];
  for (const [fault, ofClient, ofTarget] of cases) {
    for (const side of ["client", "target"] as const) {
      const fixture = start();
      const broken = fixture[side];
      const other = side === "client" ? fixture.target : fixture.client;
      broken.push("before");
      broken.breakRead(fault);
      const { value, ms } = await timed(fixture.done);
      assert.equal(value.reason, side === "client" ? ofClient : ofTarget);
      assert.equal(value.detail, `it is ${fault}`);
      assert.equal(other.written, "before");
      assert.equal(other.endedAt, undefined, "no end in good order");
      assert.ok(ms < SOON, `${ms} ms`);
    }
  }
});

Deno.test("splice: a side that broke ends a write to it that hangs", async () => {
  const { client, target, done } = start({}, ({ target }) => target.stall());
  client.push("upload");
  await target.until(() => target.pending === 2);
  target.breakRead("reset");
  const { value, ms } = await timed(done);
  assert.equal(value.reason, "target_reset");
  assert.ok(ms < SOON, `${ms} ms`);
});

Deno.test("splice: the answer of a target that refuses half-way gets through", async () => {
  const { client, target, done } = start({}, ({ target }) => target.breakWrite("reset"));
  client.push("a long request");
  await client.until(() => client.reads >= 2);
  for (let i = 0; i < 50; i++) client.push("more of it");
  target.push("413 ");
  await client.until(() => client.written === "413 ");
  target.push("too large");
  target.end();
  await client.until(() => client.endedAt !== undefined);
  assert.equal(client.written, "413 too large");
  // The rest of the request is read and dropped.
  await client.until(() => client.reads > 50);
  assert.ok(!client.closed, "the client gets a moment to read the answer");
  client.end();
  assert.deepEqual(await done, {
    reason: "target_reset",
    bytes: { client_to_target: 0, target_to_client: 13 },
    detail: "it is reset",
  });
});

Deno.test("splice: a client that never stops sending is not waited for", async () => {
  const { client, target, done } = start({}, ({ target }) => target.breakWrite("reset"));
  const flood = setInterval(() => client.push("x".repeat(1000)), 1);
  target.push("413");
  target.end();
  const { value, ms } = await timed(done);
  clearInterval(flood);
  assert.equal(value.reason, "target_reset");
  assert.equal(client.written, "413");
  assert.ok(ms >= 4900, `${ms} ms: it gets the time to send a request that nobody reads`);
});

Deno.test("splice: a client that has its answer and falls silent is not waited for", async () => {
  const { client, target, done } = start({}, ({ target }) => target.breakWrite("reset"));
  client.push("a request");
  target.push("413");
  target.end();
  const { value, ms } = await timed(done);
  assert.equal(value.reason, "target_reset");
  assert.equal(client.written, "413");
  assert.ok(ms >= 950 && ms < 4900, `${ms} ms`);
});

Deno.test("splice: a side that cannot be written and says nothing is closed soon", async () => {
  for (const side of ["client", "target"] as const) {
    const fixture = start();
    const other = side === "client" ? fixture.target : fixture.client;
    fixture[side].breakWrite("reset");
    other.push("x");
    const { value, ms } = await timed(fixture.done);
    assert.equal(value.reason, side === "client" ? "peer_reset" : "target_reset");
    assert.ok(ms < SOON, `${ms} ms`);
  }
});

Deno.test("splice: what a broken side had said is written however slow the reader is", async () => {
  const { client, target, done } = start({}, ({ client, target }) => {
    client.stall();
    target.breakWrite("reset");
  });
  target.push("answer, ");
  target.push("second half");
  target.end();
  client.push("x");
  await sleep(1000);
  assert.ok(!client.closed);
  client.release();
  await client.until(() => client.endedAt !== undefined);
  client.end();
  assert.equal((await done).reason, "target_reset");
  assert.equal(client.written, "answer, second half");
});

Deno.test("splice: the limits hold while a broken side's answer is delivered", async () => {
  const { client, target, done } = start({ closeTimeout: 60 }, ({ client, target }) => {
    client.stall();
    target.breakWrite("reset");
  });
  target.push("answer");
  client.push("x");
  const { value, ms } = await timed(done);
  assert.equal(value.reason, "target_reset");
  assert.ok(ms < SOON, `${ms} ms`);
});

Deno.test("splice: dropped bytes are no movement and are not counted", async () => {
  let counted = 0;
  const { client, target, done } = start(
    { idleTimeout: 80, onBytes: (_direction, count) => void (counted += count) },
    ({ client, target }) => {
      client.stall();
      target.breakWrite("reset");
    },
  );
  target.push("never read");
  const flood = setInterval(() => client.push("x"), 5);
  const result = await done;
  clearInterval(flood);
  assert.equal(result.reason, "target_reset");
  assert.equal(counted, 0);
});

Deno.test("splice: when both break, the first is the reason", async () => {
  const { client, target, done } = start({}, ({ client, target }) => {
    client.breakWrite("other");
    target.breakWrite("reset");
  });
  client.push("x");
  await client.until(() => client.reads === 2);
  target.push("y");
  assert.equal((await done).reason, "target_reset");
});

Deno.test("splice: an end that cannot be passed on takes nothing away", async () => {
  const { client, target, done } = start({}, ({ client }) => client.breakEnd("reset"));
  client.push("request");
  client.end();
  target.push("answer");
  target.end();
  assert.equal((await done).reason, "completed");
  assert.equal(client.written, "answer");
});

Deno.test("splice: a reset after both ended changes nothing", async () => {
  const { client, target, done } = start();
  client.end();
  client.breakRead("reset");
  target.end();
  target.breakRead("reset");
  assert.equal((await done).reason, "completed");
});

Deno.test("splice: a client that resets before ending its half is a reset, answer or not", async () => {
  const { client, target, done } = start();
  target.push("all of it");
  target.end();
  await client.until(() => client.endedAt !== undefined);
  client.breakRead("reset");
  const result = await done;
  assert.equal(result.reason, "peer_reset");
  assert.equal(result.bytes.target_to_client, 9);
});

Deno.test("splice: faults outside of the closed set and of the counter do not escape", async () => {
  const odd = start();
  odd.client.breakRead(new TypeError("a bug"));
  assert.deepEqual(await odd.done, {
    reason: "error",
    bytes: { client_to_target: 0, target_to_client: 0 },
    detail: "a bug",
  });
  let calls = 0;
  const { client, target, done } = start({
    onBytes: () => {
      calls++;
      throw new Error("cannot count");
    },
  });
  client.push("one");
  client.push("two");
  client.end();
  target.end();
  const result = await done;
  assert.equal(result.reason, "completed");
  assert.equal(result.bytes.client_to_target, 6);
  assert.equal(calls, 1);
});
