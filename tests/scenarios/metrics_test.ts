/**
 * The metrics of a running daemon: all there at zero, and right after traffic.
 *
 * @module
 */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import type { TestDaemon } from "../support/daemon.ts";
import {
  ask,
  attempt,
  connectTls,
  echoBackend,
  lineBackend,
  ownAddress,
} from "../support/peers.ts";
import { makeCa, makeLeaf } from "../support/pki.ts";
import { TestBed } from "../support/testbed.ts";
const LIMITED_MESSAGES = [
  "handshake failed",
  "denied connection",
  "refused PROXY header",
  "connection closed",
  "connection failed",
  "peer gone before accept",
];
const HANDSHAKE_REASONS =
  "timeout no_certificate untrusted expired not_yet_valid revoked bad_certificate name_mismatch protocol reset other"
    .split(" ");
const CLOSE_REASONS =
  "completed no_data idle_timeout close_timeout max_lifetime peer_reset target_reset dial_failed denied untrusted revoked expired shutdown error"
    .split(" ");
const labelled = (name: string, label: string, values: readonly string[]) =>
  values.map((value) => `${name}{${label}="${value}"}`);

const ZERO = [
  "mtlsd_active_connections",
  "mtlsd_connections_total",
  ...labelled("mtlsd_bytes_proxied_total", "direction", ["client_to_target", "target_to_client"]),
  "mtlsd_connection_duration_seconds_count",
  "mtlsd_connection_duration_seconds_sum",
  'mtlsd_connection_duration_seconds_bucket{le="+Inf"}',
  ...labelled("mtlsd_acl_decisions_total", "result", ["allowed", "denied", "would_deny"]),
  "mtlsd_peers_without_certificate_total",
  "mtlsd_tls_handshake_duration_seconds_count",
  "mtlsd_tls_handshake_duration_seconds_sum",
  'mtlsd_tls_handshake_duration_seconds_bucket{le="+Inf"}',
  "mtlsd_dial_errors_total",
  ...labelled("mtlsd_tls_handshake_errors_total", "reason", HANDSHAKE_REASONS),
  ...labelled("mtlsd_connections_closed_total", "reason", CLOSE_REASONS),
  ...labelled("mtlsd_log_lines_suppressed_total", "message", LIMITED_MESSAGES),
  ...labelled("mtlsd_reloads_total", "result", ["success", "failure"]),
  ...["connections_total", "active_connections", "dial_errors_total"].flatMap((name) =>
    labelled(`mtlsd_target_${name}`, "target", ["0"])
  ),
];
/** There from the start, and not at zero. */
const SET = {
  mtlsd_max_connections: 1000,
  mtlsd_ready: 1,
  mtlsd_last_reload_successful: 1,
  'mtlsd_target_up{target="0"}': 1,
};
const TYPES = {
  mtlsd_active_connections: "gauge",
  mtlsd_max_connections: "gauge",
  mtlsd_ready: "gauge",
  mtlsd_target_connections_total: "counter",
  mtlsd_target_active_connections: "gauge",
  mtlsd_target_dial_errors_total: "counter",
  mtlsd_target_up: "gauge",
  mtlsd_connections_total: "counter",
  mtlsd_bytes_proxied_total: "counter",
  mtlsd_connection_duration_seconds: "histogram",
  mtlsd_acl_decisions_total: "counter",
  mtlsd_peers_without_certificate_total: "counter",
  mtlsd_tls_handshake_duration_seconds: "histogram",
  mtlsd_dial_errors_total: "counter",
  mtlsd_tls_handshake_errors_total: "counter",
  mtlsd_connections_closed_total: "counter",
  mtlsd_log_lines_suppressed_total: "counter",
  mtlsd_cert_not_after_seconds: "gauge",
  mtlsd_reloads_total: "counter",
  mtlsd_last_reload_successful: "gauge",
  process_cpu_seconds_total: "counter",
  process_resident_memory_bytes: "gauge",
  process_start_time_seconds: "gauge",
};

