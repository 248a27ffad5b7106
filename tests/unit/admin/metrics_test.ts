/**
 * The metrics, read from the exposition text as strictly as Prometheus may.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createMetrics, type Metrics } from "../../../src/admin/metrics.ts";
import type { TunnelSeries } from "../../../src/admin/tunnel_metrics.ts";
import { CounterReader, TunnelCounters } from "../../../src/metrics/counters.ts";
import type { TunnelMetrics } from "../../../src/metrics/mod.ts";
import { LIMITED_MESSAGES } from "../../../src/log/limiter.ts";
import { CLOSE_REASONS, DIRECTIONS, HANDSHAKE_REASONS } from "../../../src/outcome.ts";
import { parseExposition as parse, readSeries as read } from "../../support/metrics.ts";

/** The metrics of the only tunnel: of the data plane and of the control plane. */
function tunnelOf(metrics: Metrics): TunnelMetrics & TunnelSeries {
  const source = metrics.tunnel();
  return Object.assign(new TunnelCounters(source.counters), source);
}

/** The contract's table: type, label and its values. */
const CONTRACT: Readonly<Record<string, readonly [string, string?, (readonly string[])?]>> = {
  mtlsd_active_connections: ["gauge"],
  mtlsd_max_connections: ["gauge"],
  mtlsd_ready: ["gauge"],
  mtlsd_connections_total: ["counter"],
  mtlsd_bytes_proxied_total: ["counter", "direction", DIRECTIONS],
  mtlsd_connection_duration_seconds: ["histogram"],
  mtlsd_acl_decisions_total: ["counter", "result", ["allowed", "denied", "would_deny"]],
  mtlsd_peers_without_certificate_total: ["counter"],
  mtlsd_tls_handshake_duration_seconds: ["histogram"],
  mtlsd_dial_errors_total: ["counter"],
  mtlsd_tls_handshake_errors_total: ["counter", "reason", HANDSHAKE_REASONS],
  mtlsd_connections_closed_total: ["counter", "reason", CLOSE_REASONS],
  mtlsd_log_lines_suppressed_total: ["counter", "message", LIMITED_MESSAGES],
  mtlsd_cert_not_after_seconds: ["gauge", "role", []],
  mtlsd_target_connections_total: ["counter", "target", ["0"]],
  mtlsd_target_active_connections: ["gauge", "target", ["0"]],
  mtlsd_target_dial_errors_total: ["counter", "target", ["0"]],
  mtlsd_target_up: ["gauge", "target", ["0"]],
  mtlsd_reloads_total: ["counter", "result", ["success", "failure"]],
  mtlsd_last_reload_successful: ["gauge"],
  mtlsd_build_info: ["gauge", "version", ["1.2.3"]],
  process_cpu_seconds_total: ["counter"],
  process_resident_memory_bytes: ["gauge"],
  process_start_time_seconds: ["gauge"],
};

const STARTING_AT_ONE = ["mtlsd_target_up", "mtlsd_last_reload_successful", "mtlsd_build_info"];

Deno.test({
  name: "every metric of the contract is there from the start, without any grant",
  permissions: "none",
  fn: async () => {
    const metrics = createMetrics({ version: "1.2.3" });
    assert.equal(metrics.contentType, "text/plain; version=0.0.4; charset=utf-8");
    const families = parse(await metrics.render());
    assert.deepEqual([...families.keys()].sort(), Object.keys(CONTRACT).sort());
    for (const [name, [type, label, values = []]] of Object.entries(CONTRACT)) {
      const family = families.get(name);
      assert.equal(family?.type, type, name);
      const samples = [...family.samples].filter(([sample]) => !sample.startsWith(`${name}_`));
      if (type === "histogram") {
        assert.ok([...family.samples.values()].every((value) => value === 0), name);
        assert.ok(family.samples.has(`${name}_bucket{le="+Inf"}`), name);
        continue;
      }
      const expected = label === undefined
        ? [name]
        : values.map((value) => `${name}{${label}="${value}"}`);
      assert.deepEqual(samples.map(([sample]) => sample), expected);
      // Nobody has failed to reach a target or to reload yet.
      const start = STARTING_AT_ONE.includes(name) ? 1 : 0;
      if (name.startsWith("mtlsd_")) {
        assert.ok(samples.every(([, value]) => value === start), name);
      }
    }
  },
});

Deno.test("the help says what a dial error is: a lost connection, not an attempt", async () => {
  const families = parse(await createMetrics({ version: "v" }).render());
  assert.equal(
    families.get("mtlsd_dial_errors_total")?.help,
    "Connections that no target took because one or more could not be reached.",
  );
  assert.equal(
    families.get("mtlsd_target_dial_errors_total")?.help,
    "Attempts to reach a target that failed.",
  );
});

