/**
 * The Prometheus metrics, behind methods named after what happened. Labels come from closed sets and
 * from the config only, never from a peer, so the number of series is fixed.
 *
 * Where tunnels have names each series of a tunnel has the label `tunnel`, and each tunnel has all of
 * them: those of a reload too, which concerns every one. What is said of the process has no such
 * label: `mtlsd_build_info` and `process_*`. The latter are our own collectors: prom-client's read
 * /proc, which needs `--allow-all`, and report as `nodejs_*` what is no Node.
 *
 * @module
 */

import process from "node:process";
import { Counter, Gauge, Registry } from "prom-client";
import { Families, type Owner } from "./metrics/families.ts";
import { tunnelFamilies } from "./metrics/tunnels.ts";
import type { LimitedMessage } from "./logging/limiter.ts";
import type { CloseReason, Direction, HandshakeReason } from "./proxy/outcome.ts";

/** How an access decision came out: the `result` label of `mtlsd_acl_decisions_total`. */
export type AclResult = "allowed" | "denied" | "would_deny";

/** How a reload came out: the `result` label of `mtlsd_reloads_total`. */
export type ReloadResult = "success" | "failure";

/** Whose certificate: the own leaf, or the CA of the bundle that expires first. */
export type CertRole = "own" | "ca";

/** Counts what happens in a tunnel. Recording never throws, so a slip here cannot end a connection. */
export interface TunnelMetrics {
  /** A connection was accepted; `connectionClosed` follows exactly once. */
  connectionAccepted(): void;
  /** An accepted connection ended after `seconds`. */
  connectionClosed(reason: CloseReason, seconds: number): void;
  /** `count` bytes went to the other side. Cheap: called for every chunk. */
  bytesProxied(direction: Direction, count: number): void;
  /** The ACL was asked. */
  aclDecision(result: AclResult): void;
  /** A client came without a certificate where none is asked for, or where it is optional. */
  peerWithoutCertificate(): void;
  /** A TLS handshake succeeded and took `seconds`. */
  handshakeDone(seconds: number): void;
  /** A TLS handshake failed. */
  handshakeFailed(reason: HandshakeReason): void;
  /** A line about a stranger was left out of the log. */
  logLineSuppressed(message: LimitedMessage): void;
  /** No target took a connection, because one or more of them could not be reached. */
  dialFailed(): void;
  /** When the first of the certificates of that role ends, in seconds since the epoch. */
  certNotAfter(role: CertRole, epochSeconds: number): void;
  /**
   * When the first of the revocation lists in force is due to be renewed, in seconds since the epoch;
   * there is no such series until this was called.
   */
  crlNextUpdate(epochSeconds: number): void;
  /** Whom to ask whether the tunnel is ready, on every look; before it is set it is not. */
  readiness(source: () => boolean): void;
  /** The target at this place in the config, from 0, took a connection; `targetReleased` follows once. */
  targetConnected(index: number): void;
  /** A connection that a target had taken is over. */
  targetReleased(index: number): void;
  /** An attempt to reach a target failed. */
  targetFailed(index: number): void;
  /** Whether a target is taken to be well; it is at first. */
  targetUp(index: number, up: boolean): void;
  /** Connections accepted and not yet closed. */
  readonly activeConnections: number;
}

/** All metrics of the process. */
export interface Metrics {
  /**
   * Those of the tunnel with this name, the same ones on every call; `undefined`, the default, for the
   * only tunnel of a config that gives none.
   *
   * @throws {RangeError} where there is none of that name.
   */
  tunnel(name?: string): TunnelMetrics;
  /**
   * Certificates and ACLs of all tunnels were reloaded, or could not be. `inForce`: whether all that
   * the files said then is in force now; by default it is after a success. Never throws.
   */
  reloaded(result: ReloadResult, inForce?: boolean): void;
  /** The `content-type` of what `render` returns. */
  readonly contentType: string;
  /** All metrics in Prometheus text format 0.0.4. */
  render(): Promise<string>;
}

/** A tunnel as its metrics need to know it; `TunnelConfig` is one. */
export type MeasuredTunnel = {
  /** The label `tunnel`; `undefined`: there is none. Given by all of several tunnels. */
  readonly name: string | undefined;
  readonly targets: readonly unknown[];
  readonly proxy: { readonly maxConnections: number };
};

/** Settings of {@linkcode createMetrics}. */
export type MetricsOptions = {
  /** The version that `mtlsd_build_info` tells. */
  readonly version: string;
  /** Default: one without a name, with one target and without a limit. */
  readonly tunnels?: readonly MeasuredTunnel[];
};

const RELOAD_RESULTS = ["success", "failure"] as const satisfies readonly ReloadResult[];

const ONLY: MeasuredTunnel = { name: undefined, targets: [""], proxy: { maxConnections: 0 } };

/** Make a set of metrics with a registry of its own, every series at zero. */
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

/** The standard process metrics that are right under `--allow-net --allow-read`. */
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
