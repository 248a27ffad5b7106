import assert from "node:assert/strict";
import type { Conn } from "../../../src/net/conn.ts";
import type { Address, Balance, NonEmpty, Target } from "../../../src/config/config.ts";
import { dial, listenTcp, Resolver, type TcpListener } from "../../../src/net/mod.ts";
import { LoadBalancer } from "../../../src/proxy/load_balancer.ts";
import { NoTarget } from "../../../src/proxy/load_balancer.ts";
import { listenAt, SocketDir } from "../../support/unix.ts";

const QUIET = {
  targetConnected: () => {},
  targetReleased: () => {},
  targetFailed: () => {},
  targetUp: () => {},
};

function over(addresses: NonEmpty<Address>, balance: Balance): () => Promise<Conn> {
  const [first, ...more] = addresses.map((address): Target => ({ address, serverName: undefined }));
  assert.ok(first !== undefined);
  const targets = new LoadBalancer({
    targets: [first, ...more],
    balance,
    dialTimeout: 10_000,
    resolver: new Resolver(),
    metrics: QUIET,
    monotonic: () => performance.now(),
    random: Math.random,
  });
  const { signal } = new AbortController();
  return async () => {
    const reached = await targets.connect(
      ({ address, timeout, signal }) => dial(address, { timeout, signal }),
      { signal },
    );
    reached[Symbol.dispose]();
    return reached.value;
  };
}

function tcp(listener: TcpListener): Address {
  return { kind: "tcp", host: "127.0.0.1", port: listener.port };
}

const LOCAL = { host: "127.0.0.1", port: 0 };

/** Who is at the other end of a new connection. */
async function remote(connect: () => Promise<Conn>): Promise<string> {
  const conn = await connect();
  conn.close();
  return conn.remote;
}

Deno.test("targets: a missing socket, a port that refuses, and one that takes it", async () => {
  using place = new SocketDir();
  const gone = listenTcp(LOCAL);
  gone.close();
  const there = listenTcp(LOCAL);
  const connect = over([place.at(), tcp(gone), tcp(there)], "failover");
  assert.equal(await remote(connect), there.address);
  // The socket comes back, and is found when every other is gone.
  const back = await listenAt(place.at());
  there.close();
  assert.equal(await remote(connect), back.address);
  back.close();
  await assert.rejects(connect(), (error) => {
    assert.ok(error instanceof NoTarget);
    assert.match(error.message, /No such file/);
    assert.equal(error.message.match(/refused/g)?.length, 2);
    return true;
  });
});

Deno.test("targets: round robin while one is stopped under load loses nothing", async () => {
  const listeners = [listenTcp(LOCAL), listenTcp(LOCAL), listenTcp(LOCAL)] as const;
  const [one, two, three] = listeners;
  const connect = over([tcp(one), tcp(two), tcp(three)], "round_robin");
  const seen = new Map<string, number>();
  const load = async (count: number) => {
    for (const at of await Promise.all(Array.from({ length: count }, () => remote(connect)))) {
      seen.set(at, (seen.get(at) ?? 0) + 1);
    }
  };
  try {
    await load(30);
    assert.deepEqual(listeners.map(({ address }) => seen.get(address)), [10, 10, 10]);
    two.close();
    await load(30);
    assert.equal(seen.get(two.address), 10);
    assert.equal([...seen.values()].reduce((sum, count) => sum + count, 0), 60);
  } finally {
    for (const listener of listeners) listener.close();
  }
});
