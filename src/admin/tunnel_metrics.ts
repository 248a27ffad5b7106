/**
 * The metrics of tunnels and their targets: names, labels, help texts and buckets.
 *
 * @module
 */

import { LIMITED_MESSAGES } from "../log/limiter.ts";
import { CLOSE_REASONS, DIRECTIONS, HANDSHAKE_REASONS } from "../outcome.ts";
import type { TunnelMetrics } from "./metrics.ts";
import type { Families, Owner } from "./metric_families.ts";

/** A tunnel, as needed for its metrics. */
export type TunnelSeries = {
  /** The labels of the tunnel. */
  readonly owner: Owner;
  /** The number of targets. */
  readonly targets: number;
  /** The maximum number of concurrent connections; 0 = no limit. */
  readonly maxConnections: number;
};

/** Seconds: a resumed handshake nearby takes about 1 ms, the default time limit is 10 s. */
// deno-fmt-ignore
const HANDSHAKE_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Seconds: from one short request to a database pool's connection that lasts all day. */
// deno-fmt-ignore
const DURATION_BUCKETS = [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 14_400, 43_200, 86_400];

const ACL_RESULTS = ["allowed", "denied", "would_deny"] as const;

/**
 * Registers the families. Returns a function that creates the series of one tunnel; call it once
 * for each.
 */
export function tunnelFamilies(families: Families): (series: TunnelSeries) => TunnelMetrics {
  const active = families.asking({
    name: "mtlsd_active_connections",
    help: "Connections accepted and not yet closed.",
  });
  const limit = families.asking({
    name: "mtlsd_max_connections",
    help: "The most connections that may be open at once; 0 is no limit.",
  });
  const readiness = families.asking({
    name: "mtlsd_ready",
    help: "Whether it accepts connections and its certificates are valid.",
  });
  const connections = families.counter({
    name: "mtlsd_connections_total",
    help: "Connections accepted.",
  });
  const bytes = families.tallies(
    { name: "mtlsd_bytes_proxied_total", help: "Bytes forwarded, TLS not counted." },
    "direction",
    DIRECTIONS,
  );
  const durations = families.histogram(
    { name: "mtlsd_connection_duration_seconds", help: "Time from accept to close." },
    DURATION_BUCKETS,
  );
  const decisions = families.counters(
    { name: "mtlsd_acl_decisions_total", help: "Decisions of the access control list." },
    "result",
    ACL_RESULTS,
  );
  const withoutCertificate = families.counter({
    name: "mtlsd_peers_without_certificate_total",
    help: "Clients past the TLS handshake that showed no certificate, let in or not.",
  });
  const handshakes = families.histogram(
    {
      name: "mtlsd_tls_handshake_duration_seconds",
      help: "Time that successful TLS handshakes took.",
    },
    HANDSHAKE_BUCKETS,
  );
  const dialErrors = families.counter({
    name: "mtlsd_dial_errors_total",
    help: "Connections that no target took because one or more could not be reached.",
  });
  const handshakeErrors = families.counters(
    { name: "mtlsd_tls_handshake_errors_total", help: "TLS handshakes that failed." },
    "reason",
    HANDSHAKE_REASONS,
  );
  const closed = families.counters(
    { name: "mtlsd_connections_closed_total", help: "Connections closed." },
    "reason",
    CLOSE_REASONS,
  );
  const suppressed = families.counters(
    {
      name: "mtlsd_log_lines_suppressed_total",
      help: "Log lines about peers that were not let in, left out because there were too many.",
    },
    "message",
    LIMITED_MESSAGES,
  );
  const notAfter = families.gauge({
    name: "mtlsd_cert_not_after_seconds",
    help: "When the own certificate, or the first CA of the bundle, expires (Unix time).",
  }, ["role"]);
  const nextUpdate = families.gauge({
    name: "mtlsd_crl_next_update_seconds",
    help: "When the first of the revocation lists is due to be renewed (Unix time).",
  });
  const targetOf = targetFamilies(families.below("target"));

  return ({ owner, targets, maxConnections }) => {
    let open = 0;
    let ready = () => false;
    active(owner, () => open);
    limit(owner, () => maxConnections);
    readiness(owner, () => ready() ? 1 : 0);
    const count = {
      connection: connections(owner),
      closed: closed(owner),
      decision: decisions(owner),
      withoutCertificate: withoutCertificate(owner),
      dialError: dialErrors(owner),
    };
    const duration = durations(owner);
    const tally = bytes(owner);
    const each = Array.from(
      { length: targets },
      (_, index) => targetOf({ ...owner, target: String(index) }),
    );
    return {
      connectionAccepted() {
        open++;
        count.connection();
      },
      connectionClosed(reason, seconds) {
        open--;
        count.closed(reason);
        duration(seconds);
      },
      bytesProxied(direction, amount) {
        tally[direction] += amount;
      },
      aclDecision: count.decision,
      peerWithoutCertificate: () => count.withoutCertificate(),
      handshakeDone: handshakes(owner),
      handshakeFailed: handshakeErrors(owner),
      logLineSuppressed: suppressed(owner),
      dialFailed: () => count.dialError(),
      certNotAfter: (role, epochSeconds) => notAfter({ ...owner, role }, epochSeconds),
      crlNextUpdate: (epochSeconds) => nextUpdate(owner, epochSeconds),
      readiness: (source) => void (ready = source),
      targetConnected: (index) => each[index]?.connected(),
      targetReleased: (index) => each[index]?.released(),
      targetFailed: (index) => each[index]?.failed(),
      targetUp: (index, up) => each[index]?.up(up),
      get activeConnections() {
        return open;
      },
    };
  };
}

/** The series of one target. */
type TargetSeries = {
  readonly connected: () => void;
  readonly released: () => void;
  readonly failed: () => void;
  readonly up: (now: boolean) => void;
};

function targetFamilies(families: Families): (owner: Owner) => TargetSeries {
  const connections = families.counter({
    name: "mtlsd_target_connections_total",
    help: "Connections that a target took.",
  });
  const active = families.asking({
    name: "mtlsd_target_active_connections",
    help: "Connections to a target that are open.",
  });
  const dialErrors = families.counter({
    name: "mtlsd_target_dial_errors_total",
    help: "Attempts to reach a target that failed.",
  });
  const up = families.asking({
    name: "mtlsd_target_up",
    help:
      "Whether a target is taken to be well: 1 until an attempt fails, and from its next connection on.",
  });
  return (owner) => {
    const connected = connections(owner);
    const failed = dialErrors(owner);
    let open = 0;
    let well = true;
    active(owner, () => open);
    up(owner, () => well ? 1 : 0);
    return {
      connected() {
        open++;
        connected();
      },
      released: () => void open--,
      failed: () => failed(),
      up: (now) => void (well = now),
    };
  };
}
