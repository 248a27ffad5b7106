/**
 * Stopping: what is open goes on to its end or is cut in time, in both modes, and the port is free.
 *
 * @module
 */

import assert from "node:assert/strict";
import net from "node:net";
import { countLog, type TestDaemon } from "../support/daemon.ts";
import { attempt, connectTls, lineBackend, ownAddress, refuses, split } from "../support/peers.ts";
import { TestBed } from "../support/testbed.ts";
import { until } from "../support/wait.ts";
import { CountingClient, ReleasedBackend } from "../support/clients.ts";

type Setting = {
  readonly daemon: TestDaemon;
  readonly listen: string;
  readonly call: () => Promise<CountingClient>;
};

/** A daemon of each mode on an address that is known beforehand. */
const MODES: Readonly<
  Record<string, (testBed: TestBed, target: string, proxy?: object) => Promise<Setting>>
> = {
  "server mode": async (testBed, target, proxy = {}) => {
    const listen = ownAddress();
    const { hostname: host, port } = split(listen);
    const daemon = await testBed.server(target, { listen, proxy: { ...proxy } });
    const call = async () =>
      await testBed.use(new CountingClient(await connectTls({ ...testBed.as(daemon), host, port })))
        .greeted();
    return { daemon, listen, call };
  },
  "client mode": async (testBed, target, proxy = {}) => {
    const listen = ownAddress();
    const { hostname: host, port } = split(listen);
    const behind = await testBed.server(target);
    const daemon = await testBed.client(behind.listen, { listen, proxy: { ...proxy } });
    const call = async () =>
      await testBed.use(new CountingClient(net.connect({ host, port, allowHalfOpen: true })))
        .greeted();
    return { daemon, listen, call };
  },
};

/** Whether the process has ended. */
function watchExit(daemon: TestDaemon): { code: number | undefined } {
  const state: { code: number | undefined } = { code: undefined };
  daemon.exit().then((code) => state.code = code);
  return state;
}

for (const [mode, set] of Object.entries(MODES)) {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    Deno.test(`${signal} in ${mode}: what is open is completed, the port is free soon`, async () => {
      await using testBed = await TestBed.create();
      const rest = new Uint8Array(4 << 20);
      const backend = testBed.use(new ReleasedBackend(rest));
      const { daemon, listen, call } = await set(testBed, backend.address);
      const clients = [await call(), await call()];
      const exit = watchExit(daemon);
      daemon.kill(signal);
      await daemon.waitForLog("shutting down", { signal });
      // Connections that arrive during the drain are still served for a while.
      await until(() => refuses(listen), { every: 200 });
      await until(async () => (await daemon.probe("/readyz")).status === 503);
      assert.deepEqual((await daemon.probe("/readyz")).body, {
        status: "not ready",
        reason: "shutting down",
      });
      assert.equal((await daemon.probe("/healthz")).status, 200);
      // Theirs, and perhaps of one who looked.
      assert.ok(((await daemon.metrics()).get("mtlsd_active_connections") ?? 0) >= 2);

      // Another daemon takes the port over while the first one still drains.
      const next = lineBackend();
      testBed.use(next);
      const { hostname, port } = split(listen);
      if (mode === "server mode") {
        const heir = await testBed.server(next.address, { listen });
        const client = { ...testBed.as(heir), host: hostname, port };
        assert.equal(await attempt(client), "echo: hello");
      } else {
        const behind = await testBed.server(next.address);
        await testBed.client(behind.listen, { listen });
        const conn = await Deno.connect({ hostname, port });
        await conn.write(new TextEncoder().encode("hello"));
        await conn.closeWrite();
        assert.equal(await new Response(conn.readable).text(), "echo: hello");
      }
      assert.equal(exit.code, undefined);
      assert.equal((await daemon.probe("/readyz")).status, 503);

      backend.release();
      for (const downstream of clients) {
        await downstream.over;
        assert.equal(downstream.received, 1 + rest.length);
      }
      assert.equal(await daemon.exit(), 0);
      assert.equal(daemon.lines.at(-1)?.fields.msg, "shutdown complete");
      assert.equal(
        daemon.lines.filter(({ fields }) =>
          fields.msg?.endsWith("connection closed") && fields.reason === "completed" &&
          Number(fields.bytes_out) > rest.length
        ).length,
        2,
      );
    });
  }

  Deno.test(`${mode}: when shutdown_timeout passes, what is open is cut, status 1`, async () => {
    await using testBed = await TestBed.create();
    const backend = testBed.use(new ReleasedBackend());
    const proxy = { shutdown_timeout: "250ms" };
    const { daemon, call } = await set(testBed, backend.address, proxy);
    const downstream = await call();
    daemon.kill("SIGTERM");
    assert.equal(await daemon.exit(), 1);
    await downstream.over;
    await daemon.waitForLog(/server/.test(mode) ? CLOSED.server : CLOSED.client, {
      reason: "shutdown",
    });
    assert.equal(daemon.lines.at(-1)?.fields.msg, "shutdown complete");
  });

  for (const [first, second] of [["SIGTERM", "SIGINT"], ["SIGINT", "SIGINT"]] as const) {
    Deno.test(`${mode}: ${second} after ${first} cuts at once, status 1`, async () => {
      await using testBed = await TestBed.create();
      const backend = testBed.use(new ReleasedBackend());
      // No limit: only the second signal can end it.
      const { daemon, listen, call } = await set(testBed, backend.address, {
        shutdown_timeout: "0",
      });
      const downstream = await call();
      daemon.kill(first);
      await until(() => refuses(listen));
      daemon.kill(second);
      assert.equal(await daemon.exit(), 1);
      await downstream.over;
      assert.equal(countLog(daemon, "shutting down"), 1);
    });
  }
}

const CLOSED = { server: "listener: connection closed", client: "dialer: connection closed" };

Deno.test("SIGHUP during a drain is ignored", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(new ReleasedBackend());
  const daemon = await testBed.server(backend.address);
  const downstream = testBed.use(new CountingClient(await connectTls(testBed.as(daemon))));
  await downstream.greeted();
  daemon.kill("SIGTERM");
  await daemon.waitForLog("shutting down");
  for (let i = 0; i < 5; i++) daemon.kill("SIGHUP");
  await daemon.waitForLog("ignoring SIGHUP during the drain");
  assert.equal((await daemon.metrics()).get('mtlsd_reloads_total{result="success"}'), 0);
  assert.equal(countLog(daemon, "received SIGHUP, reloading certificates"), 0);
  // Neither do changes of the files count any more.
  await Deno.writeTextFile(testBed.files.server, "garbage");
  backend.release();
  await downstream.over;
  assert.equal(await daemon.exit(), 0);
  assert.equal(countLog(daemon, "certstore: reload failed, keeping the previous certificates"), 0);
});
