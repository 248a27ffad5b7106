/**
 * Each time limit, what it ends and what it leaves alone.
 *
 * @module
 */

import assert from "node:assert/strict";
import { plainEnd, plainTarget, readToEnd, tlsEnd } from "../support/conns.ts";
import { Backend, echoBackend, writeAll } from "../support/peers.ts";
import { unacceptingTarget } from "../support/proxies.ts";
import { TestBed } from "../support/testbed.ts";
import { clientHello, Peer, PeerServer } from "../support/sockets.ts";
import { until } from "../support/wait.ts";

const closedBy = (reason: string) => `mtlsd_connections_closed_total{reason="${reason}"}`;
const handshakeError = (reason: string) => `mtlsd_tls_handshake_errors_total{reason="${reason}"}`;
const pause = (milliseconds: number) => new Promise((done) => setTimeout(done, milliseconds));

Deno.test("handshake_timeout closes the silent and those who trickle", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const server = await testBed.server(backend.address, { tls: { handshake_timeout: "1500ms" } });
  const hello = await clientHello();
  await using silent = await Peer.connect(server.port);
  await using trickling = await Peer.connect(server.port);
  await using stuck = await Peer.connect(server.port);
  const start = performance.now();
  // A whole ClientHello, and nothing after the server's answer.
  await stuck.send(hello);
  const trickle = (async () => {
    for (let at = 0; trickling.ending === "open"; at++) {
      await trickling.send(hello.subarray(at, at + 1));
      await pause(20);
    }
  })();
  await Promise.all([silent.ended(), trickling.ended(), stuck.ended()]);
  const took = performance.now() - start;
  assert.ok(took > 1400, `${took} ms`);
  await trickle;
  assert.equal(silent.received, 0);
  assert.equal(trickling.received, 0);
  await server.waitForMetric(handshakeError("timeout"), 3);
  await server.waitForLog("listener: handshake failed", {
    reason: "timeout",
    error: /^no handshake within 1\.[45]\d*s$/,
  });
  assert.equal(backend.connections, 0);
  // The limit ends with the handshake.
  const end = testBed.use(await tlsEnd(server.port, testBed.pki));
  await pause(1600);
  await end.write(new TextEncoder().encode("later"));
  await end.closeWrite();
  assert.equal((await readToEnd(end)).text, "later");
});

Deno.test("idle_timeout closes a connection on which nothing moves, and no other", async () => {
  await using testBed = await TestBed.create();
  const target = testBed.use(plainTarget());
  const server = await testBed.server(target.address, { proxy: { idle_timeout: "2s" } });
  const [busy, busyUpstream] = await Promise.all([tlsEnd(server.port, testBed.pki), target.next()]);
  const [idle, idleUpstream] = await Promise.all([tlsEnd(server.port, testBed.pki), target.next()]);
  for (const end of [busy, idle]) testBed.use(end);
  const start = performance.now();
  let bothEnded = false;
  const ended = Promise.all([readToEnd(idle), readToEnd(idleUpstream)]).then(() =>
    bothEnded = true
  );
  // One direction is enough.
  let sent = 0;
  while (!bothEnded || performance.now() - start < 3000) {
    await busyUpstream.write(new TextEncoder().encode("."));
    sent++;
    await pause(50);
  }
  await ended;
  await server.waitForLog("listener: connection closed", { reason: "idle_timeout" });
  await server.waitForMetric(closedBy("idle_timeout"), 1);
  await busyUpstream.closeWrite();
  assert.equal((await readToEnd(busy)).text.length, sent);
  await busy.closeWrite();
  await server.waitForMetric(closedBy("completed"), 1);
});