Deno.test("each method moves its series and no other", async () => {
  const moves: readonly (readonly [
    (metrics: TunnelMetrics & TunnelSeries, all: Metrics) => void,
    Readonly<Record<string, number>>,
  ])[] = [
    [(m) => m.connectionAccepted(), { mtlsd_active_connections: 1, mtlsd_connections_total: 1 }],
    [(m) => m.bytesProxied("client_to_target", 7), {
      'mtlsd_bytes_proxied_total{direction="client_to_target"}': 7,
    }],
    [(m) => m.bytesProxied("target_to_client", 9), {
      'mtlsd_bytes_proxied_total{direction="target_to_client"}': 9,
    }],
    [(m) => m.aclDecision("allowed"), { 'mtlsd_acl_decisions_total{result="allowed"}': 1 }],
    [(m) => m.aclDecision("denied"), { 'mtlsd_acl_decisions_total{result="denied"}': 1 }],
    [(m) => m.aclDecision("would_deny"), {
      'mtlsd_acl_decisions_total{result="would_deny"}': 1,
    }],
    [(m) => m.peerWithoutCertificate(), { mtlsd_peers_without_certificate_total: 1 }],
    [(m) => m.dialFailed(), { mtlsd_dial_errors_total: 1 }],
    [(_, all) => all.reloaded("success"), { 'mtlsd_reloads_total{result="success"}': 1 }],
    [(_, all) => all.reloaded("failure"), {
      'mtlsd_reloads_total{result="failure"}': 1,
      mtlsd_last_reload_successful: 0,
    }],
    [(_, all) => all.reloaded("success", false), {
      'mtlsd_reloads_total{result="success"}': 1,
      mtlsd_last_reload_successful: 0,
    }],
    [(m) => m.certNotAfter("own", 1.9e9), { 'mtlsd_cert_not_after_seconds{role="own"}': 1.9e9 }],
    [(m) => m.certNotAfter("ca", 2e9), { 'mtlsd_cert_not_after_seconds{role="ca"}': 2e9 }],
    [(m) => m.readiness(() => true), { mtlsd_ready: 1 }],
    [(m) => m.targetConnected(0), {
      'mtlsd_target_connections_total{target="0"}': 1,
      'mtlsd_target_active_connections{target="0"}': 1,
    }],
    [(m) => (m.targetConnected(0), m.targetReleased(0)), {
      'mtlsd_target_connections_total{target="0"}': 1,
    }],
    [(m) => m.targetFailed(0), { 'mtlsd_target_dial_errors_total{target="0"}': 1 }],
    [(m) => m.targetUp(0, false), { 'mtlsd_target_up{target="0"}': 0 }],
    [(m) => (m.targetUp(0, false), m.targetUp(0, true)), {}],
    // There is no such target.
    [(m) => (m.targetConnected(1), m.targetFailed(-1), m.targetUp(7, false)), {}],
    [(m) => m.crlNextUpdate(2e9), { mtlsd_crl_next_update_seconds: 2e9 }],
    [(m) => (m.crlNextUpdate(1), m.crlNextUpdate(2)), { mtlsd_crl_next_update_seconds: 2 }],
    ...HANDSHAKE_REASONS.map((reason) =>
      [(m: TunnelMetrics) => m.handshakeFailed(reason), {
        [`mtlsd_tls_handshake_errors_total{reason="${reason}"}`]: 1,
      }] as const
    ),
  ];
  const samplesOf = async (metrics: Metrics): Promise<Map<string, number>> => {
    const families = [...parse(await metrics.render())].filter(([name]) => /^mtlsd/.test(name));
    return new Map(families.flatMap(([, { samples }]) => [...samples]));
  };
  for (const [move, expected] of moves) {
    const metrics = createMetrics({ version: "v" });
    const before = await samplesOf(metrics);
    move(tunnelOf(metrics), metrics);
    const changed = [...await samplesOf(metrics)].filter(([name, value]) =>
      before.get(name) !== value
    );
    assert.deepEqual(Object.fromEntries(changed), expected);
  }
});

Deno.test("a connection counts as active from accept to close, and once by its reason", async () => {
  const metrics = createMetrics({ version: "v" });
  const tunnel = tunnelOf(metrics);
  for (let i = 0; i < 3; i++) tunnel.connectionAccepted();
  tunnel.connectionClosed("denied", 0.02);
  tunnel.connectionClosed("completed", 90);
  assert.equal(new CounterReader(tunnel.counters).active, 1);
  const value = await read(metrics);
  assert.equal(value("mtlsd_active_connections"), 1);
  assert.equal(value("mtlsd_connections_total"), 3);
  assert.equal(value('mtlsd_connections_closed_total{reason="denied"}'), 1);
  assert.equal(value('mtlsd_connections_closed_total{reason="completed"}'), 1);
  assert.equal(value("mtlsd_connection_duration_seconds_count"), 2);
  assert.equal(value("mtlsd_connection_duration_seconds_sum"), 90.02);
});

