/**
 * One side ends its half and still gets an answer, in each direction and each mode.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Conn } from "../../src/net/conn.ts";
import type { TestDaemon } from "../support/daemon.ts";
import { TestBed } from "../support/testbed.ts";
import { plainEnd, plainTarget, readToEnd, tlsEnd, tlsTarget } from "../support/conns.ts";

type Ends = {
  readonly downstream: Conn;
  readonly upstream: Conn;
  readonly daemons: readonly TestDaemon[];
};

const MODES = {
  "server mode": async (testBed: TestBed): Promise<Ends> => {
    const target = testBed.use(plainTarget());
    const server = await testBed.server(target.address);
    const downstream = testBed.use(await tlsEnd(server.port, testBed.pki));
    return { downstream, upstream: await target.next(), daemons: [server] };
  },
  "client mode": async (testBed: TestBed): Promise<Ends> => {
    const target = testBed.use(tlsTarget(testBed.pki));
    const client = await testBed.client(target.address);
    const downstream = testBed.use(await plainEnd(client.port));
    return { downstream, upstream: await target.next(), daemons: [client] };
  },
  "the full tunnel": async (testBed: TestBed): Promise<Ends> => {
    const target = testBed.use(plainTarget());
    const { server, client } = await testBed.tunnel(target.address);
    const downstream = testBed.use(await plainEnd(client.port));
    return { downstream, upstream: await target.next(), daemons: [server, client] };
  },
} satisfies Record<string, (testBed: TestBed) => Promise<Ends>>;

async function say(conn: Conn, words: string): Promise<void> {
  await conn.write(new TextEncoder().encode(words));
  await conn.closeWrite();
}

for (const [mode, connect] of Object.entries(MODES)) {
  for (const first of ["client", "target"] as const) {
    Deno.test(`half-close in ${mode}: the ${first} ends first and is answered`, async () => {
      await using testBed = await TestBed.create();
      const { downstream, upstream, daemons } = await connect(testBed);
      const [asking, answering] = first === "client"
        ? [downstream, upstream]
        : [upstream, downstream];
      await say(asking, "everything I have to say");
      const question = { text: "everything I have to say", end: "clean" };
      assert.deepEqual(await readToEnd(answering), question);
      // A large answer, so that most of it is under way after the FIN.
      const answer = "answer after the FIN ".repeat(50_000);
      const [heard] = await Promise.all([readToEnd(asking), say(answering, answer)]);
      assert.equal(heard.end, "clean");
      assert.equal(heard.text.length, answer.length);
      assert.ok(heard.text === answer);
      for (const daemon of daemons) {
        await daemon.waitForMetric('mtlsd_connections_closed_total{reason="completed"}', 1);
        await daemon.waitForMetric("mtlsd_active_connections", 0);
      }
    });
  }
}
