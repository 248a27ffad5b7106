/**
 * Many connections at once, and the limit to how many.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Conn } from "../../src/net/conn.ts";
import type { TestDaemon } from "../support/daemon.ts";
import { type End, plainEnd, type Target, tlsEnd, tlsTarget } from "../support/conns.ts";
import { echoBackend } from "../support/peers.ts";
import { descriptors, settled, waitForDescriptors } from "../support/process.ts";
import { TestBed } from "../support/testbed.ts";

/** Sends words and reads as many bytes back. */
async function echo(conn: Conn, words: string): Promise<string> {
  await conn.write(new TextEncoder().encode(words));
  let answer = "";
  while (answer.length < words.length) {
    const bytes = await conn.read();
    assert.ok(bytes !== null, `the connection ended after "${answer}"`);
    answer += new TextDecoder().decode(bytes);
  }
  return answer;
}

/** Echoes on every connection until the target is disposed of. */
async function serveEcho(target: Target): Promise<void> {
  const connections: Promise<void>[] = [];
  for (;;) {
    const conn = await target.next().catch(() => undefined);
    if (conn === undefined) break;
    const live = async () => {
      for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) {
        await conn.write(bytes);
      }
      conn.close();
    };
    connections.push(live().catch(() => conn.close()));
  }
  await Promise.all(connections);
}

/** Opens connections, a few at a time, and waits until each has echoed. */
async function open(count: number, connect: () => Promise<End>): Promise<End[]> {
  const ends: End[] = [];
  let next = 0;
  const worker = async () => {
    while (next < count) {
      const number = next++;
      const end = await connect();
      ends.push(end);
      assert.equal(await echo(end, `first ${number}`), `first ${number}`);
    }
  };
  await Promise.all(Array.from({ length: 16 }, worker));
  return ends;
}

async function echoAll(ends: readonly Conn[]): Promise<void> {
  const words = ends.map((_, number) => `connection ${number}`);
  const answers = await Promise.all(ends.map((end, number) => echo(end, words[number] ?? "")));
  assert.deepEqual(answers, words);
}

/** The next connection waits, and is served once another has closed. */
async function nextWaits(
  daemon: TestDaemon,
  ends: readonly End[],
  connect: () => Promise<End>,
): Promise<void> {
  let served = false;
  const waiting = connect().then(async (end) => {
    const answer = await echo(end, "patient");
    served = true;
    return { end, answer };
  });
  // Handshake and echo of the others took far less than this.
  await settled(async () => (await daemon.metrics()).get("mtlsd_connections_total") ?? -1, 500);
  assert.equal((await daemon.metrics()).get("mtlsd_connections_total"), ends.length);
  assert.equal((await daemon.metrics()).get("mtlsd_active_connections"), ends.length);
  assert.equal(served, false);
  ends[0]?.close();
  const { end, answer } = await waiting;
  assert.equal(answer, "patient");
  assert.equal((await daemon.metrics()).get("mtlsd_active_connections"), ends.length);
  await echoAll([...ends.slice(1), end]);
  for (const open of [...ends, end]) open.close();
  await daemon.waitForMetric("mtlsd_active_connections", 0);
}

Deno.test("1,000 connections at once; the 1,001st waits and is served when one closes", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const server = await testBed.server(backend.address, { proxy: { max_connections: 1000 } });
  const connect = () => tlsEnd(server.port, testBed.pki);
  await server.metrics(); // Its connection stays open and counts.
  const before = await descriptors(server.pid);
  const ends = await open(1000, connect);
  assert.equal(backend.connections, 1000);
  await echoAll(ends);
  await nextWaits(server, ends, connect);
  assert.equal(backend.connections, 1001);
  await waitForDescriptors(server.pid, before);
});

Deno.test("max_connections holds in client mode too", async () => {
  await using testBed = await TestBed.create();
  const target = testBed.use(tlsTarget(testBed.pki));
  const serving = serveEcho(target);
  const client = await testBed.client(target.address, { proxy: { max_connections: 3 } });
  const connect = () => plainEnd(client.port);
  await nextWaits(client, await open(3, connect), connect);
  await target[Symbol.asyncDispose]();
  await serving;
});

Deno.test("a peer that only connects takes a slot no longer than handshake_timeout", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const server = await testBed.server(backend.address, {
    proxy: { max_connections: 2 },
    tls: { handshake_timeout: "2s" },
  });
  const silent = await Promise.all([plainEnd(server.port), plainEnd(server.port)]);
  const [end] = await open(1, () => tlsEnd(server.port, testBed.pki));
  end?.close();
  await server.waitForMetric('mtlsd_tls_handshake_errors_total{reason="timeout"}', 2);
  for (const one of silent) one.close();
});
