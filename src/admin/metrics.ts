/**
 * The Prometheus metrics: what the data plane counts, certificates, reloads and the process.
 *
 * If tunnels have names, each series of a tunnel has the label `tunnel`, and every tunnel has all
 * of them, even those about reloads, which affect all tunnels. Series about the process do not have
 * the label: `mtlsd_build_info` and `process_*`. The latter are our own collectors, because those
 * of prom-client read /proc, which needs `--allow-all`, and report `nodejs_*` metrics that do not
 * apply to Deno.
 *
 * @module
 */

import process from "node:process";
import { Counter, Gauge, Registry } from "prom-client";
import { Families, type Owner } from "./metric_families.ts";
import { tunnelFamilies, type TunnelSeries } from "./tunnel_metrics.ts";
import { RELOAD_RESULTS, type ReloadMetrics, type ReloadResult } from "../metrics/mod.ts";

/** All metrics of the process. */
export interface Metrics extends ReloadMetrics {
  /**
   * The metrics of the tunnel with this name, the same object on every call. Use `undefined`, the
   * default, if the config has a single tunnel without a name.
   *
   * @throws {RangeError} if there is no tunnel of that name.
   */
  tunnel(name?: string): TunnelSeries;
  /** The `content-type` of the result of `render`. */
  readonly contentType: string;
  /** All metrics in the Prometheus text format 0.0.4. */
  render(): Promise<string>;
}

/** A tunnel, as needed for its metrics; a `TunnelConfig` fits. */
export type MeasuredTunnel = {
  /**
   * The value of the label `tunnel`; `undefined` for no label. Required if there are several
   * tunnels.
   */
  readonly name: string | undefined;
  readonly targets: readonly unknown[];
  readonly proxy: { readonly maxConnections: number };
};

/** Options of {@linkcode createMetrics}. */
export type MetricsOptions = {
  /** The version to show in `mtlsd_build_info`. */
  readonly version: string;
  /** Default: one tunnel without a name, with one target and without a limit. */
  readonly tunnels?: readonly MeasuredTunnel[];
};

const ONLY: MeasuredTunnel = { name: undefined, targets: [""], proxy: { maxConnections: 0 } };

/** Creates the metrics with a registry of their own, every series at zero. */
export function createMetrics({ version, tunnels = [ONLY] }: MetricsOptions): Metrics {
  const registry = new Registry();
  const named = tunnels.some(({ name }) => name !== undefined);
  const families = new Families(registry, named ? ["tunnel"] : []);
  const tunnelOf = tunnelFamilies(families);
  const reloadsOf = families.counters(
    { name: "mtlsd_reloads_total", help: "Reloads of certificates and access rules." },
    "result",
    RELOAD_RESULTS,
  );
  const lastReload = families.readGauge({
    name: "mtlsd_last_reload_successful",
    help:
      "Whether all that the files said at the last reload is in force: 0 while some of it is not.",
  });
  let allInForce = true;
  const reloads: Record<ReloadResult, number> = { success: 0, failure: 0 };
  const byName = new Map<string | undefined, TunnelSeries>();
  for (const { name, targets, proxy: { maxConnections } } of tunnels) {
    const owner: Owner = name === undefined ? {} : { tunnel: name };
    byName.set(name, tunnelOf({ owner, targets: targets.length, maxConnections }));
    reloadsOf(owner, (result) => reloads[result]);
    lastReload(owner, () => allInForce ? 1 : 0);
  }
  new Gauge({
    name: "mtlsd_build_info",
    help: "Always 1; the label tells the version.",
    labelNames: ["version"],
    registers: [registry],
  }).set({ version }, 1);
  registerProcessMetrics(registry);

  return {
    tunnel(name) {
      const found = byName.get(name);
      if (found === undefined) throw new RangeError(`Cannot count for tunnel "${name}": none`);
      return found;
    },
    reloaded(result, inForce = result === "success") {
      allInForce = inForce;
      reloads[result]++;
    },
    contentType: registry.contentType,
    render: () => registry.metrics(),
  };
}

/** Registers the standard process metrics that can be computed under `--allow-net --allow-read`. */
function registerProcessMetrics(registry: Registry): void {
  const registers = [registry];
  let reported = 0;
  new Counter({
    name: "process_cpu_seconds_total",
    help: "User and system CPU time of the process.",
    registers,
    collect() {
      const { user, system } = process.cpuUsage(); // microseconds, all threads
      const total = Math.max(reported, (user + system) / 1e6);
      this.inc(total - reported);
      reported = total;
    },
  });
  new Gauge({
    name: "process_resident_memory_bytes",
    help: "Resident memory of the process.",
    registers,
    collect() {
      this.set(Deno.memoryUsage().rss);
    },
  });
  new Gauge({
    name: "process_start_time_seconds",
    help: "When the process started (Unix time).",
    registers,
  }).set(Date.now() / 1000 - process.uptime());
}