/** Every accepted connection is open or has been closed for one reason. */
async function assertBalanced(daemon: TestDaemon, closed: Record<string, number>): Promise<void> {
  for (const [reason, count] of Object.entries(closed)) {
    await daemon.waitForMetric(`mtlsd_connections_closed_total{reason="${reason}"}`, count);
  }
  const metrics = await daemon.metrics();
  const by = (reason: string) => metrics.get(`mtlsd_connections_closed_total{reason="${reason}"}`);
  const total = CLOSE_REASONS.reduce((sum, reason) => sum + (by(reason) ?? NaN), 0);
  assert.deepEqual(
    Object.fromEntries(CLOSE_REASONS.map((reason) => [reason, by(reason)])),
    Object.fromEntries(CLOSE_REASONS.map((reason) => [reason, closed[reason] ?? 0])),
  );
  assert.equal(
    metrics.get("mtlsd_connections_total"),
    total + (metrics.get("mtlsd_active_connections") ?? NaN),
  );
  assert.equal(metrics.get("mtlsd_connection_duration_seconds_count"), total);
}

for (const mode of ["server", "client"] as const) {
  Deno.test(`${mode} mode: every series is there at zero, typed, from the start`, async () => {
    await using testBed = await TestBed.create();
    const daemon = await testBed[mode]("127.0.0.1:9");
    const metrics = await daemon.metrics();
    for (const series of ZERO) assert.equal(metrics.get(series), 0, series);
    for (const [series, value] of Object.entries(SET)) {
      assert.equal(metrics.get(series), value, series);
    }
    const text = await (await fetch(`${daemon.metricsUrl}/metrics`)).text();
    for (const [name, type] of Object.entries(TYPES)) {
      assert.ok(text.includes(`# TYPE ${name} ${type}\n`), name);
    }
    const end = (pem: string) => Date.parse(new X509Certificate(pem).validTo) / 1000;
    const { pki } = testBed;
    assert.equal(metrics.get('mtlsd_cert_not_after_seconds{role="own"}'), end(pki[mode].pem));
    assert.equal(metrics.get('mtlsd_cert_not_after_seconds{role="ca"}'), end(pki.ca.pem));
    // No label sets besides those that are promised.
    const ours = [...metrics.keys()].filter((series) =>
      series.startsWith("mtlsd_") && !/_bucket\{|^mtlsd_build_info|_not_after_/.test(series)
    );
    assert.deepEqual(
      ours.toSorted(),
      [...ZERO, ...Object.keys(SET)].filter((series) => !series.includes("_bucket")).toSorted(),
    );
    assert.ok((metrics.get("process_cpu_seconds_total") ?? 0) > 0);
    assert.ok((metrics.get("process_resident_memory_bytes") ?? 0) > 1 << 20);
    const started = metrics.get("process_start_time_seconds") ?? 0;
    assert.ok(Math.abs(started - Date.now() / 1000) < 60, String(started));
  });
}

Deno.test("traffic is counted to the byte, on both sides of the tunnel alike", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const { server, client } = await testBed.tunnel(backend.address);
  const sizes = [0, 1, 1000, 300_000];
  for (const size of sizes) {
    const conn = await Deno.connect({ port: client.port });
    const answer = new Response(conn.readable).text();
    for (let left = size; left > 0;) left -= await conn.write(new Uint8Array(left).fill(0x61));
    await conn.closeWrite();
    assert.equal((await answer).length, size + "echo: ".length);
  }
  const sent = sizes.reduce((sum, size) => sum + size, 0);
  for (const daemon of [server, client]) {
    await assertBalanced(daemon, { completed: sizes.length });
    const metrics = await daemon.metrics();
    for (
      const [series, value] of Object.entries({
        'mtlsd_bytes_proxied_total{direction="client_to_target"}': sent,
        'mtlsd_bytes_proxied_total{direction="target_to_client"}': sent + 6 * sizes.length,
        'mtlsd_acl_decisions_total{result="allowed"}': sizes.length,
        'mtlsd_acl_decisions_total{result="denied"}': 0,
        "mtlsd_tls_handshake_duration_seconds_count": sizes.length,
        "mtlsd_active_connections": 0,
        "mtlsd_dial_errors_total": 0,
      })
    ) assert.equal(metrics.get(series), value, series);
    const seconds = metrics.get("mtlsd_tls_handshake_duration_seconds_sum") ?? 0;
    assert.ok(seconds > 0 && seconds < 20, String(seconds));
  }
});

