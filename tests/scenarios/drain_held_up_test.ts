/**
 * What cannot hold up a stop: idle probes, unfinished handshakes, hanging files, odd endings.
 *
 * @module
 */

import assert from "node:assert/strict";
import net from "node:net";
import { countLog, startDaemon, type TestDaemon } from "../support/daemon.ts";
import { connectTls, lineBackend, refuses, sh, writeAll } from "../support/peers.ts";
import { TestBed } from "../support/testbed.ts";
import { timed, until } from "../support/wait.ts";
import { CountingClient, ReleasedBackend } from "../support/clients.ts";

Deno.test("with nothing open the stop is immediate, whoever holds on to the probes", async () => {
  await using testBed = await TestBed.create();
  const { server, client } = await testBed.tunnel("127.0.0.1:9", {
    server: { proxy: { shutdown_timeout: "0" } },
    client: { proxy: { shutdown_timeout: "0" } },
  });
  for (const daemon of [client, server]) {
    const held: Deno.TcpConn[] = [];
    for (const url of [daemon.healthUrl, daemon.metricsUrl]) {
      const { hostname, port } = new URL(url);
      // Idle, half a request, and a keep-alive connection.
      for (const words of ["", "GET /healthz HTT", "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"]) {
        const conn = await Deno.connect({ hostname, port: Number(port) });
        held.push(conn);
        await writeAll(conn, new TextEncoder().encode(words));
      }
    }
    daemon.kill("SIGTERM");
    assert.equal(await daemon.exit(), 0);
    for (const conn of held) conn.close();
  }
});

Deno.test("a drain does not wait for who never finishes a handshake", async () => {
  await using testBed = await TestBed.create();
  const daemon = await testBed.server("127.0.0.1:9", {
    tls: { handshake_timeout: "3s" },
    proxy: { shutdown_timeout: "0" },
  });
  const held: Deno.TcpConn[] = [];
  for (const bytes of [[], [0x16, 0x03, 0x01, 0x02, 0x00, 0x01]]) {
    const conn = await Deno.connect({ port: daemon.port });
    held.push(conn);
    await writeAll(conn, Uint8Array.from(bytes));
  }
  await daemon.waitForMetric("mtlsd_active_connections", 2);
  daemon.kill("SIGTERM");
  assert.equal(await daemon.exit(), 0);
  for (const conn of held) conn.close();
});

Deno.test("a reload that hangs on its files holds up neither the drain nor the second signal", async (t) => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(new ReleasedBackend());
  const start = async (): Promise<TestDaemon> => {
    const daemon = await testBed.server(backend.address, { proxy: { shutdown_timeout: "0" } });
    // Opening a pipe without a writer never returns, like a file of a network that is gone.
    await Deno.remove(daemon.configPath);
    assert.equal((await sh(`mkfifo '${daemon.configPath}'`)).code, 0);
    daemon.kill("SIGHUP");
    await daemon.waitForLog("received SIGHUP, reloading certificates");
    return daemon;
  };
  await t.step("a drain with nothing open", async () => {
    const daemon = await start();
    daemon.kill("SIGTERM");
    assert.equal(await daemon.exit(), 0);
    await daemon.waitForLog("shutdown complete");
  });
  await t.step("a second signal", async () => {
    const daemon = await start();
    const downstream = testBed.use(new CountingClient(await connectTls(testBed.as(daemon))));
    await downstream.greeted();
    daemon.kill("SIGTERM");
    await until(() => refuses(daemon.listen));
    daemon.kill("SIGTERM");
    assert.equal(await daemon.exit(), 1);
    await downstream.over;
  });
});

