/**
 * More than one target: connections are shared as the balance says, targets come and go under load, and
 * a connection is lost only where none takes it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { countLog, type TestDaemon } from "../support/daemon.ts";
import { EchoClient } from "../support/clients.ts";
import { unacceptingTarget } from "../support/proxies.ts";
import {
  ask,
  closeQuietly,
  connectionsOf,
  connectTls,
  ownAddress,
  split,
  writeAll,
} from "../support/peers.ts";
import { TestBed } from "../support/testbed.ts";
import { timed, until } from "../support/wait.ts";
import { assertAllClosesCounted, closedSeries } from "../support/metrics.ts";

/** Says its name, and then sends back what comes. */
class Restarted implements AsyncDisposable {
  /** `host:port`, which no other test has. */
  readonly address: string = ownAddress();
  /** Connections accepted so far. */
  connections = 0;
  readonly #name: string;
  readonly #open = new Set<Deno.Conn>();
  readonly #connections: Promise<void>[] = [];
  #listener: Deno.TcpListener | undefined;

  /** Not started yet. */
  constructor(name: string) {
    this.#name = name;
  }

  /** Connections that are open. */
  get open(): number {
    return this.#open.size;
  }

  /** Accepts from now on. */
  start(): this {
    if (this.#listener !== undefined) return this;
    const listener = Deno.listen(split(this.address));
    this.#listener = listener;
    const run = async () => {
      for await (const conn of connectionsOf(listener)) {
        this.connections++;
        this.#open.add(conn);
        this.#connections.push(this.#serve(conn));
      }
    };
    this.#connections.push(run().catch(() => {}));
    return this;
  }

  /** Refuses from now on; what was accepted goes on, what waits in the kernel's queue is reset. */
  stop(): void {
    this.#listener?.close();
    this.#listener = undefined;
  }

  async #serve(conn: Deno.Conn): Promise<void> {
    try {
      const buffer = new Uint8Array(16_384);
      await writeAll(conn, new TextEncoder().encode(`${this.#name}:`));
      for (let n = await conn.read(buffer); n !== null; n = await conn.read(buffer)) {
        await writeAll(conn, buffer.subarray(0, n));
      }
      await conn.closeWrite();
    } catch {
      // The other side is gone.
    } finally {
      this.#open.delete(conn);
      closeQuietly(conn);
    }
  }

  /** Cuts everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.stop();
    for (const conn of this.#open) closeQuietly(conn);
    await Promise.all(this.#connections);
  }
}

/** Server mode with several targets. */
function inFrontOf(
  testBed: TestBed,
  targets: readonly string[],
  proxy: Readonly<Record<string, unknown>> = {},
): Promise<TestDaemon> {
  const { server: cert, serverKey: key, ca } = testBed.files;
  return testBed.daemon({
    mode: "server",
    listen: "127.0.0.1:0",
    targets,
    tls: { cert, key, ca },
    proxy,
  });
}

/** Targets `0`, `1` and so on, all of them up. */
function targets(testBed: TestBed, count: number): readonly Restarted[] {
  return Array.from(
    { length: count },
    (_, index) => testBed.use(new Restarted(`${index}`).start()),
  );
}

/** The target that took a connection; it must have served it. */
async function taken(testBed: TestBed, server: TestDaemon): Promise<string> {
  const answer = await ask(testBed.as(server), "hello");
  assert.match(answer, /^\d:hello$/);
  return answer.slice(0, 1);
}

/** The same call, several at a time, again and again. */
class Load implements AsyncDisposable {
  #count = 0;
  #under = 0;
  #paused = false;
  #stopped = false;
  #failure: unknown;
  readonly #loops: readonly Promise<void>[];

  constructor(many: number, call: () => Promise<void>) {
    this.#loops = Array.from({ length: many }, () => this.#run(call));
  }

  async #run(call: () => Promise<void>): Promise<void> {
    while (!this.#stopped) {
      if (this.#paused) await until(() => !this.#paused, { every: 1 });
      this.#under++;
      try {
        await call();
        this.#count++;
      } catch (error) {
        this.#failure ??= error;
      } finally {
        this.#under--;
      }
    }
  }

