/**
 * Run as a process of its own: connections by native handles that end in every way there is, and how
 * many descriptors they have left behind. Its last line is JSON.
 *
 * @module
 */

import type { Conn } from "../../src/net/conn.ts";
import { Peer } from "../support/sockets.ts";
import { until } from "../support/wait.ts";
import { requireNativeTcp, tcpPair } from "../support/tls/tcp_backends.ts";
import { listenTcp } from "../../src/net/mod.ts";

/** What is left when all are closed. */
export type Leftovers = {
  readonly connections: number;
  readonly before: number;
  readonly after: number;
};

type Pair = readonly [Conn, Conn];

const both = (read: (conn: Conn) => Promise<unknown>) => async (pair: Pair) => {
  await Promise.all(pair.map(async (conn) => {
    await conn.write(new Uint8Array(1000));
    await conn.closeWrite();
    await read(conn);
  }));
};

const ENDINGS: readonly ((pair: Pair) => Promise<void>)[] = [
  () => Promise.resolve(),
  both((conn) => conn.pipeTo(() => undefined)),
  both(async (conn) => {
    while (await conn.read() !== null);
  }),
  // Reads and writes that are cut off.
  (pair) => {
    for (const conn of pair) {
      conn.read().catch(() => {});
      conn.write(new Uint8Array(10_000_000))?.catch(() => {});
    }
    return Promise.resolve();
  },
  // Broken off while a read and a write are under way.
  ([conn, other]) => {
    conn.read().catch(() => {});
    conn.write(new Uint8Array(10_000_000))?.catch(() => {});
    conn.reset();
    other.reset();
    return Promise.resolve();
  },
];

async function reset(): Promise<void> {
  const listener = listenTcp({ host: "127.0.0.1", port: 0 }, { adopt: requireNativeTcp() });
  const [conn, peer] = await Promise.all([listener.accept(), Peer.connect(listener.port)]);
  listener.close();
  const reading = conn.pipeTo(() => undefined).catch(() => {});
  peer.reset();
  await reading;
  conn.close();
  await peer[Symbol.asyncDispose]();
}

async function round(): Promise<number> {
  for (const end of ENDINGS) {
    const pair = await tcpPair(requireNativeTcp());
    await end(pair);
    for (const conn of pair) conn.close();
  }
  await reset();
  return ENDINGS.length + 1;
}

if (import.meta.main) {
  const descriptors = (): number => [...Deno.readDirSync("/proc/self/fd")].length;
  await round();
  await new Promise((done) => setTimeout(done, 50));
  const before = descriptors();
  let connections = 0;
  for (let i = 0; i < 40; i++) connections += await round();
  // Handles are closed in the next turn.
  await until(() => descriptors() <= before, { within: 30_000 }).catch(() => {});
  const leftovers: Leftovers = { connections, before, after: descriptors() };
  await Deno.stdout.write(new TextEncoder().encode(`${JSON.stringify(leftovers)}\n`));
}