Deno.test("a daemon stops at once after connections that ended in every way", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  // Without limits: a connection that is never over would hold the drain for ever.
  const proxy = { shutdown_timeout: "0", idle_timeout: "0" };
  const { server, client } = await testBed.tunnel(backend.address, {
    server: { proxy },
    client: { proxy },
  });
  const ways: ((socket: net.Socket) => void)[] = [
    (socket) => socket.destroy(),
    (socket) => socket.resetAndDestroy(),
    (socket) => socket.end("hello"),
    (socket) => void socket.write("hello", () => socket.destroy()),
    (socket) => void socket.write("hello", () => socket.resetAndDestroy()),
    (socket) => void socket.write(new Uint8Array(1 << 20), () => socket.destroy()),
    (socket) => void socket.end(new Uint8Array(1 << 20), () => socket.destroy()),
    (socket) => void socket.end("x", () => setTimeout(() => socket.resetAndDestroy(), 5)),
  ];
  const connections: Promise<void>[] = [];
  for (let i = 0; i < 12 * ways.length; i++) {
    const socket = net.connect({ port: client.port, host: "127.0.0.1" });
    socket.on("error", () => {});
    socket.resume();
    connections.push(new Promise((done) => socket.once("close", () => done())));
    const way = ways[i % ways.length];
    if (i % 3 === 0) socket.once("connect", () => way?.(socket));
    else socket.once("connect", () => setTimeout(() => way?.(socket), i % 30));
  }
  await Promise.all(connections);
  for (const daemon of [client, server]) {
    daemon.kill("SIGTERM");
    assert.equal(await daemon.exit(), 0);
    assert.equal(countLog(daemon, "listener: connection failed"), 0);
    assert.equal(countLog(daemon, "dialer: connection failed"), 0);
    assert.doesNotMatch(daemon.log, /internal error/);
  }
});

Deno.test("a stop during the start ends with status 0, once", async () => {
  await using testBed = await TestBed.create();
  const { ca, server: cert, serverKey: key } = testBed.files;
  const tls = { cert, key, ca };
  const config = { mode: "server", listen: "127.0.0.1:0", target: "127.0.0.1:9", tls };
  for (const message of ["mtlsd starting", "certificates loaded", "listener: serving mTLS"]) {
    await using daemon = await startDaemon({ dir: testBed.dir, config, expectFailure: true });
    await daemon.waitForLog(message);
    daemon.kill("SIGTERM");
    assert.equal(await daemon.exit(), 0, daemon.log);
    assert.equal(countLog(daemon, "shutdown complete"), 1);
  }
});

Deno.test("a start that hangs on its files is given up: a while after the first signal, at once on the second", async () => {
  await using testBed = await TestBed.create();
  const { ca, server: cert, serverKey: key } = testBed.files;
  const config = {
    mode: "server",
    listen: "127.0.0.1:0",
    target: "127.0.0.1:9",
    tls: { cert, key, ca },
  };
  // Looking at the key never returns, like a file of a network that is gone.
  const preload = await testBed.write(
    "hang.ts",
    `const { stat } = Deno;
    const never = () => new Promise(() => setInterval(() => {}, 1_000_000));
    Deno.stat = (path) => String(path).endsWith("server-key.pem") ? never() : stat(path);`,
  );
  for (const second of [false, true]) {
    await using daemon = await startDaemon({
      dir: testBed.dir,
      config,
      preload,
      expectFailure: true,
    });
    await daemon.waitForLog("mtlsd starting");
    daemon.kill("SIGTERM");
    if (second) daemon.kill("SIGINT");
    await timed(60_000, daemon.exit());
    assert.equal(await daemon.exit(), 0);
    assert.equal(daemon.lines.at(-1)?.fields.msg, "shutdown complete");
  }
});

Deno.test("a signal that comes when all is done does not change the exit status", async () => {
  await using testBed = await TestBed.create();
  // Between the last line and the end there is a moment; here it is one that can be met.
  const preload = await testBed.write(
    "late.ts",
    `const { exit } = Deno;
    Deno.exit = (code) => void setTimeout(() => exit(code), 1000);`,
  );
  const daemon = await testBed.server("127.0.0.1:9", { preload });
  daemon.kill("SIGTERM");
  await daemon.waitForLog("shutdown complete");
  daemon.kill("SIGTERM");
  daemon.kill("SIGINT");
  assert.equal(await daemon.exit(), 0);
});
