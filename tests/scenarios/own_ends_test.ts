/**
 * What the daemon ends by itself ends with close_notify on each TLS connection, in either role, and waits
 * for a peer that does not read it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { TestDaemon } from "../support/daemon.ts";
import { baseline, waitForDescriptors } from "../support/process.ts";
import { gotBy, pythonClient, type PythonPeer, pythonServer } from "../support/python_tls.ts";
import { type DaemonOptions, TestBed } from "../support/testbed.ts";
import { plainTarget, tlsEnd } from "../support/conns.ts";
import { unacceptingTarget } from "../support/proxies.ts";
import { Peer, PeerServer } from "../support/sockets.ts";
import { until } from "../support/wait.ts";
import { changeRules } from "../support/reload.ts";

const NO_HANDLES = fileURLToPath(new URL("../support/no_handles.ts", import.meta.url));
const WAYS = { native: {}, public: { preload: NO_HANDLES } } as const;

/** How a daemon comes to end a connection, and what it calls that. */
type Cause = {
  readonly proxy?: Readonly<Record<string, unknown>>;
  readonly act?: (daemon: TestDaemon) => Promise<unknown>;
  readonly reason: string;
};

const CAUSES: Readonly<Record<string, Cause>> = {
  "idle_timeout": { proxy: { idle_timeout: "1s" }, reason: "idle_timeout" },
  "max_lifetime": { proxy: { max_lifetime: "2s" }, reason: "max_lifetime" },
  "a drain that is out of time": {
    proxy: { shutdown_timeout: "300ms" },
    act: (daemon) => Promise.resolve(daemon.kill("SIGTERM")),
    reason: "shutdown",
  },
  "a second signal": {
    act: async (daemon) => {
      daemon.kill("SIGTERM");
      await daemon.waitForLog("shutting down");
      daemon.kill("SIGTERM");
    },
    reason: "shutdown",
  },
};

/** Says something, and then hears what comes without having ended its half. */
const listening = (testBed: TestBed, version: PythonPeer["version"]): PythonPeer => ({
  files: testBed.files,
  version,
  size: 1000,
  end: "none",
});

for (const [way, preload] of Object.entries(WAYS)) {
  for (const version of ["TLSv1_2", "TLSv1_3"] as const) {
    for (const [name, { proxy = {}, act, reason }] of Object.entries(CAUSES)) {
      const options: DaemonOptions = { ...preload, proxy };

      Deno.test(`${name} sends close_notify to a client, ${version}, ${way}`, async () => {
        await using testBed = await TestBed.create();
        const backend = testBed.use(await PeerServer.listen());
        const server = await testBed.server(backend.address, options);
        const peer = testBed.use(pythonClient(server.port, listening(testBed, version)));
        const upstream = await backend.peer(0);
        await until(() => upstream.received === 1000);
        await act?.(server);
        assert.deepEqual(await gotBy(peer), { size: 0, end: "eof" });
        assert.equal(await upstream.ended(), "end");
        await server.waitForLog("listener: connection closed", { reason });
      });

      Deno.test(`${name} sends close_notify to a server, ${version}, ${way}`, async () => {
        await using testBed = await TestBed.create();
        const target = testBed.use(await pythonServer(listening(testBed, version)));
        const client = await testBed.client(target.address, options);
        await using downstream = await Peer.connect(client.port);
        await until(() => downstream.received === 1000);
        await act?.(client);
        assert.deepEqual(await gotBy(target.process), { size: 0, end: "eof" });
        assert.equal(await downstream.ended(), "end");
        await client.waitForLog("dialer: connection closed", { reason });
      });
    }
  }
}

Deno.test("a peer that the rules do not admit any more gets close_notify", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(await PeerServer.listen());
  const server = await testBed.server(backend.address);
  const peer = testBed.use(pythonClient(server.port, listening(testBed, "TLSv1_3")));
  const upstream = await backend.peer(0);
  await until(() => upstream.received === 1000);
  await changeRules(server, { deny_cn: ["frontend-service"] });
  assert.deepEqual(await gotBy(peer), { size: 0, end: "eof" });
  await server.waitForLog("listener: connection closed", { reason: "denied" });
});

Deno.test("an end while the target is dialled has close_notify as well", async () => {
  await using testBed = await TestBed.create();
  using target = await unacceptingTarget();
  const server = await testBed.server(target.address, { proxy: { max_lifetime: "2s" } });
  const peer = testBed.use(pythonClient(server.port, listening(testBed, "TLSv1_3")));
  assert.deepEqual(await gotBy(peer), { size: 0, end: "eof" });
  await server.waitForLog("listener: connection closed", { reason: "max_lifetime" });
});

Deno.test("a target that cannot be reached is no end in good order", async () => {
  await using testBed = await TestBed.create();
  const { server, client } = await testBed.tunnel("127.0.0.1:1");
  const peer = testBed.use(pythonClient(server.port, listening(testBed, "TLSv1_3")));
  assert.notEqual((await gotBy(peer)).end, "eof");
  await using downstream = await Peer.connect(client.port);
  assert.equal(await downstream.ended(), "reset");
  await client.waitForLog("dialer: connection closed", { reason: "target_reset" });
});

Deno.test("peers that take nothing hold up neither an end nor a descriptor", async () => {
  await using testBed = await TestBed.create();
  const target = testBed.use(plainTarget());
  const server = await testBed.server(target.address, { proxy: { max_lifetime: "1s" } });
  const base = await baseline(server);
  for (let peer = 0; peer < 5; peer++) {
    const [downstream, upstream] = await Promise.all([
      tlsEnd(server.port, testBed.pki),
      target.next(),
    ]);
    testBed.use(downstream);
    // Both sides send, and none reads.
    for (const end of [downstream, upstream]) {
      void (async () => {
        try {
          for (;;) await end.write(new Uint8Array(100_000));
        } catch {
          // Ended, as it should be.
        }
      })();
    }
  }
  await server.waitForMetric('mtlsd_connections_closed_total{reason="max_lifetime"}', 5);
  await waitForDescriptors(server.pid, base);
});
