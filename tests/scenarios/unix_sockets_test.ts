/**
 * UNIX sockets on either plaintext side, under the grants of the config and no others.
 *
 * @module
 */

import assert from "node:assert/strict";
import net from "node:net";
import { IS_ROOT } from "../support/unix.ts";
import { assertPlain, startDaemon, type TestDaemon } from "../support/daemon.ts";
import { CountingClient, ReleasedBackend } from "../support/clients.ts";
import {
  ask,
  closeQuietly,
  connectTls,
  lineBackend,
  readAll,
  sh,
  writeAll,
} from "../support/peers.ts";
import { TestBed } from "../support/testbed.ts";
import { until } from "../support/wait.ts";
import { assertAllClosesCounted, closedSeries } from "../support/metrics.ts";

/** A backend on a UNIX socket that answers `echo: ` and what it received. */
class UnixBackend implements AsyncDisposable {
  connections = 0;
  readonly #listener: Deno.UnixListener;
  readonly #loop: Promise<void>;

  constructor(path: string) {
    this.#listener = Deno.listen({ transport: "unix", path });
    this.#loop = this.#run();
  }

  async #run(): Promise<void> {
    for await (const conn of this.#listener) {
      this.connections++;
      void this.#serve(conn).finally(() => closeQuietly(conn));
    }
  }

  async #serve(conn: Deno.UnixConn): Promise<void> {
    try {
      const words = new TextDecoder().decode(await readAll(conn));
      await writeAll(conn, new TextEncoder().encode(`echo: ${words}`));
      await conn.closeWrite();
    } catch {
      // The other side is gone.
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    closeQuietly(this.#listener);
    await this.#loop.catch(() => {});
  }
}

/** The permission bits of a file. */
async function modeOf(path: string): Promise<string> {
  return (((await Deno.stat(path)).mode ?? 0) & 0o7777).toString(8).padStart(4, "0");
}

/** Whether there is such a file. */
function exists(path: string): Promise<boolean> {
  return Deno.lstat(path).then(() => true, () => false);
}

/** Client mode on a UNIX socket, and the server that it leads to. */
async function atSocket(
  testBed: TestBed,
  proxy: Readonly<Record<string, unknown>> = {},
): Promise<{ readonly client: TestDaemon; readonly path: string }> {
  const server = await testBed.server(testBed.use(lineBackend()).address);
  const path = `${testBed.dir}/local.sock`;
  const client = await testBed.client(server.listen, { listen: `unix:${path}`, proxy });
  return { client, path };
}

/** What `nc` says of a line through a socket. */
function nc(path: string, words = "hello", as = ""): ReturnType<typeof sh> {
  return sh(`printf %s "${words}" | ${as} nc -NU "${path}"`);
}

Deno.test("a socket whose file was removed is not ready, and says so", async () => {
  await using testBed = await TestBed.create();
  const { client, path } = await atSocket(testBed);
  assert.equal((await client.probe("/readyz")).status, 200);
  await Deno.rename(path, `${path}.away`);
  const gone = await client.probe("/readyz");
  assert.equal(gone.status, 503);
  assert.equal(gone.body.reason, "the listener does not accept connections");
  assert.equal((await client.metrics()).get("mtlsd_ready"), 0);
  // Another's in its place is not ours.
  await Deno.writeTextFile(path, "");
  assert.equal((await client.probe("/readyz")).status, 503);
  await Deno.rename(`${path}.away`, path);
  assert.equal((await client.probe("/readyz")).status, 200);
});

