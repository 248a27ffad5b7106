/**
 * The metrics, read from the exposition text as strictly as Prometheus may.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createMetrics, type Metrics } from "../src/metrics.ts";
import { CLOSE_REASONS, DIRECTIONS, HANDSHAKE_REASONS } from "../src/proxy/outcome.ts";

type Family = {
  readonly help: string;
  readonly type: string;
  /** Sample name and labels as written, in order, to value. */
  readonly samples: Map<string, number>;
};

/** Parses text format 0.0.4; anything out of order, doubled or unknown fails. */
function parse(text: string): Map<string, Family> {
  const families = new Map<string, Family>();
  let name = "";
  let help: string | undefined;
  assert.ok(text.endsWith("\n"));
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const comment = /^# (HELP|TYPE) ([a-z_]+) (.+)$/.exec(line);
    if (comment !== null) {
      const [, kind, family = "", rest = ""] = comment;
      if (kind === "HELP") {
        assert.ok(!families.has(family), `${family} twice`);
        assert.match(rest, /^[A-Z].+\.$/);
        [name, help] = [family, rest];
      } else {
        assert.equal(family, name);
        assert.ok(help !== undefined, `${family} has no help`);
        families.set(family, { help, type: rest, samples: new Map() });
        help = undefined;
      }
      continue;
    }
    const sample = /^([a-z_]+)(\{(?:[a-z_]+="[^"\\\n]*",?)+\})? (\S+)$/.exec(line);
    assert.ok(sample !== null, `not a sample: ${line}`);
    const [, metric = "", labels = "", value = ""] = sample;
    const family = families.get(name);
    assert.ok(family !== undefined, line);
    const suffixes = family.type === "histogram" ? ["_bucket", "_sum", "_count"] : [""];
    assert.ok(suffixes.some((suffix) => metric === name + suffix), line);
    assert.ok(!family.samples.has(metric + labels), `${line} twice`);
    assert.ok(Number.isFinite(Number(value)), line);
    family.samples.set(metric + labels, Number(value));
  }
  return families;
}

async function read(metrics: Metrics): Promise<(sample: string) => number> {
  const all = new Map<string, number>();
  for (const { samples } of parse(await metrics.render()).values()) {
    for (const [sample, value] of samples) all.set(sample, value);
  }
  return (sample) => {
    const value = all.get(sample);
    assert.ok(value !== undefined, `no ${sample}`);
    return value;
  };
}

/** The contract's table: type, label and its values. */
const CONTRACT: Readonly<Record<string, readonly [string, string?, (readonly string[])?]>> = {
  mtlsd_active_connections: ["gauge"],
  mtlsd_connections_total: ["counter"],
  mtlsd_bytes_proxied_total: ["counter", "direction", DIRECTIONS],
  mtlsd_connection_duration_seconds: ["histogram"],
  mtlsd_acl_decisions_total: ["counter", "result", ["allowed", "denied", "would_deny"]],
  mtlsd_peers_without_certificate_total: ["counter"],
  mtlsd_tls_handshake_duration_seconds: ["histogram"],
  mtlsd_dial_errors_total: ["counter"],
  mtlsd_tls_handshake_errors_total: ["counter", "reason", HANDSHAKE_REASONS],
  mtlsd_connections_closed_total: ["counter", "reason", CLOSE_REASONS],
  mtlsd_cert_not_after_seconds: ["gauge", "role", []],
  mtlsd_reloads_total: ["counter", "result", ["success", "failure"]],
  mtlsd_build_info: ["gauge", "version", ["1.2.3"]],
  process_cpu_seconds_total: ["counter"],
  process_resident_memory_bytes: ["gauge"],
  process_start_time_seconds: ["gauge"],
};

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
      if (name.startsWith("mtlsd_") && name !== "mtlsd_build_info") {
        assert.ok(samples.every(([, value]) => value === 0), name);
      }
    }
  },
});

