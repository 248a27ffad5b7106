/**
 * Rules change under many open connections.
 *
 * @module
 */

import assert from "node:assert/strict";
import { EchoClient, EchoLoop } from "../support/clients.ts";
import { echoBackend } from "../support/peers.ts";
import { makeLeaf } from "../support/pki.ts";
import { TestBed } from "../support/testbed.ts";
import type { Row } from "./row.ts";
import { assertAllClosesCounted, closedSeries } from "../support/metrics.ts";
import { changeRules } from "../support/reload.ts";

/** How soon who is not let in any more has to be gone, in milliseconds. */
const LIMIT = 2000;

/** Connections that are opened at a time. */
const AT_ONCE = 16;

async function halfLosesAccess(count: number): Promise<string> {
  await using testBed = await TestBed.create();
  const server = await testBed.server(testBed.use(echoBackend()).address);
  const [even, odd] = ["even", "odd"].map((subject) =>
    makeLeaf({ role: "client", subject }, testBed.pki.ca)
  );
  const clients: EchoClient[] = [];
  let next = 0;
  const opener = async () => {
    while (next < count) {
      const number = next++;
      const identity = number % 2 === 0 ? even : odd;
      assert.ok(identity !== undefined);
      clients[number] = testBed.use(await EchoClient.open({ ...testBed.as(server), identity }));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, opener));
  const [staying, leaving] = [0, 1].map((rest) => clients.filter((_, i) => i % 2 === rest));
  assert.ok(staying !== undefined && leaving !== undefined);
  let took: number;
  {
    await using _chatter = new EchoLoop(...staying.slice(0, 20));
    await changeRules(server, { deny_cn: ["odd"] });
    const from = performance.now();
    took = Math.max(...await Promise.all(leaving.map((client) => client.ended()))) - from;
  }
  assert.ok(took < LIMIT, `the last one ended after ${took} ms`);
  await Promise.all(staying.map((client) => client.echo("still here")));
  await server.waitForMetric(closedSeries("denied"), leaving.length);
  await assertAllClosesCounted(server);
  return `${leaving.length} closed within ${Math.max(0, Math.round(took))} ms of the reload, ` +
    `${staying.length} answer`;
}

/** The rows. */
export const rows: readonly Row[] = [
  {
    subject: "server",
    fault: "the rules change under 1,000 open connections",
    holds: "the half that loses access is closed within 2 s, the other half answers",
    run: (scale) => halfLosesAccess(scale === "full" ? 1000 : 200),
  },
];
