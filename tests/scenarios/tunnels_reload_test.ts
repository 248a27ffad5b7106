/**
 * Several tunnels in one process: what a reload and a drain make of them.
 *
 * @module
 */

import assert from "node:assert/strict";
import { parse, stringify } from "yaml";
import { CountingClient, EchoClient, ReleasedBackend } from "../support/clients.ts";
import {
  attempt,
  connectTls,
  echoBackend,
  lineBackend,
  ownAddress,
  refuses,
  split,
} from "../support/peers.ts";
import { testPki, writePki } from "../support/pki.ts";
import { byRename, contents, renewed, serialSeen } from "../support/reload.ts";
import { type Block, clientOf, LISTEN, portOf, startTunnels, TestBed } from "../support/testbed.ts";
import { until } from "../support/wait.ts";

const FAILED = "certstore: reload failed, keeping the previous certificates";
const RELOADED = "certstore: certificates reloaded successfully";

Deno.test("several sets are one transaction: what is broken in one holds back all", async (t) => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const other = testPki();
  await Deno.mkdir(`${testBed.dir}/other`);
  const files = writePki(`${testBed.dir}/other`, other);
  const daemon = await startTunnels(testBed, [
    { name: "in", listen: LISTEN, target: backend.address },
    {
      name: "out",
      listen: LISTEN,
      target: backend.address,
      tls: { cert: files.server, key: files.serverKey, ca: files.ca },
    },
  ]);
  const into = clientOf(testBed, daemon, "in");
  const out = { port: portOf(daemon, "out"), ca: other.ca.pem, identity: other.client };
  const before = await serialSeen(into);
  await t.step("each has its own trust", async () => {
    assert.equal(await attempt(into), "echo: hello");
    assert.equal(await attempt(out), "echo: hello");
    assert.equal(await attempt({ ...out, identity: testBed.pki.client }), "");
  });
  await t.step("one is renewed, the other broken: both stay", async () => {
    await byRename(`${testBed.dir}/other`, { "server-key.pem": "broken" });
    const { fields } = await daemon.waitForLog(FAILED);
    assert.match(
      fields.error ?? "",
      /^tunnels\[1\] "out": tls\.key: Cannot use ".*server-key\.pem"/,
    );
    await byRename(testBed.dir, contents(renewed(testBed.pki)));
    await daemon.waitForLog(
      FAILED,
      {},
      daemon.lines.findIndex(({ raw }) => raw.includes(FAILED)) + 1,
    );
    assert.equal(await serialSeen(into), before);
    assert.equal(await attempt(out), "echo: hello");
    const { body } = await daemon.probe("/certz");
    assert.equal((body.last_reload as Record<string, unknown>).result, "failure");
    assert.equal((await daemon.probe("/readyz")).status, 200);
  });
  await t.step("mended: both change", async () => {
    await byRename(`${testBed.dir}/other`, { "server-key.pem": other.server.keyPem });
    const { fields } = await daemon.waitForLog(RELOADED);
    assert.equal(fields.sets, "2");
    assert.notEqual(await serialSeen(into), before);
    assert.equal(await attempt(out), "echo: hello");
  });
});

Deno.test("SIGHUP reads the rules of each tunnel, and says what needs a restart", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const entry = (name: string, more: Block = {}) => ({
    name,
    listen: LISTEN,
    target: backend.address,
    ...more,
  });
  const daemon = await startTunnels(testBed, [entry("a"), entry("b"), entry("gone")]);
  const [a, b, gone] = ["a", "b", "gone"].map((name) => clientOf(testBed, daemon, name));
  assert.ok(a && b && gone);
  await using held = await EchoClient.open(a);
  await using other = await EchoClient.open(b);
  const config = parse(await Deno.readTextFile(daemon.configPath));
  const acl = { allow_cn: ["somebody-else"] };
  const tunnels = [
    entry("new"),
    entry("b", { proxy: { idle_timeout: "7s" } }),
    entry("a", { acl }),
  ];
  await Deno.writeTextFile(daemon.configPath, stringify({ ...config, tunnels }));
  daemon.kill("SIGHUP");
  await daemon.waitForLog(RELOADED, { trigger: "signal" });
  await daemon.waitForLog(RELOADED, { changed: 'tunnel "a": acl.allow_cn: 0 → 1 rule' });
  await daemon.waitForLog("the config has changes that need a restart", {
    level: "ERROR",
    keys: 'tunnel "b": proxy.idle_timeout: needs a restart; ' +
      'tunnel "gone": removed, serves until the restart; tunnel "new": added, needs a restart',
  });
  await held.ended();
  await daemon.waitForMetric('mtlsd_connections_closed_total{tunnel="a",reason="denied"}', 1);
  await other.echo("still here");
  await using _gone = await EchoClient.open(gone);
  assert.equal(await attempt(a), "");
  await daemon.waitForLog("listener: denied connection", { tunnel: "a" });
  const rebuilt = (tunnel: string) => `mtlsd_reloads_total{tunnel="${tunnel}",result="failure"}`;
  for (const tunnel of ["a", "b", "gone"]) await daemon.waitForMetric(rebuilt(tunnel), 1);
  assert.equal((await daemon.metrics()).has(rebuilt("new")), false);
});

Deno.test("a drain: all stop at once, each is cut in its own time", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(new ReleasedBackend());
  const [short, long] = [ownAddress(), ownAddress()];
  const daemon = await startTunnels(testBed, [
    {
      name: "short",
      listen: short,
      target: backend.address,
      proxy: { shutdown_timeout: "100ms" },
    },
    { name: "long", listen: long, target: backend.address, proxy: { shutdown_timeout: "1h" } },
  ]);
  const call = async (address: string) => {
    const { hostname: host, port } = split(address);
    const socket = await connectTls({ ...testBed.as(daemon), host, port });
    return await testBed.use(new CountingClient(socket)).greeted();
  };
  const [cut, kept] = [await call(short), await call(long)];
  daemon.kill("SIGTERM");
  await daemon.waitForLog("shutting down");
  await cut.over;
  for (const address of [short, long]) await until(() => refuses(address));
  assert.deepEqual((await daemon.probe("/readyz")).body, {
    status: "not ready",
    reason: "shutting down",
  });
  await daemon.waitForMetric('mtlsd_ready{tunnel="long"}', 0);
  await daemon.waitForMetric(
    'mtlsd_connections_closed_total{tunnel="short",reason="shutdown"}',
    1,
  );
  await daemon.waitForMetric('mtlsd_active_connections{tunnel="long"}', 1);
  backend.release();
  await kept.over;
  // One of them was cut.
  assert.equal(await daemon.exit(), 1);
  await daemon.waitForLog("listener: connection closed", { tunnel: "long", reason: "completed" });
});