Deno.test("each method moves its series and no other", async () => {
  const moves:
    readonly (readonly [(metrics: Metrics) => void, Readonly<Record<string, number>>])[] = [
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
      [(m) => m.reloaded("success"), { 'mtlsd_reloads_total{result="success"}': 1 }],
      [(m) => m.reloaded("failure"), { 'mtlsd_reloads_total{result="failure"}': 1 }],
      [(m) => m.certNotAfter("own", 1.9e9), { 'mtlsd_cert_not_after_seconds{role="own"}': 1.9e9 }],
      [(m) => m.certNotAfter("ca", 2e9), { 'mtlsd_cert_not_after_seconds{role="ca"}': 2e9 }],
      [(m) => m.crlNextUpdate(2e9), { mtlsd_crl_next_update_seconds: 2e9 }],
      [(m) => (m.crlNextUpdate(1), m.crlNextUpdate(2)), { mtlsd_crl_next_update_seconds: 2 }],
      ...HANDSHAKE_REASONS.map((reason) =>
        [(m: Metrics) => m.handshakeFailed(reason), {
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
    move(metrics);
    const changed = [...await samplesOf(metrics)].filter(([name, value]) =>
      before.get(name) !== value
    );
    assert.deepEqual(Object.fromEntries(changed), expected);
  }
});

Deno.test("a connection counts as active from accept to close, and once by its reason", async () => {
  const metrics = createMetrics({ version: "v" });
  for (let i = 0; i < 3; i++) metrics.connectionAccepted();
  metrics.connectionClosed("denied", 0.02);
  metrics.connectionClosed("completed", 90);
  assert.equal(metrics.activeConnections, 1);
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
      (m: Metrics, seconds: number) => m.handshakeDone(seconds),
      [0.0005, 10],
    ],
    [
      "mtlsd_connection_duration_seconds",
      (m: Metrics, seconds: number) => m.connectionClosed("completed", seconds),
      [0.01, 86_400],
    ],
  ] as const
) {
  Deno.test(`${name} is a correct histogram in seconds`, async () => {
    const metrics = createMetrics({ version: "v" });
    const observed = [0, 0.0004, 0.0005, 0.003, 0.2, 10, 11, 59.9, 3600, 1e6];
    for (const seconds of observed) observe(metrics, seconds);
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
  for (const seconds of [-5, NaN, Infinity]) metrics.handshakeDone(seconds);
  const value = await read(metrics);
  assert.equal(value("mtlsd_tls_handshake_duration_seconds_count"), 3);
  assert.equal(value("mtlsd_tls_handshake_duration_seconds_sum"), 0);
});

Deno.test("bytes add up over chunks and over scrapes, also two at once", async () => {
  const metrics = createMetrics({ version: "v" });
  const name = 'mtlsd_bytes_proxied_total{direction="client_to_target"}';
  for (let i = 0; i < 1000; i++) metrics.bytesProxied("client_to_target", 65_536);
  const [a, b] = await Promise.all([read(metrics), read(metrics)]);
  assert.deepEqual([a(name), b(name)], [65_536_000, 65_536_000]);
  metrics.bytesProxied("client_to_target", 1);
  assert.equal((await read(metrics))(name), 65_536_001);
});

Deno.test("sets of metrics are independent", async () => {
  const one = createMetrics({ version: "v" });
  const two = createMetrics({ version: "v" });
  one.dialFailed();
  assert.equal((await read(one))("mtlsd_dial_errors_total"), 1);
  assert.equal((await read(two))("mtlsd_dial_errors_total"), 0);
});

Deno.test("the process metrics are alive and in base units", async () => {
  const metrics = createMetrics({ version: "v" });
  const before = await read(metrics);
  const now = Date.now() / 1000;
  const start = before("process_start_time_seconds");
  assert.ok(start <= now && start > now - 86_400, String(start));
  const cpu = before("process_cpu_seconds_total");
  assert.ok(cpu > 0 && cpu < 10 * (now - start) + 60, String(cpu));
  const rss = before("process_resident_memory_bytes");
  assert.ok(rss > 10e6 && rss < 10e9, String(rss));

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
