import assert from "node:assert/strict";
import { FairQueue } from "../../../src/tls/fair_queue.ts";

const never = new AbortController().signal;

/** A job that ends when it is told to, and tells when it started. */
function held(order: string[], name: string) {
  const { promise, resolve } = Promise.withResolvers<void>();
  return {
    end: resolve,
    job: async () => {
      order.push(name);
      await promise;
      return name;
    },
  };
}

Deno.test("fair queue: one job at a time, the sources in turn", async () => {
  const queue = new FairQueue();
  const order: string[] = [];
  const first = held(order, "first");
  const running = [queue.run("flood", never, first.job)];
  const add = (source: string, name: string) =>
    running.push(
      queue.run(source, never, () => Promise.resolve(void order.push(name)).then(() => name)),
    );
  for (let i = 0; i < 4; i++) add("flood", `flood ${i}`);
  add("quiet", "quiet");
  add("other", "other");
  assert.equal(queue.waiting, 6);
  assert.deepEqual(order, ["first"]);
  first.end();
  const results = await Promise.all(running);
  assert.deepEqual(order, [
    "first",
    "flood 0",
    "quiet",
    "other",
    "flood 1",
    "flood 2",
    "flood 3",
  ]);
  assert.equal(results.length, 7);
  assert.equal(queue.waiting, 0);
});

Deno.test("fair queue: who leaves takes no turn, wherever it stands", async () => {
  const queue = new FairQueue();
  const order: string[] = [];
  const first = held(order, "first");
  const running = queue.run("a", never, first.job);
  const gone = new AbortController();
  const waiting = [0, 1, 2].map((i) =>
    queue.run("b", i === 1 ? gone.signal : never, () => {
      order.push(`b ${i}`);
      return Promise.resolve(i);
    })
  );
  const already = queue.run("c", AbortSignal.abort(), () => Promise.resolve(assert.fail("ran")));
  gone.abort();
  assert.equal(queue.waiting, 2);
  first.end();
  await running;
  assert.deepEqual(await Promise.all(waiting), [0, undefined, 2]);
  assert.equal(await already, undefined);
  assert.deepEqual(order, ["first", "b 0", "b 2"]);
  // Left at the very moment at which its turn came: the next one has it.
  const second = held(order, "second");
  const late = new AbortController();
  const jobs = [
    queue.run("a", never, second.job),
    queue.run("a", late.signal, () => Promise.resolve("late")),
    queue.run("a", never, () => Promise.resolve("next")),
  ];
  second.end();
  void jobs[0]?.then(() => late.abort());
  assert.equal((await Promise.all(jobs)).at(-1), "next");
});

Deno.test("fair queue: a job that fails holds up nobody", async () => {
  const queue = new FairQueue();
  const failing = queue.run("a", never, () => Promise.reject(new Error("broken")));
  const next = queue.run("a", never, () => Promise.resolve("next"));
  await assert.rejects(failing, /broken/);
  assert.equal(await next, "next");
});

Deno.test("fair queue: a long job lets others run", async () => {
  const queue = new FairQueue();
  let turns = 0;
  const timer = setInterval(() => turns++, 0);
  try {
    await queue.run("a", never, async (pause) => {
      for (let pieces = 0; turns < 5; pieces++) {
        assert(pieces < 100_000, "the others never ran");
        await pause();
        const until = performance.now() + 0.5;
        while (performance.now() < until);
      }
    });
  } finally {
    clearInterval(timer);
  }
});
