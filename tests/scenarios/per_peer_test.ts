/**
 * `proxy.max_connections_per_peer`: one service cannot take every connection.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { TestDaemon } from "../support/daemon.ts";
import { EchoClient } from "../support/clients.ts";
import { type ClientOptions, echoBackend } from "../support/peers.ts";
import { dns, type Issued, makeLeaf } from "../support/pki.ts";
import { TestBed } from "../support/testbed.ts";
import { assertAllClosesCounted, closedSeries } from "../support/metrics.ts";
import { changeRules } from "../support/reload.ts";

/** A certificate of the test bed's CA with a key and a serial of its own. */
function client(testBed: TestBed, subject: string, ...names: readonly string[]): Issued {
  return makeLeaf({ role: "client", subject, san: names.map(dns) }, testBed.pki.ca);
}

/** Connects, and is closed before anything comes through. */
async function refused(options: ClientOptions): Promise<void> {
  try {
    await using held = await EchoClient.connect(options);
    await held.ended();
  } catch (error) {
    // With TLS 1.2 the handshake itself does not end.
    assert.ok(error instanceof Error);
  }
}

/** Connects again until there is room: the end of another connection may still be on its way. */
async function openSoon(testBed: TestBed, options: ClientOptions): Promise<EchoClient> {
  for (let tries = 0;; tries++) {
    try {
      return testBed.use(await EchoClient.open(options));
    } catch (error) {
      if (tries === 100) throw error;
      await new Promise((done) => setTimeout(done, 20));
    }
  }
}

/** How many connections were denied. */
async function denied(server: TestDaemon): Promise<number> {
  return (await server.metrics()).get(closedSeries("denied")) ?? NaN;
}

Deno.test("a peer has so many connections at once and not one more", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const server = await testBed.server(backend.address, { proxy: { max_connections_per_peer: 2 } });
  const as = (identity: Issued) => ({ ...testBed.as(server), identity });
  const web = client(testBed, "web", "web.example");
  const held = [await openSoon(testBed, as(web)), await openSoon(testBed, as(web))];
  // A renewed certificate is the same peer, under both versions of TLS.
  await refused(as(web));
  await refused({ ...as(client(testBed, "web", "web.example")), maxVersion: "TLSv1.2" });
  const line = await server.waitForLog("listener: denied connection", { peer_cn: "web" });
  assert.match(line.fields.reason ?? "", /^max_connections_per_peer: 2 /);
  assert.equal(line.fields.peer_san, "DNS:web.example");
  await server.waitForMetric(closedSeries("denied"), 2);
  assert.equal(backend.connections, 2);
  // Others are not concerned.
  await openSoon(testBed, as(client(testBed, "web", "other.example")));
  await openSoon(testBed, as(client(testBed, "db")));
  for (const one of held) await one.echo("still here");
  await held[0]?.[Symbol.asyncDispose]();
  const again = await openSoon(testBed, as(web));
  await refused(as(web));
  await again.echo("still here");
  await assertAllClosesCounted(server);
});

Deno.test("a share is given back however a connection ends, and once", async () => {
  await using testBed = await TestBed.create();
  const server = await testBed.server(testBed.use(echoBackend()).address, {
    proxy: { max_connections_per_peer: 1 },
  });
  const web = { ...testBed.as(server), identity: client(testBed, "web") };
  // By the peer, by a change of rules, by a denial.
  for (let i = 0; i < 5; i++) {
    const one = await openSoon(testBed, web);
    await refused(web);
    await one[Symbol.asyncDispose]();
  }
  const one = await openSoon(testBed, web);
  await changeRules(server, { deny_cn: ["web"] });
  await one.ended();
  await refused(web);
  await changeRules(server, {});
  await openSoon(testBed, web);
  const before = await denied(server);
  await refused(web);
  await server.waitForMetric(closedSeries("denied"), before + 1);
  await assertAllClosesCounted(server);
});

Deno.test("a target that cannot be reached costs a peer nothing", async () => {
  await using testBed = await TestBed.create();
  const gone = echoBackend();
  const { address } = gone;
  await gone[Symbol.asyncDispose]();
  const server = await testBed.server(address, { proxy: { max_connections_per_peer: 1 } });
  for (let i = 1; i <= 5; i++) {
    await refused(testBed.as(server));
    await server.waitForMetric(closedSeries("dial_failed"), i);
  }
  assert.equal(await denied(server), 0);
});

Deno.test("peers without a certificate are told apart by address", async () => {
  await using testBed = await TestBed.create();
  const server = await testBed.server(testBed.use(echoBackend()).address, {
    tls: { client_auth: "optional" },
    proxy: { max_connections_per_peer: 1 },
  });
  const nameless = { port: server.port, ca: testBed.pki.ca.pem };
  await openSoon(testBed, nameless);
  await refused(nameless);
  const line = await server.waitForLog("listener: denied connection");
  assert.match(line.fields.reason ?? "", /^max_connections_per_peer: 1 /);
  // A client with a certificate is another peer.
  await openSoon(testBed, testBed.as(server));
  await assertAllClosesCounted(server);
});
