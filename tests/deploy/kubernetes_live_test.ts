/**
 * The two workloads of `examples/kubernetes` as processes: configs out of the ConfigMaps, certificates
 * as the Certificates ask for them, Secrets as the kubelet mounts and swaps them, probes and metrics as
 * the kubelet and Prometheus ask for them.
 *
 * @module
 */

import assert from "node:assert/strict";
import { parse } from "yaml";
import { startDaemon, type TestDaemon } from "../support/daemon.ts";
import { echoBackend } from "../support/peers.ts";
import { bySymlink } from "../support/reload.ts";
import { TestBed } from "../support/testbed.ts";
import { HeldPlain } from "../support/deploy/held_plain.ts";
import { issued, secret } from "../support/deploy/issued.ts";
import { PROBES, resource, type Workload, workload } from "../support/deploy/manifests.ts";
import { listAt, localConfig, textAt } from "../support/deploy/examples.ts";

/** A daemon of a workload, with its Secret in a directory. */
async function start(
  testBed: TestBed,
  { config }: Workload,
  dir: string,
  target: string,
  serverName?: string,
): Promise<TestDaemon> {
  const tls = { cert: `${dir}/tls.crt`, key: `${dir}/tls.key`, ca: `${dir}/ca.crt` };
  const local = localConfig(config, {
    target,
    sockets: testBed.dir,
    tls: serverName === undefined ? tls : { ...tls, server_name: serverName },
  });
  return testBed.use(await startDaemon({ dir: testBed.dir, config: local }));
}

async function mount(testBed: TestBed, name: string, files: Readonly<Record<string, string>>) {
  const dir = `${testBed.dir}/${name}`;
  await Deno.mkdir(dir);
  await bySymlink(dir, files);
  return dir;
}

/** The application has a socket that its group may use, and others may not. */
async function assertOwnSocket({ listen }: TestDaemon) {
  const path = listen.replace(/^unix:/, "");
  const { isSocket, mode } = await Deno.lstat(path);
  assert.deepEqual([isSocket, (mode ?? 0) & 0o777], [true, 0o660]);
}

/** Every probe of the container, and the metrics as the PodMonitor has them. */
async function assertProbes({ container }: Workload, daemon: TestDaemon, monitor: unknown) {
  for (const probe of PROBES) {
    const path = textAt(container, probe, "httpGet", "path");
    assert.equal((await daemon.probe(path)).status, 200, `${probe}: ${path}`);
  }
  const path = textAt(monitor, "spec", "podMetricsEndpoints", 0, "path");
  const response = await fetch(daemon.metricsUrl + path);
  assert.match(await response.text(), /^mtlsd_active_connections \d+$/m);
}

Deno.test("kubernetes: gateway and sidecar carry a message, and their Secrets are swapped under way", async () => {
  await using testBed = await TestBed.create();
  const { ca } = testBed.pki;
  const [gateway, sidecar] = [await workload("gateway"), await workload("sidecar")];
  const backend = testBed.use(echoBackend());

  const serverDir = await mount(testBed, "gateway", secret(issued(gateway.certificate, ca), ca));
  const clientDir = await mount(testBed, "sidecar", secret(issued(sidecar.certificate, ca), ca));
  const server = await start(testBed, gateway, serverDir, backend.address);
  // The host of its target, which is the name that it checks.
  const host = textAt(parse(sidecar.config), "target").replace(/:\d+$/, "");
  const client = await start(testBed, sidecar, clientDir, server.listen, host);
  await assertOwnSocket(client);
  await using held = await HeldPlain.open(client.listen);
  await held.echo("hello");
  await server.waitForLog("listener: accepted connection", { rule: /^acl\.allow_uri: spiffe:/ });
  await assertProbes(gateway, server, await resource("gateway", "PodMonitor"));
  await assertProbes(sidecar, client, await resource("sidecar", "PodMonitor"));

  for (
    const [daemon, dir, { certificate }] of [
      [server, serverDir, gateway],
      [client, clientDir, sidecar],
    ] as const
  ) {
    const before = (await daemon.probe("/certz")).body.serial;
    await bySymlink(dir, secret(issued(certificate, ca), ca));
    await daemon.waitForMetric('mtlsd_reloads_total{result="success"}', (value) => value > 0);
    assert.notEqual((await daemon.probe("/certz")).body.serial, before);
  }
  await held.echo("still here");
  await using another = await HeldPlain.open(client.listen);
  await another.echo("hello again");
});