Deno.test("idle_timeout also ends what a stalled reader holds up, in client mode", async () => {
  await using testBed = await TestBed.create();
  const target = testBed.use(plainTarget());
  const { client } = await testBed.tunnel(target.address, {
    client: { proxy: { idle_timeout: "1s" } },
  });
  const [downstream] = await Promise.all([plainEnd(client.port), target.next()]);
  testBed.use(downstream);
  const block = new Uint8Array(1_000_000);
  await assert.rejects(async () => {
    for (;;) await downstream.write(block);
  });
  await client.waitForMetric(closedBy("idle_timeout"), 1);
});

Deno.test("close_timeout: 0 lets the other side go on, a limit cuts it however busy it is", async () => {
  await using testBed = await TestBed.create();
  let stop = false;
  const backend = testBed.use(
    new Backend(async (conn) => {
      while (!stop) {
        await writeAll(conn, new Uint8Array(1000));
        await pause(20);
      }
    }),
  );
  const limited = await testBed.server(backend.address, { proxy: { close_timeout: "400ms" } });
  const unlimited = await testBed.server(backend.address, { proxy: { close_timeout: "0s" } });
  const cut = testBed.use(await tlsEnd(limited.port, testBed.pki));
  const kept = testBed.use(await tlsEnd(unlimited.port, testBed.pki));
  await cut.closeWrite();
  await kept.closeWrite();
  const start = performance.now();
  let received = 0;
  const keptEnded = (async () => {
    for (let bytes = await kept.read(); bytes !== null; bytes = await kept.read()) {
      received += bytes.length;
    }
  })();
  await readToEnd(cut);
  assert.ok(performance.now() - start > 350);
  await limited.waitForLog("listener: connection closed", { reason: "close_timeout" });
  await limited.waitForMetric(closedBy("close_timeout"), 1);
  const before = received;
  await until(() => received > before + 10_000);
  stop = true;
  await keptEnded;
  await unlimited.waitForMetric(closedBy("completed"), 1);
});

Deno.test("dial_timeout: a target that does not answer, in both modes", async () => {
  await using testBed = await TestBed.create();
  using hole = await unacceptingTarget();
  const proxy = { dial_timeout: "500ms" };
  const server = await testBed.server(hole.address, { proxy });
  const client = await testBed.client(hole.address, { proxy });
  const start = performance.now();
  const downstream = testBed.use(await tlsEnd(server.port, testBed.pki));
  await using plainClient = await Peer.connect(client.port);
  await plainClient.send("secret");
  assert.equal((await readToEnd(downstream)).text, "");
  await plainClient.ended();
  assert.equal(plainClient.received, 0);
  const took = performance.now() - start;
  assert.ok(took > 400, `${took} ms`);
  for (const [daemon, name] of [[server, "listener"], [client, "dialer"]] as const) {
    // To choose the target has its share of the time.
    await daemon.waitForLog(`${name}: dial failed`, {
      error: new RegExp(`^Cannot connect to "${hole.address}": no answer within [1-5]\\d\\dms$`),
    });
    await daemon.waitForMetric("mtlsd_dial_errors_total", 1);
    await daemon.waitForMetric(closedBy("dial_failed"), 1);
  }
});

Deno.test("dial_timeout: in client mode the handshake is included", async () => {
  await using testBed = await TestBed.create();
  const target = testBed.use(await PeerServer.listen());
  // Either limit is enough.
  const limits = [{ proxy: { dial_timeout: "1500ms" } }, {
    tls: { handshake_timeout: "1500ms" },
    proxy: { dial_timeout: "60s" },
  }];
  for (const [nth, limit] of limits.entries()) {
    const client = await testBed.client(target.address, limit);
    await using downstream = await Peer.connect(client.port);
    await downstream.send("secret");
    await downstream.ended();
    const silent = await target.peer(nth);
    await silent.ended();
    assert.ok(!silent.text.includes("secret"));
    await client.waitForLog("dialer: handshake failed", { reason: "timeout" });
    await client.waitForMetric(handshakeError("timeout"), 1);
    await client.waitForMetric(closedBy("dial_failed"), 1);
  }
});