Deno.test("nc through a UNIX socket, the tunnel, and another UNIX socket", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(new UnixBackend(`${testBed.dir}/backend.sock`));
  const server = await testBed.server(`unix:${testBed.dir}/backend.sock`);
  const path = `${testBed.dir}/local.sock`;
  const client = await testBed.client(server.listen, { listen: `unix:${path}` });
  assert.equal(client.listen, `unix:${path}`);
  assert.equal(await modeOf(path), "0600");
  const { stdout, code, stderr } = await nc(path);
  assert.equal(stdout, "echo: hello", stderr);
  assert.equal(code, 0);
  assert.equal(backend.connections, 1);
  await server.waitForLog("listener: serving mTLS", { target: `unix:${testBed.dir}/backend.sock` });
  const closed = await client.waitForLog("dialer: connection closed", { reason: "completed" });
  assert.match(closed.fields.remote ?? "", /^unix:/);
  // No plaintext leaves the machine: there is nothing to be warned of.
  assert.doesNotMatch(client.log, /plaintext/);
  assert.doesNotMatch(server.log, /plaintext/);
  await Promise.all([client, server].map(assertAllClosesCounted));
});

Deno.test("curl --unix-socket through the full tunnel", async () => {
  await using testBed = await TestBed.create();
  const backend = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => new Response(`${request.method} ${await request.text()}`),
  );
  try {
    const server = await testBed.server(`127.0.0.1:${backend.addr.port}`);
    const path = `${testBed.dir}/local.sock`;
    await testBed.client(server.listen, { listen: `unix:${path}` });
    const { stdout, stderr } = await sh(
      `head -c 3000000 /dev/zero | tr '\\0' x | \
       curl -sS --unix-socket ${path} --data-binary @- http://localhost/ | wc -c`,
    );
    assert.equal(stdout.trim(), String("POST ".length + 3_000_000), stderr);
  } finally {
    await backend.shutdown();
  }
});

Deno.test({
  name: "socket_mode says who may connect",
  ignore: !IS_ROOT,
  async fn() {
    await using testBed = await TestBed.create();
    await Deno.chmod(testBed.dir, 0o755);
    const untrusted = "setpriv --reuid 65534 --regid 65534 --clear-groups";
    const closed = await atSocket(testBed);
    const denied = await nc(closed.path, "hello", untrusted);
    assert.notEqual(denied.code, 0);
    assert.equal(denied.stdout, "");
    assert.match(denied.stderr, /Permission denied/);
    assert.equal((await nc(closed.path)).stdout, "echo: hello");
    assert.equal((await closed.client.metrics()).get("mtlsd_connections_total"), 1);
    await closed.client.stop();
    const open = await atSocket(testBed, { socket_mode: "0666" });
    assert.equal(await modeOf(open.path), "0666");
    assert.equal((await nc(open.path, "hello", untrusted)).stdout, "echo: hello");
  },
});

Deno.test("the socket is gone after a stop, at once when a drain begins, and another can begin", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(new ReleasedBackend());
  const server = await testBed.server(backend.address);
  const path = `${testBed.dir}/local.sock`;
  const client = await testBed.client(server.listen, { listen: `unix:${path}` });
  await using downstream = new CountingClient(net.connect({ path, allowHalfOpen: true }));
  await downstream.greeted();
  client.kill("SIGTERM");
  await client.waitForLog("shutting down");
  // The one that is open goes on.
  await until(async () => !await exists(path));
  const next = await testBed.client(server.listen, { listen: `unix:${path}` });
  assert.ok(await exists(path));
  backend.release();
  await downstream.over;
  assert.equal(await client.exit(), 0);
  // It did not take the socket of the other with it.
  assert.ok(await exists(path));
  assert.equal((await nc(path, "")).code, 0);
  assert.equal(await next.stop(), 0);
  assert.deepEqual(
    [...Deno.readDirSync(testBed.dir)].map(({ name }) => name).filter((name) => /sock/.test(name)),
    [],
  );
});

Deno.test("a socket that was left behind is replaced, after a crash too", async () => {
  await using testBed = await TestBed.create();
  const { client, path } = await atSocket(testBed);
  client.kill("SIGKILL");
  await client.exit();
  assert.ok(await exists(path), "nobody was there to remove it");
  const again = await atSocket(testBed);
  assert.equal((await nc(again.path)).stdout, "echo: hello");
  assert.equal(await modeOf(again.path), "0600");
});