  /** Does something while no call is under way. */
  async pause(step: () => void): Promise<void> {
    this.#paused = true;
    await until(() => this.#under === 0, { every: 1 });
    step();
    this.#paused = false;
  }

  /** Waits for this many calls more. */
  async calls(count: number): Promise<void> {
    const from = this.#count;
    await until(() => this.#count >= from + count || this.#failure !== undefined);
  }

  /** The end; how many there were, of which none may have failed. */
  async stop(): Promise<number> {
    await this[Symbol.asyncDispose]();
    if (this.#failure !== undefined) throw this.#failure;
    return this.#count;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#loops);
  }
}

/** A metric of one target. */
function of(index: number, name: string): string {
  return `mtlsd_target_${name}{target="${index}"}`;
}

Deno.test("failover: the first that is well, and the first again when it is back", async () => {
  await using testBed = await TestBed.create();
  const all = targets(testBed, 3);
  const server = await inFrontOf(testBed, all.map(({ address }) => address));
  for (let i = 0; i < 5; i++) assert.equal(await taken(testBed, server), "0");
  all[0]?.stop();
  for (let i = 0; i < 5; i++) assert.equal(await taken(testBed, server), "1");
  let series = await server.metrics();
  // One that failed is left alone for a while: it was not asked for each connection.
  const errors = series.get(of(0, "dial_errors_total")) ?? 0;
  assert.ok(errors >= 1 && errors < 5, `${errors}`);
  assert.equal(series.get(of(0, "up")), 0);
  assert.equal(countLog(server, "listener: dial failed"), errors);
  all[1]?.stop();
  assert.equal(await taken(testBed, server), "2");
  all[0]?.start();
  await until(async () => await taken(testBed, server) === "0", { every: 50 });
  series = await server.metrics();
  assert.equal(series.get(of(0, "up")), 1);
  assert.equal(series.get(of(1, "up")), 0);
  assert.equal(series.get(of(2, "up")), 1);
  assert.equal(series.get(of(1, "connections_total")), 5);
  // No connection was lost by it.
  assert.equal(series.get("mtlsd_dial_errors_total"), 0);
  assert.equal(series.get(closedSeries("dial_failed")), 0);
  await assertAllClosesCounted(server);
});

Deno.test("round_robin: each in turn", async () => {
  await using testBed = await TestBed.create();
  const all = targets(testBed, 3);
  const server = await inFrontOf(testBed, all.map(({ address }) => address), {
    balance: "round_robin",
  });
  const seen: string[] = [];
  for (let i = 0; i < 9; i++) seen.push(await taken(testBed, server));
  for (let i = 0; i + 3 <= 9; i += 3) {
    assert.deepEqual(seen.slice(i, i + 3).toSorted(), ["0", "1", "2"]);
  }
  all[1]?.stop();
  for (let i = 0; i < 6; i++) assert.notEqual(await taken(testBed, server), "1");
  const series = await server.metrics();
  assert.equal(series.get(of(1, "connections_total")), 3);
  const errors = series.get(of(1, "dial_errors_total")) ?? 0;
  assert.ok(errors >= 1 && errors < 3, `${errors}`);
});

Deno.test("least_connections: who has the fewest, and the gauge says how many", async () => {
  await using testBed = await TestBed.create();
  const all = targets(testBed, 3);
  const server = await inFrontOf(testBed, all.map(({ address }) => address), {
    balance: "least_connections",
  });
  const held: EchoClient[] = [];
  for (let i = 0; i < 9; i++) {
    const one = testBed.use(await EchoClient.connect(testBed.as(server)));
    await until(() => one.received !== "");
    held.push(one);
  }
  assert.deepEqual(all.map(({ open }) => open), [3, 3, 3]);
  for (const index of [0, 1, 2]) await server.waitForMetric(of(index, "active_connections"), 3);
  const mine = held.filter(({ received: heard }) => heard === "1:");
  for (const one of mine) await one[Symbol.asyncDispose]();
  await server.waitForMetric(of(1, "active_connections"), 0);
  for (let i = 0; i < 3; i++) {
    const one = testBed.use(await EchoClient.connect(testBed.as(server)));
    await until(() => one.received !== "");
    assert.equal(one.received, "1:");
  }
});

for (const balance of ["failover", "round_robin", "least_connections"]) {
  Deno.test(`${balance}: targets come and go under load, and nothing is lost`, async () => {
    await using testBed = await TestBed.create();
    const all = targets(testBed, 3);
    const server = await inFrontOf(testBed, all.map(({ address }) => address), { balance });
    const counts = new Map<string, number>();
    await using load = new Load(8, async () => {
      const name = await taken(testBed, server);
      counts.set(name, (counts.get(name) ?? 0) + 1);
    });
    // At any time one takes connections at least.
    for (const [down, up] of [[0, 2], [1, 0], [2, 1], [0, 2], [1, 0]] as const) {
      // No connection is in the queue of the one that stops: the kernel would have taken those for it.
      await load.pause(() => {
        all[up]?.start();
        all[down]?.stop();
      });
      await load.calls(25);
    }
    const calls = await load.stop();
    const series = await server.metrics();
    assert.equal(series.get("mtlsd_dial_errors_total"), 0);
    assert.equal(series.get(closedSeries("completed")), calls);
    const taken_ = [0, 1, 2].map((index) => series.get(of(index, "connections_total")) ?? 0);
    assert.deepEqual(taken_, [0, 1, 2].map((index) => counts.get(`${index}`) ?? 0));
    await assertAllClosesCounted(server);
  });
}

Deno.test("where none takes it the connection is lost, each is told of, and it is counted once", async () => {
  await using testBed = await TestBed.create();
  const addresses = [ownAddress(), ownAddress()];
  const server = await inFrontOf(testBed, addresses);
  assert.equal(await ask(testBed.as(server), "hello"), "");
  for (const target of addresses) {
    await server.waitForLog("listener: dial failed", { target, level: "WARN" });
  }
  await server.waitForLog("listener: no target took the connection", { level: "ERROR" });
  await server.waitForLog("listener: connection closed", { reason: "dial_failed" });
  const series = await server.metrics();
  assert.equal(series.get("mtlsd_dial_errors_total"), 1);
  for (const index of [0, 1]) assert.equal(series.get(of(index, "dial_errors_total")), 1);
});

Deno.test("dial_timeout is for all targets together", async () => {
  await using testBed = await TestBed.create();
  using one = await unacceptingTarget();
  using other = await unacceptingTarget();
  const [good] = targets(testBed, 1);
  const proxy = { dial_timeout: "2s" };
  const server = await inFrontOf(testBed, [one.address, good?.address ?? ""], proxy);
  await taken(testBed, server);
  const stuck = await inFrontOf(testBed, [one.address, other.address], proxy);
  assert.equal(await ask(testBed.as(stuck), "hello"), "");
  await stuck.waitForLog("listener: connection closed", { reason: "dial_failed" });
  // One time for both: each has its share of it.
  const shares = stuck.lines.filter(({ fields }) => fields.msg === "listener: dial failed")
    .map(({ fields }) => /no answer within ([\d.]+)(m?s)$/.exec(fields.error ?? "") ?? [])
    .map(([, number, unit]) => Number(number) * (unit === "s" ? 1000 : 1));
  assert.equal(shares.length, 2);
  const sum = shares.reduce((a, b) => a + b);
  assert.ok(sum > 1000 && sum <= 2000, shares.join());
});

Deno.test("a drain lets connections to every target end, and a cut those that are being made", async () => {
  await using testBed = await TestBed.create();
  const all = targets(testBed, 2);
  const server = await inFrontOf(testBed, all.map(({ address }) => address), {
    balance: "round_robin",
  });
  const held = [
    await EchoClient.connect(testBed.as(server)),
    await EchoClient.connect(testBed.as(server)),
  ];
  await until(() => held.every(({ received: heard }) => heard !== ""));
  server.kill("SIGTERM");
  await server.waitForLog("shutting down");
  for (const one of held) {
    assert.equal(one.endedAt, undefined);
    await one[Symbol.asyncDispose]();
  }
  assert.equal(await server.exit(), 0);
  using stuck = await unacceptingTarget();
  const cut = await inFrontOf(testBed, [stuck.address, ownAddress()], {
    shutdown_timeout: "100ms",
  });
  const waiting = await connectTls(testBed.as(cut));
  waiting.on("error", () => {});
  await cut.waitForLog("listener: accepted connection");
  assert.equal(await timed(60_000, cut.stop(), "the stop").then(() => cut.exit()), 1);
  await cut.waitForLog("listener: connection closed", { reason: "shutdown" });
  waiting.destroy();
});