for (
  const [name, observe, bounds] of [
    [
      "mtlsd_tls_handshake_duration_seconds",
      (m: TunnelMetrics, seconds: number) => m.handshakeDone(seconds),
      [0.0005, 10],
    ],
    [
      "mtlsd_connection_duration_seconds",
      (m: TunnelMetrics, seconds: number) => m.connectionClosed("completed", seconds),
      [0.01, 86_400],
    ],
  ] as const
) {
  Deno.test(`${name} is a correct histogram in seconds`, async () => {
    const metrics = createMetrics({ version: "v" });
    const observed = [0, 0.0004, 0.0005, 0.003, 0.2, 10, 11, 59.9, 3600, 1e6];
    for (const seconds of observed) observe(tunnelOf(metrics), seconds);
    const samples = parse(await metrics.render()).get(name)?.samples ?? new Map();
    const buckets: [number, number][] = [];
    for (const [sample, count] of samples) {
      const le = /_bucket\{le="([^"]+)"\}$/.exec(sample)?.[1];
      if (le !== undefined) buckets.push([le === "+Inf" ? Infinity : Number(le), count]);
    }
    const upper = buckets.map(([bound]) => bound);
    assert.deepEqual(upper, upper.toSorted((a, b) => a - b));
    assert.deepEqual([upper[0], upper.at(-2), upper.at(-1)], [...bounds, Infinity]);
    for (const [bound, count] of buckets) {
      assert.equal(count, observed.filter((seconds) => seconds <= bound).length, `le ${bound}`);
    }
    assert.equal(samples.get(`${name}_count`), observed.length);
    const sum = observed.reduce((a, b) => a + b);
    assert.ok(Math.abs(Number(samples.get(`${name}_sum`)) - sum) < 1e-6);
  });
}

Deno.test("a clock that was set back neither throws nor subtracts", async () => {
  const metrics = createMetrics({ version: "v" });
  for (const seconds of [-5, NaN, Infinity]) tunnelOf(metrics).handshakeDone(seconds);
  const value = await read(metrics);
  assert.equal(value("mtlsd_tls_handshake_duration_seconds_count"), 3);
  assert.equal(value("mtlsd_tls_handshake_duration_seconds_sum"), 0);
});

Deno.test("bytes add up over chunks and over scrapes, also two at once", async () => {
  const metrics = createMetrics({ version: "v" });
  const name = 'mtlsd_bytes_proxied_total{direction="client_to_target"}';
  for (let i = 0; i < 1000; i++) tunnelOf(metrics).bytesProxied("client_to_target", 65_536);
  const [a, b] = await Promise.all([read(metrics), read(metrics)]);
  assert.deepEqual([a(name), b(name)], [65_536_000, 65_536_000]);
  tunnelOf(metrics).bytesProxied("client_to_target", 1);
  assert.equal((await read(metrics))(name), 65_536_001);
});

Deno.test("readiness is asked on every look", async () => {
  const metrics = createMetrics({ version: "v" });
  let ready = false;
  tunnelOf(metrics).readiness(() => ready);
  assert.equal((await read(metrics))("mtlsd_ready"), 0);
  ready = true;
  assert.equal((await read(metrics))("mtlsd_ready"), 1);
});

Deno.test("sets of metrics are independent", async () => {
  const one = createMetrics({ version: "v" });
  const two = createMetrics({ version: "v" });
  tunnelOf(one).dialFailed();
  assert.equal((await read(one))("mtlsd_dial_errors_total"), 1);
  assert.equal((await read(two))("mtlsd_dial_errors_total"), 0);
});

/** User and system time of this process in seconds, by the kernel (clock ticks of 10 ms). */
function cpuSeconds(): number {
  const [, fields = ""] = Deno.readTextFileSync("/proc/self/stat").split(/\) /);
  const [user, system] = fields.split(" ").slice(11, 13).map(Number);
  return ((user ?? NaN) + (system ?? NaN)) / 100;
}

Deno.test("the process metrics are alive and in base units", async () => {
  const metrics = createMetrics({ version: "v" });
  // This process runs other tests at the same time, so its figures have no bound of their own: what
  // the kernel says of it just before and just after is the measure, with room for clock ticks.
  const cpuBefore = cpuSeconds();
  const before = await read(metrics);
  const cpuAfter = cpuSeconds();
  const now = Date.now() / 1000;
  const start = before("process_start_time_seconds");
  assert.ok(start <= now && start > now - 86_400, String(start));
  const cpu = before("process_cpu_seconds_total");
  assert.ok(cpu >= cpuBefore - 0.1 && cpu <= cpuAfter + 0.1, `${cpuBefore} ${cpu} ${cpuAfter}`);
  const rss = before("process_resident_memory_bytes");
  const resident = Deno.memoryUsage().rss;
  assert.ok(rss > resident / 10 && rss < resident * 10, `${rss}, ${resident}`);

  // CPU time moves as soon as some was used; nothing else ends this loop.
  let after = before;
  while (after("process_cpu_seconds_total") === cpu) {
    for (let i = 0; i < 1e6; i++) Math.sqrt(i);
    after = await read(metrics);
  }
  assert.ok(after("process_cpu_seconds_total") > cpu);
  assert.equal(after("process_start_time_seconds"), start);

  const ballast: Uint8Array[] = [];
  while (after("process_resident_memory_bytes") === rss) {
    ballast.push(new Uint8Array(1024 * 1024).fill(1));
    after = await read(metrics);
  }
});