Deno.test("open connections are counted while they are open, bytes as they pass", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const server = await testBed.server(backend.address);
  const sockets = await Promise.all([1, 2, 3].map(() => connectTls(testBed.as(server))));
  await server.waitForMetric("mtlsd_active_connections", 3);
  for (const socket of sockets) {
    socket.resume();
    socket.write("12345");
  }
  await server.waitForMetric('mtlsd_bytes_proxied_total{direction="target_to_client"}', 15);
  await assertBalanced(server, {});
  for (const socket of sockets) socket.end();
  await server.waitForMetric("mtlsd_active_connections", 0);
  await assertBalanced(server, { completed: 3 });
});

Deno.test("each way to end is counted under its reason", async () => {
  await using testBed = await TestBed.create();
  const { pki } = testBed;
  const backend = testBed.use(lineBackend());
  const server = await testBed.server(backend.address, {
    acl: { allow_cn: ["frontend-service"] },
    tls: { handshake_timeout: "3s" },
    proxy: { idle_timeout: "2s" },
  });
  const client = { port: server.port, ca: pki.ca.pem };
  // One that says nothing at all.
  const silent = await Deno.connect({ port: server.port });
  await ask(testBed.as(server), "completed");
  await attempt(client);
  await attempt({ ...client, identity: makeLeaf({ subject: "other" }, pki.ca) });
  await attempt({ ...client, identity: makeLeaf({}, makeCa({ subject: "elsewhere" })) });
  const expired = { notBefore: new Date(0), notAfter: new Date(Date.now() - 86_400_000) };
  await attempt({ ...client, identity: makeLeaf(expired, pki.ca) });
  const early = await Deno.connect({ port: server.port });
  early.close();
  const idle = await connectTls(testBed.as(server));
  await new Promise<void>((done) => idle.resume().once("end", () => done()));
  idle.destroy();
  await assertBalanced(server, {
    completed: 1,
    denied: 1,
    untrusted: 1,
    expired: 1,
    no_data: 1,
    idle_timeout: 1,
    error: 2, // no certificate, no handshake in time
  });
  silent.close();
  const metrics = await server.metrics();
  for (const reason of ["no_certificate", "untrusted", "expired", "timeout"]) {
    assert.equal(metrics.get(`mtlsd_tls_handshake_errors_total{reason="${reason}"}`), 1, reason);
  }
  // Who left without a word has failed in nothing.
  assert.equal(metrics.get('mtlsd_tls_handshake_errors_total{reason="reset"}'), 0);
  assert.equal(metrics.get('mtlsd_acl_decisions_total{result="allowed"}'), 2);
  assert.equal(metrics.get('mtlsd_acl_decisions_total{result="denied"}'), 1);
});

Deno.test("a target that cannot be reached is a dial error, in both modes", async (t) => {
  await using testBed = await TestBed.create();
  await t.step("server mode", async () => {
    const target = ownAddress();
    const server = await testBed.server(target);
    assert.equal(await attempt(testBed.as(server)), "");
    await assertBalanced(server, { dial_failed: 1 });
    await server.waitForMetric("mtlsd_dial_errors_total", 1);
    await server.waitForLog("listener: dial failed", { level: "ERROR", target, error: /refused/i });
  });
  await t.step("client mode", async () => {
    const target = ownAddress();
    const client = await testBed.client(target);
    using conn = await Deno.connect({ port: client.port });
    assert.equal(await new Response(conn.readable).text().catch(() => ""), "");
    await assertBalanced(client, { dial_failed: 1 });
    await client.waitForMetric("mtlsd_dial_errors_total", 1);
    await client.waitForLog("dialer: dial failed", { server: target, error: /refused/i });
  });
});