Deno.test("kubernetes: the gateway turns away another account of the same CA", async () => {
  await using testBed = await TestBed.create();
  const { ca } = testBed.pki;
  const [gateway, sidecar] = [await workload("gateway"), await workload("sidecar")];
  const backend = testBed.use(echoBackend());
  const serverDir = await mount(testBed, "gateway", secret(issued(gateway.certificate, ca), ca));
  const uris = ["spiffe://example.org/ns/shop/sa/somebody-else"];
  const other = issued(sidecar.certificate, ca, { uris });
  const clientDir = await mount(testBed, "sidecar", secret(other, ca));
  const server = await start(testBed, gateway, serverDir, backend.address);
  const host = textAt(parse(sidecar.config), "target").replace(/:\d+$/, "");
  const client = await start(testBed, sidecar, clientDir, server.listen, host);
  await using held = await HeldPlain.open(client.listen);
  await held.ended();
  await server.waitForLog("listener: denied connection", { reason: "no allow rule matches" });
  assert.equal(backend.connections, 0);
});

Deno.test("kubernetes: the sidecar does not speak to a gateway of another name", async () => {
  await using testBed = await TestBed.create();
  const { ca } = testBed.pki;
  const [gateway, sidecar] = [await workload("gateway"), await workload("sidecar")];
  const backend = testBed.use(echoBackend());
  // The certificate of an application, by the same CA and for servers.
  const serverDir = await mount(testBed, "gateway", secret(testBed.pki.server, ca));
  const clientDir = await mount(testBed, "sidecar", secret(issued(sidecar.certificate, ca), ca));
  const server = await start(testBed, gateway, serverDir, backend.address);
  const host = textAt(parse(sidecar.config), "target").replace(/:\d+$/, "");
  const client = await start(testBed, sidecar, clientDir, server.listen, host);
  await using held = await HeldPlain.open(client.listen);
  await held.ended();
  await client.waitForMetric('mtlsd_tls_handshake_errors_total{reason="name_mismatch"}', 1);
  assert.equal(backend.connections, 0);
});

Deno.test("kubernetes: when the pod is told to stop, it is not ready and what is open goes on", async () => {
  await using testBed = await TestBed.create();
  const { ca } = testBed.pki;
  const [gateway, sidecar] = [await workload("gateway"), await workload("sidecar")];
  const backend = testBed.use(echoBackend());
  const serverDir = await mount(testBed, "gateway", secret(issued(gateway.certificate, ca), ca));
  const clientDir = await mount(testBed, "sidecar", secret(issued(sidecar.certificate, ca), ca));
  const server = await start(testBed, gateway, serverDir, backend.address);
  const host = textAt(parse(sidecar.config), "target").replace(/:\d+$/, "");
  const client = await start(testBed, sidecar, clientDir, server.listen, host);
  await using held = await HeldPlain.open(client.listen);
  await held.echo("hello");
  server.kill("SIGTERM");
  await server.waitForLog("shutting down");
  const ready = textAt(gateway.container, "readinessProbe", "httpGet", "path");
  const alive = textAt(gateway.container, "livenessProbe", "httpGet", "path");
  assert.equal((await server.probe(ready)).status, 503);
  assert.equal((await server.probe(alive)).status, 200);
  await held.echo("still here");
  await held[Symbol.asyncDispose]();
  assert.equal(await server.exit(), 0);
  assert.ok(listAt(gateway.container, "ports").length > 0);
});
