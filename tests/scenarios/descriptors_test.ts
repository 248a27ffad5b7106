/**
 * Running out of file descriptors, and back.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { TestDaemon } from "../support/daemon.ts";
import { ask, echoBackend } from "../support/peers.ts";
import { cpuSeconds, descriptors } from "../support/process.ts";
import { TestBed } from "../support/testbed.ts";
import { Peer, PeerServer } from "../support/sockets.ts";
import { until } from "../support/wait.ts";

const LIMIT = 100;
const WRAPPER = ["prlimit", `--nofile=${LIMIT}:${LIMIT}`];

/** Connects until the daemon has no descriptor left, and some more that it cannot accept. */
async function exhaust(port: number, pid: number, peers: Peer[]): Promise<void> {
  await until(async () => {
    peers.push(...await Promise.all(Array.from({ length: 10 }, () => Peer.connect(port))));
    return await descriptors(pid) >= LIMIT;
  }, { what: () => `${LIMIT} descriptors after ${peers.length} connections` });
}

/** Probes and metrics answer: they bind their ports again where they had lost them. */
async function allWell(daemon: TestDaemon): Promise<void> {
  const answers = async () => {
    try {
      const alive = (await daemon.probe("/healthz")).status === 200;
      const ready = (await daemon.probe("/readyz")).status === 200;
      const active = (await daemon.metrics()).get("mtlsd_active_connections");
      return alive && ready && active === 0;
    } catch (error) {
      if (error instanceof TypeError) return false; // Not bound, or cut.
      throw error;
    }
  };
  await until(answers, { what: () => `probes and metrics to answer:\n${daemon.log}` });
}

Deno.test("server mode runs out of descriptors without spinning, and accepts again", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const daemon = await testBed.server(backend.address, {
    wrapper: WRAPPER,
    tls: { handshake_timeout: "60s" },
  });
  const { pid, port } = daemon;
  for (let round = 1; round <= 2; round++) {
    const from = daemon.lines.length;
    const peers: Peer[] = [];
    await exhaust(port, pid, peers);
    // What comes again within seconds is the same incident, and is not logged again.
    if (round === 1) {
      await daemon.waitForLog("listener: accept failed", {
        error: /Too many open files \(os error 24\)/,
      }, from);
    }
    // Ten times a second would be no harm; a loop without a pause uses all there is.
    const cpu = await cpuSeconds(pid);
    const start = performance.now();
    await new Promise((done) => setTimeout(done, 1000));
    const used = await cpuSeconds(pid) - cpu;
    const elapsed = (performance.now() - start) / 1000;
    assert.ok(used < elapsed * 0.2, `${used} s of CPU in ${elapsed} s`);
    assert.ok(
      daemon.lines.slice(from).filter(({ fields }) => fields.msg === "listener: accept failed")
        .length <= 1,
    );

    for (const peer of peers) await peer[Symbol.asyncDispose]();
    assert.equal(await ask(testBed.as(daemon), "back again"), "back again");
    if (round === 1) await daemon.waitForLog("listener: accepting again", {}, from);
    await allWell(daemon);
  }
});

Deno.test("no descriptor left to dial with: that connection is closed, others go on", async () => {
  await using testBed = await TestBed.create();
  const target = testBed.use(await PeerServer.listen());
  // The target says nothing, so that connections stay where they are until this is over.
  const daemon = await testBed.client(target.address, {
    wrapper: WRAPPER,
    proxy: { dial_timeout: "2s" },
  });
  const { pid, port } = daemon;
  const peers: Peer[] = [];
  // Each takes several: sooner or later one is accepted and finds none for the way on.
  await exhaust(port, pid, peers);
  await until(async () => {
    if (daemon.log.includes("Too many open files")) return true;
    if (peers.length < 1000) peers.push(await Peer.connect(port));
    return false;
  }, { what: () => daemon.log });
  for (const peer of peers) await peer[Symbol.asyncDispose]();
  await allWell(daemon);
});

Deno.test("health and metrics answer after descriptors ran out under them too", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const daemon = await testBed.server(backend.address, {
    wrapper: WRAPPER,
    tls: { handshake_timeout: "60s" },
  });
  const peers: Peer[] = [];
  await exhaust(daemon.port, daemon.pid, peers);
  const probePort = Number(new URL(daemon.healthUrl).port);
  const probes = await Promise.allSettled(
    Array.from({ length: 10 }, () => Peer.connect(probePort)),
  );
  for (const probe of probes) if (probe.status === "fulfilled") peers.push(probe.value);
  for (const peer of peers) await peer[Symbol.asyncDispose]();
  await allWell(daemon);
  assert.equal(await ask(testBed.as(daemon), "still here"), "still here");
});

Deno.test("a start says when max_connections takes more descriptors than there are", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const SHORT = "too few file descriptors for proxy.max_connections";
  const limit = (descriptors: number) => ["prlimit", `--nofile=${descriptors}:${descriptors}`];
  const start = (descriptors: number, max: number) =>
    testBed.server(backend.address, {
      wrapper: limit(descriptors),
      proxy: { max_connections: max },
    });
  const short = await start(1000, 1000);
  const { fields } = await short.waitForLog(SHORT, {
    level: "WARN",
    max_connections: "1000",
    fix: /LimitNOFILE/,
  });
  const available = Number(fields.available);
  assert.ok(available > 900 && available < 1000, fields.available);
  assert.ok(Number(fields.needed) >= 2 * 1000, fields.needed);
  // None stays open, and all is served.
  assert.ok(await descriptors(short.pid) < 100);
  assert.equal(await ask(testBed.as(short), "hello"), "hello");
  for (const max of [50, 0]) {
    const enough = await start(1000, max);
    assert.equal(await ask(testBed.as(enough), "hello"), "hello");
    assert.doesNotMatch(enough.log, /too few/);
  }
});
