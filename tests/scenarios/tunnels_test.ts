/**
 * Several tunnels in one process: certificates loaded once, a name in log, metrics and probes, and a
 * start of all or none.
 *
 * @module
 */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { countLog, linesAt, startDaemon } from "../support/daemon.ts";
import { attempt, lineBackend, ownAddress, refuses } from "../support/peers.ts";
import { byRename, contents, renewed, serialSeen } from "../support/reload.ts";
import { type Block, clientOf, LISTEN, startTunnels, TestBed, tlsOf } from "../support/testbed.ts";
const FAILED = "certstore: reload failed, keeping the previous certificates";
const RELOADED = "certstore: certificates reloaded successfully";

Deno.test("two listeners over one tls block: loaded, watched and rotated once", async (t) => {
  await using testBed = await TestBed.create();
  const [http, grpc] = [testBed.use(lineBackend()), testBed.use(lineBackend())];
  const daemon = await startTunnels(testBed, [
    { name: "http", listen: LISTEN, target: http.address },
    { name: "grpc", listen: LISTEN, target: grpc.address, tls: { client_auth: "optional" } },
  ]);
  const clients = ["http", "grpc"].map((name) => clientOf(testBed, daemon, name));
  await t.step("each serves its own target", async () => {
    const [toHttp, toGrpc] = clients;
    assert.ok(toHttp && toGrpc);
    assert.equal(await attempt(toHttp), "echo: hello");
    assert.deepEqual([http.connections, grpc.connections], [1, 0]);
    assert.equal(await attempt(toGrpc), "echo: hello");
    assert.deepEqual([http.connections, grpc.connections], [1, 1]);
  });
  await t.step("the files are loaded and watched once, for both", async () => {
    const [loaded, ...others] = daemon.lines.filter(({ fields }) =>
      fields.msg === "certificates loaded"
    );
    assert.deepEqual(others, []);
    const { ca, server: cert, serverKey: key } = testBed.files;
    assert.deepEqual(
      [loaded?.fields.cert, loaded?.fields.key, loaded?.fields.ca, loaded?.fields.tunnels],
      [cert, key, ca, "[http grpc]"],
    );
    const watching = await daemon.waitForLog("certstore: watching files for changes");
    assert.equal(watching.fields.directories, `[${testBed.dir}]`);
    assert.deepEqual(
      [watching.fields.cert, watching.fields.key, watching.fields.ca],
      [cert, key, ca],
    );
    assert.equal(countLog(daemon, "certstore: watching files for changes"), 1);
  });
  await t.step("a rotation reaches both in one reload", async () => {
    const next = renewed(testBed.pki);
    await byRename(testBed.dir, contents(next));
    await daemon.waitForLog(RELOADED, { trigger: "watch" });
    const { serialNumber } = new X509Certificate(next.pem);
    for (const client of clients) {
      assert.equal(await serialSeen(client), serialNumber);
    }
    assert.equal(countLog(daemon, FAILED), 0);
    for (const tunnel of ["http", "grpc"]) {
      const series = `mtlsd_reloads_total{tunnel="${tunnel}",result="success"}`;
      assert.equal((await daemon.metrics()).get(series), countLog(daemon, RELOADED));
    }
  });
});

Deno.test("log, metrics and probes carry the name of the tunnel", async (t) => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const closed = ownAddress();
  const daemon = await startTunnels(testBed, [
    { name: "http", listen: LISTEN, target: backend.address },
    { name: "open", listen: LISTEN, target: backend.address, tls: { client_auth: "none" } },
    { name: "db", listen: LISTEN, targets: [closed, ownAddress()], proxy: { max_connections: 7 } },
  ]);
  await t.step("the start says what is on, in a line for each", () => {
    const [starting] = daemon.lines;
    assert.deepEqual(
      [starting?.fields.msg, starting?.fields.mode, starting?.fields.tunnels],
      ["mtlsd starting", "server", "3"],
    );
    const each = daemon.lines.filter(({ fields }) => fields.msg === "tunnel starting");
    assert.deepEqual(
      each.map(({ fields: f }) => [f.tunnel, f.mode, f.tls, f.mtls, f.client_auth]),
      [
        ["http", "server", "on", "on", "required"],
        ["open", "server", "on", "off", "none"],
        ["db", "server", "on", "on", "required"],
      ],
    );
  });
  await t.step("every series is there from the start", async () => {
    const metrics = await daemon.metrics();
    for (const [tunnel, limit] of [["http", 1000], ["open", 1000], ["db", 7]] as const) {
      const of = `tunnel="${tunnel}"`;
      assert.equal(metrics.get(`mtlsd_connections_total{${of}}`), 0);
      assert.equal(metrics.get(`mtlsd_max_connections{${of}}`), limit);
      assert.equal(metrics.get(`mtlsd_ready{${of}}`), 1);
      assert.equal(metrics.get(`mtlsd_target_up{${of},target="0"}`), 1);
      assert.ok((metrics.get(`mtlsd_cert_not_after_seconds{${of},role="own"}`) ?? 0) > 1e9);
    }
    assert.equal(metrics.get('mtlsd_target_dial_errors_total{tunnel="db",target="1"}'), 0);
    assert.equal(metrics.has('mtlsd_target_up{tunnel="http",target="1"}'), false);
    const bare = [...metrics.keys()].filter((series) =>
      series.startsWith("mtlsd_") && !series.includes('tunnel="')
    );
    assert.equal(bare.length, 1);
    assert.match(bare[0] ?? "", /^mtlsd_build_info\{/);
  });
  await t.step("what happens in one is told of that one", async () => {
    assert.equal(await attempt(clientOf(testBed, daemon, "http")), "echo: hello");
    assert.equal(await attempt(clientOf(testBed, daemon, "db")), "");
    for (const target of [0, 1]) {
      const of = `{tunnel="db",target="${target}"}`;
      await daemon.waitForMetric(`mtlsd_target_dial_errors_total${of}`, 1);
      await daemon.waitForMetric(`mtlsd_target_up${of}`, 0);
    }
    await daemon.waitForMetric(
      'mtlsd_connections_closed_total{tunnel="db",reason="dial_failed"}',
      1,
    );
    await daemon.waitForMetric(
      'mtlsd_connections_closed_total{tunnel="http",reason="completed"}',
      1,
    );
    const metrics = await daemon.metrics();
    const total = (tunnel: string) => metrics.get(`mtlsd_connections_total{tunnel="${tunnel}"}`);
    assert.deepEqual(["http", "open", "db"].map(total), [1, 0, 1]);
    assert.equal(metrics.get('mtlsd_target_connections_total{tunnel="http",target="0"}'), 1);
    await daemon.waitForLog("listener: accepted connection", { tunnel: "http" });
    await daemon.waitForLog("listener: connection closed", { tunnel: "db" });
    for (const { raw, fields } of daemon.lines) {
      if (/^(listener|dialer):/.test(fields.msg ?? "")) assert.ok(fields.tunnel, raw);
    }
  });
  await t.step("/certz has an entry for each", async () => {
    const { body } = await daemon.probe("/certz");
    const tunnels = body.tunnels as Record<string, Record<string, unknown>>;
    assert.deepEqual(Object.keys(tunnels), ["http", "open", "db"]);
    assert.equal(tunnels.db?.serial, body.serial);
    assert.deepEqual((await daemon.probe("/readyz")).body, { status: "ready" });
  });
});

