/**
 * The metrics of several tunnels: all there for each, and none mixed up with those of another.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createMetrics } from "../../../src/admin/metrics.ts";
import { TunnelCounters } from "../../../src/metrics/counters.ts";
import { parseExposition as parse, readSeries as read } from "../../support/metrics.ts";

const of = (name: string, targets: number, maxConnections: number) => ({
  name,
  targets: Array(targets).fill("target"),
  proxy: { maxConnections },
});

Deno.test("tunnels with names have every series each, from the start", async () => {
  const metrics = createMetrics({ version: "v", tunnels: [of("http", 1, 1000), of("db", 3, 0)] });
  metrics.tunnel("http").crlNextUpdate(7);
  metrics.tunnel("db").certNotAfter("own", 8);
  const families = parse(await metrics.render());
  const named = (sample: string) => /[{,]tunnel="([^"]+)"/.exec(sample)?.[1];
  for (const [name, { samples }] of families) {
    const tunnels = [...samples.keys()].map(named);
    if (name === "mtlsd_build_info" || name.startsWith("process_")) {
      assert.deepEqual(new Set(tunnels), new Set([undefined]), name);
    } else if (name === "mtlsd_crl_next_update_seconds") {
      assert.deepEqual(tunnels, ["http"]);
    } else if (name === "mtlsd_cert_not_after_seconds") {
      assert.deepEqual(tunnels, ["db"]);
    } else {
      assert.deepEqual(new Set(tunnels), new Set(["http", "db"]), name);
      const count = (tunnel: string) => tunnels.filter((one) => one === tunnel).length;
      assert.equal(count("db"), count("http") * (name.startsWith("mtlsd_target_") ? 3 : 1), name);
    }
  }
  // Every family is there that there is without names.
  const alone = createMetrics({ version: "v" });
  alone.tunnel().crlNextUpdate(7);
  const all = parse(await alone.render());
  assert.deepEqual([...families.keys()].toSorted(), [...all.keys()].toSorted());
  const value = await read(metrics);
  assert.equal(value('mtlsd_max_connections{tunnel="http"}'), 1000);
  assert.equal(value('mtlsd_max_connections{tunnel="db"}'), 0);
  assert.equal(value('mtlsd_target_up{tunnel="db",target="2"}'), 1);
});

Deno.test("what happens in one tunnel does not show in another, a reload is of all", async () => {
  const metrics = createMetrics({ version: "v", tunnels: [of("http", 1, 0), of("db", 2, 0)] });
  const counted = (name: string) => new TunnelCounters(metrics.tunnel(name).counters);
  const [http, db] = [counted("http"), counted("db")];
  assert.equal(metrics.tunnel("db"), metrics.tunnel("db"));
  http.connectionAccepted();
  db.bytesProxied("client_to_target", 5);
  http.bytesProxied("client_to_target", 2);
  db.targetFailed(1);
  metrics.tunnel("db").readiness(() => true);
  metrics.reloaded("failure");
  const value = await read(metrics);
  for (
    const [series, http, db] of [
      ["mtlsd_active_connections{TUNNEL}", 1, 0],
      ["mtlsd_connections_total{TUNNEL}", 1, 0],
      ['mtlsd_bytes_proxied_total{TUNNEL,direction="client_to_target"}', 2, 5],
      ["mtlsd_ready{TUNNEL}", 0, 1],
      ['mtlsd_target_dial_errors_total{TUNNEL,target="0"}', 0, 0],
      ['mtlsd_reloads_total{TUNNEL,result="failure"}', 1, 1],
      ['mtlsd_reloads_total{TUNNEL,result="success"}', 0, 0],
      ["mtlsd_last_reload_successful{TUNNEL}", 0, 0],
    ] as const
  ) {
    const of = (tunnel: string) => value(series.replace("TUNNEL", `tunnel="${tunnel}"`));
    assert.deepEqual([of("http"), of("db")], [http, db], series);
  }
  assert.equal(value('mtlsd_target_dial_errors_total{tunnel="db",target="1"}'), 1);
});

Deno.test("a tunnel that does not exist has no metrics", () => {
  const metrics = createMetrics({ version: "v", tunnels: [of("http", 1, 0)] });
  for (const name of [undefined, "db", "", "HTTP"]) {
    assert.throws(() => metrics.tunnel(name), RangeError);
  }
  assert.throws(() => createMetrics({ version: "v" }).tunnel("http"), RangeError);
});