Deno.test("a live socket is an error, exit status 1, and stays in use", async () => {
  await using testBed = await TestBed.create();
  const { path } = await atSocket(testBed);
  const { client: cert, clientKey: key, ca } = testBed.files;
  const config = {
    mode: "client",
    listen: `unix:${path}`,
    target: "127.0.0.1:9",
    tls: { cert, key, ca },
  };
  await using other = await startDaemon({ dir: testBed.dir, config, expectFailure: true });
  assert.equal(await other.exit(), 1);
  assert.match(other.log, /Cannot listen on .*unix:.*address in use/);
  assertPlain(other.log);
  assert.equal((await nc(path)).stdout, "echo: hello");
});

Deno.test("what is no socket is not replaced", async () => {
  await using testBed = await TestBed.create();
  const { client: cert, clientKey: key, ca } = testBed.files;
  const precious = await testBed.write("precious", "precious");
  await Deno.symlink(precious, `${testBed.dir}/link`);
  for (const path of [precious, `${testBed.dir}/link`]) {
    const config = {
      mode: "client",
      listen: `unix:${path}`,
      target: "127.0.0.1:9",
      tls: { cert, key, ca },
    };
    await using daemon = await startDaemon({ dir: testBed.dir, config, expectFailure: true });
    assert.equal(await daemon.exit(), 1);
    assertPlain(daemon.log);
  }
  assert.equal(await Deno.readTextFile(precious), "precious");
  assert.ok((await Deno.lstat(`${testBed.dir}/link`)).isSymlink);
});

Deno.test("a socket that was replaced meanwhile is not removed at the stop", async () => {
  await using testBed = await TestBed.create();
  const { client, path } = await atSocket(testBed);
  await Deno.remove(path);
  const taken = Deno.listen({ transport: "unix", path });
  try {
    assert.equal(await client.stop(), 0);
    assert.ok(await exists(path));
  } finally {
    taken.close();
  }
});

Deno.test("a target that is not there, refuses, or keeps us out is a dial error", async () => {
  await using testBed = await TestBed.create();
  const path = `${testBed.dir}/backend.sock`;
  const server = await testBed.server(`unix:${path}`);
  assert.equal(await ask(testBed.as(server), "hello"), "");
  await server.waitForLog("listener: dial failed", { target: `unix:${path}` });
  await server.waitForMetric(closedSeries("dial_failed"), 1);
  const backend = testBed.use(new UnixBackend(path));
  assert.equal(await ask(testBed.as(server), "hello"), "echo: hello");
  await backend[Symbol.asyncDispose]();
  // A stale file, as a crash leaves it.
  const stale = Deno.listen({ transport: "unix", path: `${path}.bound` });
  await Deno.rename(`${path}.bound`, path);
  stale.close();
  assert.equal(await ask(testBed.as(server), "hello"), "");
  await server.waitForMetric("mtlsd_dial_errors_total", 2);
  // It is the backend's: we do not remove it.
  assert.ok(await exists(path));
});

Deno.test("a target on a UNIX socket: many at once, and whoever is denied never gets there", async () => {
  await using testBed = await TestBed.create();
  const path = `${testBed.dir}/backend.sock`;
  const backend = testBed.use(new UnixBackend(path));
  const server = await testBed.server(`unix:${path}`, { acl: { allow_cn: ["frontend-service"] } });
  const answers = await Promise.all(
    Array.from({ length: 100 }, (_, i) => ask(testBed.as(server), `${i}`)),
  );
  assert.deepEqual(answers, answers.map((_, i) => `echo: ${i}`));
  assert.equal(backend.connections, 100);
  const socket = await connectTls({ ...testBed.as(server), identity: testBed.pki.server })
    .catch(() => undefined);
  socket?.destroy();
  await server.waitForMetric("mtlsd_active_connections", 0);
  assert.equal(backend.connections, 100);
});