Deno.test("a tunnel alone has no name anywhere", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const server = await testBed.server(backend.address);
  assert.equal(await attempt(testBed.as(server)), "echo: hello");
  await server.waitForMetric('mtlsd_connections_closed_total{reason="completed"}', 1);
  await server.waitForLog("mtlsd starting", {
    mode: "server",
    tls: "on",
    mtls: "on",
    client_auth: "required",
  });
  assert.doesNotMatch(server.log, /tunnel/);
  const metrics = await server.metrics();
  assert.deepEqual([...metrics.keys()].filter((series) => series.includes("tunnel")), []);
  assert.equal("tunnels" in (await server.probe("/certz")).body, false);
});

Deno.test("a tunnel that cannot be bound ends the start, and no other is left open", async () => {
  await using testBed = await TestBed.create();
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const [first, last] = [ownAddress(), ownAddress()];
  const busy = `127.0.0.1:${taken.addr.port}`;
  const entry = (name: string, listen: string) => ({ name, listen, target: "127.0.0.1:9" });
  await using daemon = await startDaemon({
    dir: testBed.dir,
    config: {
      mode: "server",
      tls: tlsOf(testBed),
      tunnels: [entry("a", first), entry("b", busy), entry("c", last)],
    },
    expectFailure: true,
  });
  assert.equal(await daemon.exit(), 1);
  assert.equal(linesAt(daemon, "ERROR").length, 1);
  assert.match(
    daemon.log,
    new RegExp(
      String.raw`\.yaml:\d+:\d+: tunnels\[1\] \\"b\\": listen: Cannot listen on \\"${busy}`,
    ),
  );
  for (const address of [first, last]) assert.ok(await refuses(address));
  // The probes' own port too: the tunnels that were bound before it are given back.
  await using again = await startDaemon({
    dir: testBed.dir,
    config: {
      mode: "server",
      tls: tlsOf(testBed),
      health: { enabled: true, listen: busy },
      tunnels: [entry("a", first), entry("c", last)],
    },
    expectFailure: true,
  });
  assert.equal(await again.exit(), 1);
  for (const address of [first, last]) assert.ok(await refuses(address));
});

Deno.test("a file that cannot be used is told once for all tunnels that share it, status 2", async () => {
  await using testBed = await TestBed.create();
  await Deno.writeTextFile(testBed.files.serverKey, "");
  const entry = (name: string, more: Block = {}) => ({
    name,
    listen: LISTEN,
    target: "127.0.0.1:9",
    ...more,
  });
  await using daemon = await startDaemon({
    dir: testBed.dir,
    config: {
      mode: "server",
      tls: tlsOf(testBed),
      tunnels: [
        entry("a"),
        entry("b"),
        entry("c", { tls: { key: testBed.files.clientKey } }),
      ],
    },
    expectFailure: true,
  });
  assert.equal(await daemon.exit(), 2);
  const told = daemon.lines.map(({ raw }) => raw).filter((raw) => raw.includes("Cannot use"));
  assert.equal(told.length, 2, daemon.log);
  assert.match(
    told[0] ?? "",
    /\.yaml:\d+:\d+: tls\.key: Cannot use ".*server-key\.pem": it is empty/,
  );
  assert.match(
    told[1] ?? "",
    /tunnels\[2\] "c": tls\.key: .*it does not belong to the certificate/,
  );
});
