/**
 * The Prometheus metrics, with one method for each event. Labels come only from the config and from
 * closed sets, never from a peer, so the number of series is fixed.
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
import { tunnelFamilies } from "./tunnel_metrics.ts";
import type { LimitedMessage } from "../log/limiter.ts";
import type { CloseReason, Direction, HandshakeReason } from "../outcome.ts";

/** The result of an access decision: the `result` label of `mtlsd_acl_decisions_total`. */
export type AclResult = "allowed" | "denied" | "would_deny";

/** The result of a reload: the `result` label of `mtlsd_reloads_total`. */
export type ReloadResult = "success" | "failure";

/** The own leaf certificate, or the CA in the bundle that expires first. */
export type CertRole = "own" | "ca";

/**
 * Records the events of a tunnel. The methods never throw, so an error here cannot end a
 * connection.
 */
export interface TunnelMetrics {
  /** A connection was accepted. `connectionClosed` follows exactly once. */
  connectionAccepted(): void;
  /** An accepted connection ended after `seconds`. */
  connectionClosed(reason: CloseReason, seconds: number): void;
  /** `count` bytes were sent to the other side. Called for every chunk, so it must be cheap. */
  bytesProxied(direction: Direction, count: number): void;
  /** The ACL was evaluated. */
  aclDecision(result: AclResult): void;
  /** A client connected without a certificate, which is not requested or optional. */
  peerWithoutCertificate(): void;
  /** A TLS handshake succeeded and took `seconds`. */
  handshakeDone(seconds: number): void;
  /** A TLS handshake failed. */
  handshakeFailed(reason: HandshakeReason): void;
  /** A log line about an unauthenticated peer was suppressed. */
  logLineSuppressed(message: LimitedMessage): void;
  /** A connection found no target, because at least one target could not be reached. */
  dialFailed(): void;
  /** When the first certificate of the role expires, in seconds since the epoch. */
  certNotAfter(role: CertRole, epochSeconds: number): void;
  /**
   * When the first revocation list in effect is due to be renewed, in seconds since the epoch. The
   * series does not exist before the first call.
   */
  crlNextUpdate(epochSeconds: number): void;
  /**
   * Sets the function that tells whether the tunnel is ready, called on every scrape. Not ready
   * before.
   */
  readiness(source: () => boolean): void;
  /**
   * The target at this index in the config, from 0, accepted a connection. `targetReleased` follows
   * once.
   */
  targetConnected(index: number): void;
  /** A connection to a target has ended. */
  targetReleased(index: number): void;
  /** A connection attempt to a target failed. */
  targetFailed(index: number): void;
  /** Whether a target counts as healthy; initially it does. */
  targetUp(index: number, up: boolean): void;
  /** The number of connections that are accepted and not yet closed. */
  readonly activeConnections: number;
}

/** All metrics of the process. */
export interface Metrics {
  /**
   * The metrics of the tunnel with this name, the same object on every call. Use `undefined`, the
   * default, if the config has a single tunnel without a name.
   *
   * @throws {RangeError} if there is no tunnel of that name.
   */
  tunnel(name?: string): TunnelMetrics;
  /**
   * Certificates and ACLs of all tunnels were reloaded, or the reload failed. `inForce` says
   * whether everything in the files is now in effect; by default it is true after a success. Never
   * throws.
   */
  reloaded(result: ReloadResult, inForce?: boolean): void;
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

const RELOAD_RESULTS = ["success", "failure"] as const satisfies readonly ReloadResult[];

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
  const lastReload = families.asking({
    name: "mtlsd_last_reload_successful",
    help:
      "Whether all that the files said at the last reload is in force: 0 while some of it is not.",
  });
  let allInForce = true;
  const byName = new Map<string | undefined, TunnelMetrics>();
  const reloads: ((result: ReloadResult) => void)[] = [];
  for (const { name, targets, proxy: { maxConnections } } of tunnels) {
    const owner: Owner = name === undefined ? {} : { tunnel: name };
    byName.set(name, tunnelOf({ owner, targets: targets.length, maxConnections }));
    reloads.push(reloadsOf(owner));
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
      for (const count of reloads) count(result);
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
