/**
 * A peer that sends to a reader that reads nothing costs the daemon next to no memory, in each of the
 * four directions, and loses no byte.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Conn } from "../../src/net/conn.ts";
import type { TestDaemon } from "../support/daemon.ts";
import {
  type End,
  MB,
  plainEnd,
  plainTarget,
  readHash,
  Sending,
  type Target,
  tlsEnd,
  tlsTarget,
} from "../support/conns.ts";
import { MIB, residentBytes, settled } from "../support/process.ts";
import { TestBed } from "../support/testbed.ts";

/** What the stalled reader is sent. */
const OFFERED = 300 * MB;
/** What a connection moves beforehand, so that what every daemon has in use once is in use. */
const WARM_UP = 4 * MB;
/** What it may cost. */
const LIMIT = 16 * MB;

type Route = {
  readonly daemon: TestDaemon;
  readonly target: Target;
  readonly connect: () => Promise<End>;
};

const MODES = {
  "server mode": async (testBed: TestBed): Promise<Route> => {
    const target = testBed.use(plainTarget());
    const daemon = await testBed.server(target.address);
    return {
      daemon,
      target,
      connect: async () => testBed.use(await tlsEnd(daemon.port, testBed.pki)),
    };
  },
  "client mode": async (testBed: TestBed): Promise<Route> => {
    const target = testBed.use(tlsTarget(testBed.pki));
    const daemon = await testBed.client(target.address);
    return { daemon, target, connect: async () => testBed.use(await plainEnd(daemon.port)) };
  },
} satisfies Record<string, (testBed: TestBed) => Promise<Route>>;

/** A connection through the daemon: sender and reader for one direction. */
async function connection(
  { connect, target }: Route,
  towards: "target" | "client",
): Promise<{ sender: Conn; reader: Conn }> {
  const [downstream, upstream] = await Promise.all([connect(), target.next()]);
  return towards === "target"
    ? { sender: downstream, reader: upstream }
    : { sender: upstream, reader: downstream };
}

for (const [mode, route] of Object.entries(MODES)) {
  for (const towards of ["target", "client"] as const) {
    Deno.test(`${mode}: 300 MB towards a ${towards} that reads nothing`, async () => {
      await using testBed = await TestBed.create();
      const way = await route(testBed);
      const { pid } = way.daemon;
      const first = await connection(way, towards);
      const warming = new Sending(first.sender, WARM_UP);
      assert.equal((await readHash(first.reader)).hash, await warming.hash);
      first.sender.close();
      first.reader.close();
      await way.daemon.waitForMetric("mtlsd_active_connections", 0);

      const { sender, reader } = await connection(way, towards);
      const before = await residentBytes(pid);
      const sending = new Sending(sender, OFFERED);
      // Blocked: neither the sender nor the daemon moves another byte.
      const direction = towards === "target" ? "client_to_target" : "target_to_client";
      await settled(() => sending.sent, 500);
      await settled(async () =>
        (await way.daemon.metrics()).get(
          `mtlsd_bytes_proxied_total{direction="${direction}"}`,
        ) ?? -1
      );
      assert.ok(sending.sent < OFFERED / 3, `the sender is not held back: ${sending.sent} bytes`);
      const cost = await residentBytes(pid) - before;
      assert.ok(cost < LIMIT, `costs ${(cost / MIB).toFixed(1)} MiB, of ${before / MIB} MiB`);

      const got = await readHash(reader);
      assert.deepEqual(got, { size: OFFERED, hash: await sending.hash });
    });
  }
}
