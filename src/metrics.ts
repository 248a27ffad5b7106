/**
 * The Prometheus metrics: every name, label and unit in one place, behind methods named after what
 * happened. Labels come from closed sets only, never from a peer, so the number of series is fixed.
 *
 * The process metrics are our own collectors: prom-client's read /proc, which needs `--allow-all`,
 * and report as `nodejs_*` what is no Node.
 *
 * @module
 */

import process from "node:process";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import {
  CLOSE_REASONS,
  type CloseReason,
  type Direction,
  DIRECTIONS,
  HANDSHAKE_REASONS,
  type HandshakeReason,
} from "./proxy/outcome.ts";

/** How an access decision came out: the `result` label of `mtlsd_acl_decisions_total`. */
export type AclResult = "allowed" | "denied" | "would_deny";

/** How a reload came out: the `result` label of `mtlsd_reloads_total`. */
export type ReloadResult = "success" | "failure";

/** Whose certificate: the own leaf, or the CA of the bundle that expires first. */
export type CertRole = "own" | "ca";

/** Counts what happens. Recording never throws, so a slip here cannot end a connection. */
export interface Metrics {
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
  /** The target could not be reached. */
  dialFailed(): void;
  /** When a loaded certificate ends, in seconds since the epoch. */
  certNotAfter(role: CertRole, epochSeconds: number): void;
  /**
   * When the first of the revocation lists in force is due to be renewed, in seconds since the epoch;
   * there is no such series until this was called.
   */
  crlNextUpdate(epochSeconds: number): void;
  /** Certificates and ACL were reloaded, or could not be. */
  reloaded(result: ReloadResult): void;
  /** Connections accepted and not yet closed. */
  readonly activeConnections: number;
  /** The `content-type` of what `render` returns. */
  readonly contentType: string;
  /** All metrics in Prometheus text format 0.0.4. */
  render(): Promise<string>;
}

/** Settings of {@linkcode createMetrics}. */
export type MetricsOptions = {
  /** The version that `mtlsd_build_info` tells. */
  readonly version: string;
};

/** Seconds: a resumed handshake nearby takes about 1 ms, the default time limit is 10 s. */
// deno-fmt-ignore
const HANDSHAKE_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Seconds: from one short request to a database pool's connection that lasts all day. */
// deno-fmt-ignore
const DURATION_BUCKETS = [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 14_400, 43_200, 86_400];

const ACL_RESULTS = ["allowed", "denied", "would_deny"] as const satisfies readonly AclResult[];
const RELOAD_RESULTS = ["success", "failure"] as const satisfies readonly ReloadResult[];

/** Make a set of metrics with a registry of its own, every series at zero. */
export function createMetrics(options: MetricsOptions): Metrics {
  const registry = new Registry();
  const registers = [registry];
  let active = 0;
  const bytes: Record<Direction, number> = { client_to_target: 0, target_to_client: 0 };

  new Gauge({
    name: "mtlsd_active_connections",
    help: "Connections accepted and not yet closed.",
    registers,
    collect() {
      this.set(active);
    },
  });
  const connections = new Counter({
    name: "mtlsd_connections_total",
    help: "Connections accepted.",
    registers,
  });
  new Counter({
    name: "mtlsd_bytes_proxied_total",
    help: "Bytes forwarded, TLS not counted.",
    labelNames: ["direction"],
    registers,
    // Chunks only add to a number; the counter takes it over when somebody looks.
    collect() {
      for (const direction of DIRECTIONS) {
        this.inc({ direction }, bytes[direction]);
        bytes[direction] = 0;
      }
    },
  });
  const durations = new Histogram({
    name: "mtlsd_connection_duration_seconds",
    help: "Time from accept to close.",
    buckets: DURATION_BUCKETS,
    registers,
  });
  const decisions = labelled(registry, "result", ACL_RESULTS, {
    name: "mtlsd_acl_decisions_total",
    help: "Decisions of the access control list.",
  });
  const withoutCertificate = new Counter({
    name: "mtlsd_peers_without_certificate_total",
    help: "Clients past the TLS handshake that showed no certificate, let in or not.",
    registers,
  });
  const handshakes = new Histogram({
    name: "mtlsd_tls_handshake_duration_seconds",
    help: "Time that successful TLS handshakes took.",
    buckets: HANDSHAKE_BUCKETS,
    registers,
  });
  const dialErrors = new Counter({
    name: "mtlsd_dial_errors_total",
    help: "Attempts to reach the target that failed.",
    registers,
  });
  const handshakeErrors = labelled(registry, "reason", HANDSHAKE_REASONS, {
    name: "mtlsd_tls_handshake_errors_total",
    help: "TLS handshakes that failed.",
  });
  const closed = labelled(registry, "reason", CLOSE_REASONS, {
    name: "mtlsd_connections_closed_total",
    help: "Connections closed.",
  });
  const notAfter = new Gauge({
    name: "mtlsd_cert_not_after_seconds",
    help: "When the own certificate, or the first CA of the bundle, expires (Unix time).",
    labelNames: ["role"],
    registers,
  });
  const nextUpdate = onFirstUse(() =>
    new Gauge({
      name: "mtlsd_crl_next_update_seconds",
      help: "When the first of the revocation lists is due to be renewed (Unix time).",
      registers,
    })
  );
  const reloads = labelled(registry, "result", RELOAD_RESULTS, {
    name: "mtlsd_reloads_total",
    help: "Reloads of certificates and access rules.",
  });
  new Gauge({
    name: "mtlsd_build_info",
    help: "Always 1; the label tells the version.",
    labelNames: ["version"],
    registers,
  }).set({ version: options.version }, 1);
  registerProcessMetrics(registry);

  return {
    connectionAccepted() {
      active++;
      connections.inc();
    },
    connectionClosed(reason, seconds) {
      active--;
      closed.inc({ reason });
      durations.observe(elapsed(seconds));
    },
    bytesProxied(direction, count) {
      bytes[direction] += count;
    },
    aclDecision: (result) => decisions.inc({ result }),
    peerWithoutCertificate: () => withoutCertificate.inc(),
    handshakeDone: (seconds) => handshakes.observe(elapsed(seconds)),
    handshakeFailed: (reason) => handshakeErrors.inc({ reason }),
    dialFailed: () => dialErrors.inc(),
    certNotAfter: (role, epochSeconds) => notAfter.set({ role }, epochSeconds),
    crlNextUpdate: (epochSeconds) => nextUpdate().set(epochSeconds),
    reloaded: (result) => reloads.inc({ result }),
    get activeConnections() {
      return active;
    },
    contentType: registry.contentType,
    render: () => registry.metrics(),
  };
}

/** Makes it when it is first asked for: a gauge that is there shows 0 before it is set. */
function onFirstUse<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => made ??= make();
}

/** A counter with one label, all of whose series are there from the start. */
function labelled<L extends string>(
  registry: Registry,
  label: L,
  values: readonly string[],
  metric: { readonly name: string; readonly help: string },
): Counter<L> {
  const counter = new Counter<L>({ ...metric, labelNames: [label], registers: [registry] });
  for (const value of values) counter.labels(value).inc(0);
  return counter;
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

/** Seconds as a histogram takes them: a clock that was set back must not subtract or throw. */
function elapsed(seconds: number): number {
  return seconds > 0 && Number.isFinite(seconds) ? seconds : 0;
}
