/**
 * Connection after connection, most of them polite: what do they leave behind?
 *
 * @module
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import type { TestDaemon } from "../support/daemon.ts";
import {
  ask,
  attempt,
  type ClientOptions,
  connectTls,
  echoBackend,
  readAll,
  writeAll,
} from "../support/peers.ts";
import { TestBed } from "../support/testbed.ts";
import { Peer } from "../support/sockets.ts";
import { forEach } from "./drain_transfers.ts";
import type { Scale, Subject } from "./row.ts";
import { COLLECTING, Footprints, Peaks } from "./soak_growth.ts";
import { assertAllClosesCounted } from "../support/metrics.ts";

/** Connections in all, and those before memory is looked at for the first time. */
const CONNECTIONS: Readonly<Record<Scale, readonly [first: number, all: number]>> = {
  full: [20_000, 100_000],
  bounded: [1000, 4000],
};
/** The highest memory with that many connections counts. */
const WINDOW = 5000;
const LOOK_EVERY = 250;

/** One connection each; they throw where it was not served as it should have been. */
type Ways = {
  readonly polite: (words: string) => Promise<void>;
  /** Breaks off in the middle. */
  readonly rude: (words: string) => Promise<void>;
  /** Is not let in, or is gone before it could be. */
  readonly stray: () => Promise<void>;
};

function tlsWays(client: ClientOptions): Ways {
  const { port, ca } = client;
  return {
    polite: async (words) => assert.equal(await ask(client, words), words),
    rude: async (words) => {
      const socket = await connectTls(client);
      const closed = once(socket, "close");
      socket.write(words);
      await once(socket, "data");
      socket.destroy();
      await closed;
    },
    stray: async () => assert.equal(await attempt({ port, ca }), "", "without a certificate"),
  };
}

function plainWays(port: number): Ways {
  return {
    polite: async (words) => {
      using conn = await Deno.connect({ hostname: "127.0.0.1", port });
      await writeAll(conn, new TextEncoder().encode(words));
      await conn.closeWrite();
      assert.equal(new TextDecoder().decode(await readAll(conn)), words);
    },
    rude: async (words) => {
      await using peer = await Peer.connect(port);
      await peer.send(words);
      await peer.receives(words);
      peer.reset();
    },
    stray: async () => {
      await using _peer = await Peer.connect(port);
    },
  };
}

/** What the daemons say of every connection. Kept, it would be the test that grows. */
const USUAL = new Set([
  "listener: accepted connection",
  "listener: connection closed",
  "listener: handshake failed",
  "dialer: connected",
  "dialer: connection closed",
]);

function forget(daemon: TestDaemon): void {
  const kept = daemon.lines.filter(({ fields }) => !USUAL.has(fields.msg ?? ""));
  daemon.lines.splice(0, daemon.lines.length, ...kept);
}

/** Opens and ends them all, and compares the daemons then with what they were after the first ones. */
export async function manyConnections(
  subject: Extract<Subject, "server" | "tunnel">,
  scale: Scale,
): Promise<string> {
  await using testBed = await TestBed.create();
  const { address } = testBed.use(echoBackend());
  const options = scale === "bounded" ? COLLECTING : {};
  const daemons: TestDaemon[] = [];
  let ways: Ways;
  if (subject === "server") {
    const server = await testBed.server(address, options);
    daemons.push(server);
    ways = tlsWays(testBed.as(server));
  } else {
    const { server, client } = await testBed.tunnel(address, { server: options, client: options });
    daemons.push(client, server);
    ways = plainWays(client.port);
  }
  const peaks = new Peaks(daemons);
  const batch = (from: number, to: number) =>
    forEach(to - from, async (index) => {
      const number = from + index;
      const words = `connection ${number}`;
      if (number % 10 === 3) await ways.rude(words);
      else if (number % 10 === 7) await ways.stray();
      else await ways.polite(words);
      if (number % LOOK_EVERY !== 0) return;
      await peaks.look();
      for (const daemon of daemons) forget(daemon);
    });
  const quiet = async (seen: number) => {
    for (const daemon of daemons) {
      await daemon.waitForMetric("mtlsd_active_connections", 0);
      await assertAllClosesCounted(daemon);
    }
    assert.equal((await daemons[0]?.metrics())?.get("mtlsd_connections_total"), seen);
  };
  /** The highest memory of the last ones, unless the memory of the moment says it. */
  const upTo = async (from: number, to: number): Promise<readonly number[] | undefined> => {
    const last = Math.max(from, to - WINDOW);
    await batch(from, last);
    await peaks.take();
    await batch(last, to);
    await quiet(to);
    return scale === "full" ? await peaks.take() : undefined;
  };

  const [first, all] = CONNECTIONS[scale];
  const start = performance.now();
  const before = await Footprints.take(daemons, await upTo(0, first));
  const compared = await before.compare(await upTo(first, all));
  const rate = all / ((performance.now() - start) / 1000);
  for (const { log } of daemons) assert.doesNotMatch(log, /level=ERROR/);
  return `${all} at ${rate.toFixed(0)}/s, a tenth broken off, a tenth strays, none failed; ` +
    `since the first ${first}: ${compared}`;
}
