import assert from "node:assert/strict";
import type { Target } from "../../../src/config/config.ts";
import { LoadBalancer } from "../../../src/proxy/load_balancer.ts";
import { NoTarget, TargetDenied } from "../../../src/proxy/load_balancer.ts";
import { HandshakeCut, HandshakeError } from "../../../src/tls/handshake_error.ts";
import { dialError, Field, hostOf } from "./load_balancer_support.ts";

const hosts = (...indexes: number[]) => indexes.map(hostOf);

async function served(field: Field, count: number): Promise<string[]> {
  return await Array.fromAsync({ length: count }, () => field.host());
}

Deno.test("failover: the first that is well, as long as it is", async () => {
  const field = new Field({ count: 3 });
  assert.deepEqual(await served(field, 3), hosts(0, 0, 0));
  field.set(0, "refuses");
  assert.deepEqual(await served(field, 3), hosts(1, 1, 1));
  // It was tried once.
  assert.deepEqual(field.tried, hosts(0, 0, 0, 0, 1, 1, 1));
  field.set(0, "takes");
  field.time += 1200;
  assert.deepEqual(await served(field, 2), hosts(0, 0));
});

Deno.test("failover: the time that a target is left alone doubles, up to 30 s", async () => {
  const field = new Field({ count: 2 });
  field.set(0, "refuses");
  const times: number[] = [];
  let last = 0;
  for (; times.length < 9; field.time += 100) {
    field.tried.length = 0;
    await field.host();
    if (field.tried.length === 1) continue;
    times.push(field.time - last);
    last = field.time;
  }
  assert.deepEqual(times, [0, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  field.set(0, "takes");
  field.time += 30_000;
  assert.equal(await field.host(), hostOf(0));
  field.set(0, "refuses");
  await field.host();
  field.tried.length = 0;
  field.time += 1000;
  await field.host();
  assert.deepEqual(field.tried, hosts(0, 1), "a success has ended it");
});

Deno.test("all are left alone: all are tried, first whose time is over first", async () => {
  const field = new Field({ count: 3 });
  field.set(2, "refuses");
  field.set(0, "refuses");
  field.set(1, "refuses");
  await assert.rejects(field.connect(), NoTarget);
  field.time += 1000;
  // 0 fails for the second time, until 3000.
  field.set(1, "takes");
  assert.equal(await field.host(), hostOf(1));
  field.set(1, "refuses");
  field.time += 500;
  // So does 2, until 3500, and 1 for the first time since it was well, until 2500.
  await assert.rejects(field.connect(), NoTarget);
  field.tried.length = 0;
  await assert.rejects(field.connect(), NoTarget);
  assert.deepEqual(field.tried, hosts(1, 0, 2));
  field.set(0, "takes");
  assert.equal(await field.host(), hostOf(0));
});

Deno.test("one target is tried whatever it did before, with all the time", async () => {
  const field = new Field({ count: 1, dialTimeout: 3000 });
  field.set(0, "refuses");
  for (let i = 0; i < 5; i++) await assert.rejects(field.connect(), NoTarget);
  field.set(0, "takes");
  assert.equal(await field.host(), hostOf(0));
  assert.ok(field.timeouts.every((timeout) => timeout === 3000));
});

Deno.test("the time is shared fairly, and what one did not use is the others'", async () => {
  const field = new Field({ count: 4, dialTimeout: 10_000 });
  field.set(0, "hangs");
  field.set(1, "refuses");
  field.set(2, "hangs");
  field.set(3, "refuses");
  await assert.rejects(field.connect(), NoTarget);
  assert.deepEqual(field.timeouts.slice(0, 4), [2500, 2500, 3750, 3750]);
  // Then those that were slow have another chance.
  assert.deepEqual(field.tried, hosts(0, 1, 2, 3, 0, 2));
  assert.equal(field.time, 10_000);
});

Deno.test("a target that is slower than its share is not lost", async () => {
  const field = new Field({ count: 3, dialTimeout: 9000 });
  field.set(0, 5000);
  field.set(1, "refuses");
  field.set(2, "refuses");
  assert.equal(await field.host(), hostOf(0));
});

Deno.test("many targets that are far away: their share is not so small that all of them fail", async () => {
  const far = new Field({ count: 64, dialTimeout: 10_000 });
  for (let index = 0; index < 64; index++) far.set(index, 300);
  assert.equal(await far.host(), hostOf(0));
  assert.deepEqual(far.timeouts, [1000]);
  assert.equal(far.tallies[0]?.failed, 0);
  // Half of a short time: there is a second try.
  const short = new Field({ count: 4, dialTimeout: 800 });
  short.set(0, "hangs");
  assert.equal(await short.host(), hostOf(1));
  assert.deepEqual(short.timeouts, [400, 400]);
});

Deno.test("while one connection finds out whether a target is back, the others pass it over", async () => {
  const field = new Field({ count: 2 });
  field.set(0, "refuses");
  await field.host();
  field.time += 1000;
  const { promise, resolve } = Promise.withResolvers<string>();
  const signal = new AbortController().signal;
  const first = field.targets.connect(() => promise, { signal });
  field.tried.length = 0;
  assert.equal(await field.host(), hostOf(1));
  assert.deepEqual(field.tried, hosts(1));
  field.set(0, "takes");
  resolve("back");
  using reached = await first;
  assert.equal(reached.index, 0);
  assert.equal(await field.host(), hostOf(0));
});

Deno.test("a hundred failures at once are one", async () => {
  const field = new Field({ count: 2 });
  field.set(0, "refuses");
  for (const reached of await Promise.all(Array.from({ length: 100 }, () => field.connect()))) {
    reached[Symbol.dispose]();
  }
  field.tried.length = 0;
  field.time += 1000;
  await field.host();
  assert.deepEqual(field.tried, hosts(0, 1));
});

Deno.test("a client that leaves says nothing of the target", async () => {
  const field = new Field({ count: 2 });
  const control = new AbortController();
  for (const error of [dialError("aborted"), new HandshakeCut(), new Error("a fault of ours")]) {
    await assert.rejects(
      field.targets.connect(() => Promise.reject(error), { signal: control.signal }),
      (thrown) => thrown === error,
    );
  }
  // It left while the target refused it.
  const leaves = field.targets.connect(() => {
    control.abort();
    return Promise.reject(dialError("refused"));
  }, { signal: control.signal });
  await assert.rejects(leaves, { name: "DialError", reason: "aborted" });
  assert.deepEqual(field.tallies.map(({ failed, up }) => ({ failed, up })), [
    { failed: 0, up: true },
    { failed: 0, up: true },
  ]);
  assert.equal(await field.host(), hostOf(0));
});

Deno.test("a handshake that fails and a denial count like a refusal", async () => {
  for (
    const error of [
      new HandshakeError("untrusted", "not ours"),
      new HandshakeError("timeout", "too slow"),
      new TargetDenied("no allow rule matches"),
      dialError("name not found"),
      dialError("unreachable"),
    ]
  ) {
    const field = new Field({ count: 2 });
    const told: unknown[] = [];
    const options = {
      signal: field.control.signal,
      onFailure: (failure: { readonly index: number; readonly error: Error }) => {
        told.push([failure.index, failure.error]);
      },
    };
    using reached = await field.targets.connect(
      ({ index }) => index === 0 ? Promise.reject(error) : Promise.resolve("good"),
      options,
    );
    assert.deepEqual([reached.index, reached.value], [1, "good"]);
    assert.deepEqual(told, [[0, error]]);
    assert.equal(field.tallies[0]?.up, false);
    field.tried.length = 0;
    await field.host();
    assert.deepEqual(field.tried, hosts(1));
    field.targets.clearEjections();
    assert.equal(await field.host(), hostOf(0));
    assert.equal(field.tallies[0]?.up, true);
  }
});

Deno.test("round robin passes over those that failed and takes them back", async () => {
  const field = new Field({ count: 3, balance: "round_robin" });
  assert.deepEqual(await served(field, 4), hosts(0, 1, 2, 0));
  field.set(1, "refuses");
  assert.deepEqual(await served(field, 4), hosts(2, 0, 2, 0));
  field.set(1, "takes");
  field.time += 1000;
  assert.deepEqual(await served(field, 4), hosts(1, 2, 0, 1));
});

Deno.test("least connections: who has the fewest, those being made included", async () => {
  const field = new Field({ count: 3, balance: "least_connections" });
  const all = await Promise.all(Array.from({ length: 9 }, () => field.connect()));
  assert.deepEqual(field.tallies.map(({ active }) => active), [3, 3, 3]);
  for (const reached of all) if (reached.index === 1) reached[Symbol.dispose]();
  const more = await Promise.all(Array.from({ length: 3 }, () => field.connect()));
  assert.deepEqual(more.map(({ index }) => index), [1, 1, 1]);
  for (const reached of [...all, ...more]) reached[Symbol.dispose]();
  assert.deepEqual(field.tallies.map(({ active }) => active), [0, 0, 0]);
  assert.deepEqual(field.tallies.map(({ taken }) => taken), [3, 6, 3]);
});

Deno.test("a name with several addresses is spread over, and one that refuses is left alone", async () => {
  let found = ["a", "b", "c"];
  const field = new Field({ count: 2, addresses: (index) => index === 0 ? found : ["z"] });
  assert.deepEqual(await served(field, 4), ["a", "b", "c", "a"]);
  field.manners.set("b", "refuses");
  assert.deepEqual(await served(field, 4), ["c", "a", "c", "a"]);
  assert.equal(field.tried.filter((host) => host === "b").length, 2);
  assert.equal(field.tallies[0]?.up, true, "one address is not the target");
  // What the name says counts, at each dial.
  found = ["d"];
  assert.deepEqual(await served(field, 2), ["d", "d"]);
  field.manners.set("d", "refuses");
  assert.deepEqual(await served(field, 2), ["z", "z"]);
  assert.equal(field.tallies[0]?.up, false);
});

Deno.test("least connections are those of an address, too", async () => {
  const field = new Field({
    count: 1,
    balance: "least_connections",
    addresses: () => ["a", "b"],
  });
  const [one, two] = [await field.connect(), await field.connect()];
  assert.notEqual(one.value, two.value);
  one[Symbol.dispose]();
  using again = await field.connect();
  assert.equal(again.value, one.value);
  two[Symbol.dispose]();
});

Deno.test("a name that is not found in time is a failure of that target", async () => {
  const targets = new LoadBalancer({
    targets: [0, 1].map((index): Target => ({
      address: { kind: "tcp", host: `name${index}`, port: 1 },
      serverName: undefined,
    })) as [Target, Target],
    balance: "failover",
    dialTimeout: 1000,
    random: () => 0,
    monotonic: () => 0,
    metrics: {
      targetConnected: () => {},
      targetReleased: () => {},
      targetFailed: () => {},
      targetUp: () => {},
    },
    resolver: {
      resolve: (address) =>
        address.host === "name0"
          ? Promise.reject(dialError("timeout"))
          : Promise.resolve([address]),
    },
  });
  const { signal } = new AbortController();
  using reached = await targets.connect(() => Promise.resolve("good"), { signal });
  assert.equal(reached.index, 1);
});

Deno.test("no target: every failure is told, in order", async () => {
  const field = new Field({ count: 2 });
  field.set(0, "refuses");
  field.set(1, "refuses");
  await assert.rejects(field.connect(), (error) => {
    assert.ok(error instanceof NoTarget);
    assert.deepEqual(error.failures.map(({ index, kind }) => [index, kind]), [[0, "dial"], [
      1,
      "dial",
    ]]);
    assert.equal(error.message, "Cannot connect: refused; Cannot connect: refused");
    return true;
  });
  assert.deepEqual(field.tallies.map(({ failed }) => failed), [1, 1]);
});
