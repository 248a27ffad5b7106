/**
 * A server whose certificates make the TLS engine search for a path for seconds: it gets one search and then
 * a pause.
 *
 * @module
 */

import assert from "node:assert/strict";
import { playServer } from "../support/adversary/server.ts";
import { forest } from "../support/hostile_chains.ts";
import { plainEnd } from "../support/conns.ts";
import { TestBed } from "../support/testbed.ts";
import { PeerServer } from "../support/sockets.ts";

Deno.test("a server whose certificates cost too much is left alone for a while", async () => {
  await using testBed = await TestBed.create();
  // Some 50,000 steps of the TLS engine's search.
  const { chain, key } = forest("p256", { name: "a forest", levels: 6, width: 6 });
  const hostile = testBed.use(
    await PeerServer.listen((peer) => void playServer(peer, "TLS1.3", { chain, key })),
  );
  const client = await testBed.client(hostile.address, {
    tls: { handshake_timeout: "60s" },
    proxy: { dial_timeout: "60s" },
  });
  for (let i = 0; i < 3; i++) {
    await using end = await plainEnd(client.port);
    assert.equal(await end.read().catch(() => null), null, "it was let in");
  }
  await client.waitForLog("dialer: leaving a server alone: its certificates cost too much", {
    server: hostile.address,
  });
  await client.waitForMetric("mtlsd_dial_errors_total", 2);
  assert.equal(hostile.peers.length, 1);
  assert.match(client.log, /left alone for another \d+s: its certificates cost too much/);
});
