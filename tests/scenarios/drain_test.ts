/**
 * Stopping: what is open goes on to its end or is cut in time, in both modes, and the port is free.
 *
 * @module
 */

import assert from "node:assert/strict";
import net from "node:net";
import { startDaemon, type TestDaemon } from "../support/daemon.ts";
import { Backend, connectTls, lineBackend, readAll, sh, writeAll } from "../support/peers.ts";
import { Scene } from "../support/scene.ts";
import { attempt, countLog, ownAddress, refuses, split } from "../support/tools.ts";
import { until } from "../support/wait.ts";

/** Greets each connection with one byte, and says the rest and ends once it is released. */
class HeldBackend implements AsyncDisposable {
  readonly #release = Promise.withResolvers<void>();
  readonly #backend: Backend;

  constructor(rest: Uint8Array = new Uint8Array()) {
    this.#backend = new Backend(async (conn) => {
      await writeAll(conn, Uint8Array.of(1));
      const read = readAll(conn);
      await this.#release.promise;
      await writeAll(conn, rest);
      await conn.closeWrite();
      await read;
    });
  }

  get address(): string {
    return this.#backend.address;
  }

  /** Every connection may end. */
  release(): void {
    this.#release.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.release();
    await this.#backend[Symbol.asyncDispose]();
  }
}

/** Who uses the tunnel: counts what comes, and ends when the other side has. */
class Caller implements AsyncDisposable {
  received = 0;
  /** Settles when the connection is gone. */
  readonly over: Promise<void>;
  readonly #socket: net.Socket;

  constructor(socket: net.Socket) {
    this.#socket = socket;
    socket.on("data", (bytes: Uint8Array) => this.received += bytes.length);
    socket.on("error", () => {});
    socket.once("end", () => socket.end());
    this.over = new Promise((done) => socket.once("close", () => done()));
  }

  /** Waits for the backend's greeting. */
  async greeted(): Promise<this> {
    await until(() => this.received > 0);
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy();
    await this.over;
  }
}

type Setting = {
  readonly daemon: TestDaemon;
  readonly listen: string;
  readonly call: () => Promise<Caller>;
};

/** A daemon of each mode on an address that is known beforehand. */
const MODES: Readonly<
  Record<string, (scene: Scene, target: string, proxy?: object) => Promise<Setting>>
> = {
  "server mode": async (scene, target, proxy = {}) => {
    const listen = ownAddress();
    const { hostname: host, port } = split(listen);
    const daemon = await scene.server(target, { listen, proxy: { ...proxy } });
    const call = async () =>
      await scene.use(new Caller(await connectTls({ ...scene.as(daemon), host, port }))).greeted();
    return { daemon, listen, call };
  },
  "client mode": async (scene, target, proxy = {}) => {
    const listen = ownAddress();
    const { hostname: host, port } = split(listen);
    const behind = await scene.server(target);
    const daemon = await scene.client(behind.listen, { listen, proxy: { ...proxy } });
    const call = async () =>
      await scene.use(new Caller(net.connect({ host, port, allowHalfOpen: true }))).greeted();
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
    Deno.test(`${signal} in ${mode}: what is open is completed, the port is free at once`, async () => {
      await using scene = await Scene.create();
      const rest = new Uint8Array(4 << 20);
      const backend = scene.use(new HeldBackend(rest));
      const { daemon, listen, call } = await set(scene, backend.address);
      const callers = [await call(), await call()];
      const exit = watchExit(daemon);
      daemon.kill(signal);
      await daemon.waitForLog("shutting down", { signal });
      await until(() => refuses(listen), { within: 2000 });
      await until(async () => (await daemon.probe("/readyz")).status === 503);
      assert.deepEqual((await daemon.probe("/readyz")).body, {
        status: "not ready",
        reason: "shutting down",
      });
      assert.equal((await daemon.probe("/healthz")).status, 200);
      assert.equal((await daemon.metrics()).get("mtlsd_active_connections"), 2);

      // Another daemon takes the port over while the first one still drains.
      const next = lineBackend();
      scene.use(next);
      const { hostname, port } = split(listen);
      if (mode === "server mode") {
        const heir = await scene.server(next.address, { listen });
        const client = { ...scene.as(heir), host: hostname, port };
        assert.equal(await attempt(client), "echo: hello");
      } else {
        const behind = await scene.server(next.address);
        await scene.client(behind.listen, { listen });
        const conn = await Deno.connect({ hostname, port });
        await conn.write(new TextEncoder().encode("hello"));
        await conn.closeWrite();
        assert.equal(await new Response(conn.readable).text(), "echo: hello");
      }
      assert.equal(exit.code, undefined);
      assert.equal((await daemon.probe("/readyz")).status, 503);

      backend.release();
      for (const caller of callers) {
        await caller.over;
        assert.equal(caller.received, 1 + rest.length);
      }
      assert.equal(await daemon.exit(), 0);
      assert.equal(daemon.lines.at(-1)?.fields.msg, "shutdown complete");
      assert.equal(
        daemon.lines.filter(({ fields }) =>
          fields.msg?.endsWith("connection closed") && fields.reason === "completed"
        ).length,
        2,
      );
    });
  }

  Deno.test(`${mode}: when shutdown_timeout passes, what is open is cut, status 1`, async () => {
    await using scene = await Scene.create();
    const backend = scene.use(new HeldBackend());
    const proxy = { shutdown_timeout: "250ms" };
    const { daemon, call } = await set(scene, backend.address, proxy);
    const caller = await call();
    daemon.kill("SIGTERM");
    assert.equal(await daemon.exit(), 1);
    await caller.over;
    await daemon.waitForLog(/server/.test(mode) ? CLOSED.server : CLOSED.client, {
      reason: "shutdown",
    });
    assert.equal(daemon.lines.at(-1)?.fields.msg, "shutdown complete");
  });

  for (const [first, second] of [["SIGTERM", "SIGINT"], ["SIGINT", "SIGINT"]] as const) {
    Deno.test(`${mode}: ${second} after ${first} cuts at once, status 1`, async () => {
      await using scene = await Scene.create();
      const backend = scene.use(new HeldBackend());
      // No limit: only the second signal can end it.
      const { daemon, listen, call } = await set(scene, backend.address, { shutdown_timeout: "0" });
      const caller = await call();
      daemon.kill(first);
      await until(() => refuses(listen));
      daemon.kill(second);
      assert.equal(await daemon.exit(), 1);
      await caller.over;
      assert.equal(countLog(daemon, "shutting down"), 1);
    });
  }
}

const CLOSED = { server: "listener: connection closed", client: "dialer: connection closed" };

Deno.test("SIGHUP during a drain is ignored", async () => {
  await using scene = await Scene.create();
  const backend = scene.use(new HeldBackend());
  const daemon = await scene.server(backend.address);
  const caller = scene.use(new Caller(await connectTls(scene.as(daemon))));
  await caller.greeted();
  daemon.kill("SIGTERM");
  await daemon.waitForLog("shutting down");
  for (let i = 0; i < 5; i++) daemon.kill("SIGHUP");
  await daemon.waitForLog("ignoring SIGHUP during the drain");
  assert.equal((await daemon.metrics()).get('mtlsd_reloads_total{result="success"}'), 0);
  assert.equal(countLog(daemon, "received SIGHUP, reloading certificates"), 0);
  // Neither do changes of the files count any more.
  await Deno.writeTextFile(scene.files.server, "garbage");
  backend.release();
  await caller.over;
  assert.equal(await daemon.exit(), 0);
  assert.equal(countLog(daemon, "certstore: reload failed, keeping the previous certificates"), 0);
});

Deno.test("with nothing open the stop is immediate, whoever holds on to the probes", async () => {
  await using scene = await Scene.create();
  const { server, client } = await scene.tunnel("127.0.0.1:9", {
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
  await using scene = await Scene.create();
  const daemon = await scene.server("127.0.0.1:9", {
    tls: { handshake_timeout: "300ms" },
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
  await using scene = await Scene.create();
  const backend = scene.use(new HeldBackend());
  const start = async (): Promise<TestDaemon> => {
    const daemon = await scene.server(backend.address, { proxy: { shutdown_timeout: "0" } });
    // Opening a pipe that nobody writes to never returns, like a file of a network that is gone.
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
    const caller = scene.use(new Caller(await connectTls(scene.as(daemon))));
    await caller.greeted();
    daemon.kill("SIGTERM");
    await until(() => refuses(daemon.listen));
    daemon.kill("SIGTERM");
    assert.equal(await daemon.exit(), 1);
    await caller.over;
  });
});

Deno.test("a daemon stops at once after connections that ended in every way", async () => {
  await using scene = await Scene.create();
  const backend = scene.use(lineBackend());
  // Without limits: a connection that is never over would hold the drain for ever.
  const proxy = { shutdown_timeout: "0", idle_timeout: "0" };
  const { server, client } = await scene.tunnel(backend.address, {
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
  const lives: Promise<void>[] = [];
  for (let i = 0; i < 12 * ways.length; i++) {
    const socket = net.connect({ port: client.port, host: "127.0.0.1" });
    socket.on("error", () => {});
    socket.resume();
    lives.push(new Promise((done) => socket.once("close", () => done())));
    const way = ways[i % ways.length];
    if (i % 3 === 0) socket.once("connect", () => way?.(socket));
    else socket.once("connect", () => setTimeout(() => way?.(socket), i % 30));
  }
  await Promise.all(lives);
  for (const daemon of [client, server]) {
    daemon.kill("SIGTERM");
    assert.equal(await daemon.exit(), 0);
    assert.equal(countLog(daemon, "listener: connection failed"), 0);
    assert.equal(countLog(daemon, "dialer: connection failed"), 0);
    assert.doesNotMatch(daemon.log, /internal error/);
  }
});

Deno.test("a stop during the start ends with status 0, once", async () => {
  await using scene = await Scene.create();
  const { ca, server: cert, serverKey: key } = scene.files;
  const tls = { cert, key, ca };
  const config = { mode: "server", listen: "127.0.0.1:0", target: "127.0.0.1:9", tls };
  for (const message of ["mtlsd starting", "certificates loaded", "listener: serving mTLS"]) {
    await using daemon = await startDaemon({ dir: scene.dir, config, expectFailure: true });
    await daemon.waitForLog(message);
    daemon.kill("SIGTERM");
    assert.equal(await daemon.exit(), 0, daemon.log);
    assert.equal(countLog(daemon, "shutdown complete"), 1);
  }
});
