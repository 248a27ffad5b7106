/**
 * The metrics of tunnels and their targets: names, labels and help texts.
 *
 * @module
 */

import { LIMITED_MESSAGES } from "../log/limiter.ts";
import {
  allocateCounters,
  CounterReader,
  DURATION_BUCKETS,
  HANDSHAKE_BUCKETS,
} from "../metrics/counters.ts";
import { ACL_RESULTS, type CertMetrics } from "../metrics/mod.ts";
import { CLOSE_REASONS, DIRECTIONS, HANDSHAKE_REASONS } from "../outcome.ts";
import type { Families, Owner } from "./metric_families.ts";

/** A tunnel, as needed for its series. */
export type TunnelOwner = {
  /** The labels of the tunnel. */
  readonly owner: Owner;
  /** The number of targets. */
  readonly targets: number;
  /** The maximum number of concurrent connections; 0 = no limit. */
  readonly maxConnections: number;
};

/** The series of a tunnel, for what sets their values. */
export interface TunnelSeries extends CertMetrics {
  /** The memory that the data plane counts in, for a `TunnelCounters`. */
  readonly counters: Float64Array;
  /**
   * Sets the function that returns whether the tunnel is ready, called on every scrape. Not ready
   * before.
   */
  readiness(source: () => boolean): void;
}

/**
 * Registers the families. Returns a function that creates the series of one tunnel; call it once
 * for each.
 */
export function tunnelFamilies(families: Families): (tunnel: TunnelOwner) => TunnelSeries {
  const active = families.readGauge({
    name: "mtlsd_active_connections",
    help: "Connections accepted and not yet closed.",
  });
  const limit = families.readGauge({
    name: "mtlsd_max_connections",
    help: "The most connections that may be open at once; 0 is no limit.",
  });
  const readiness = families.readGauge({
    name: "mtlsd_ready",
    help: "Whether it accepts connections and its certificates are valid.",
  });
  const connections = families.counter({
    name: "mtlsd_connections_total",
    help: "Connections accepted.",
  });
  const bytes = families.counters(
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
  const ofTargets = families.below("target");
  const targetConnections = ofTargets.counter({
    name: "mtlsd_target_connections_total",
    help: "Connections that a target took.",
  });
  const targetActive = ofTargets.readGauge({
    name: "mtlsd_target_active_connections",
    help: "Connections to a target that are open.",
  });
  const targetErrors = ofTargets.counter({
    name: "mtlsd_target_dial_errors_total",
    help: "Attempts to reach a target that failed.",
  });
  const targetUp = ofTargets.readGauge({
    name: "mtlsd_target_up",
    help:
      "Whether a target is taken to be well: 1 until an attempt fails, and from its next connection on.",
  });

  return ({ owner, targets, maxConnections }) => {
    const counters = allocateCounters(targets);
    const counted = new CounterReader(counters);
    let ready = () => false;
    active(owner, () => counted.active);
    limit(owner, () => maxConnections);
    readiness(owner, () => ready() ? 1 : 0);
    connections(owner, () => counted.connections);
    bytes(owner, (direction) => counted.bytes(direction));
    durations(owner, () => counted.durations());
    decisions(owner, (result) => counted.decisions(result));
    withoutCertificate(owner, () => counted.withoutCertificate);
    handshakes(owner, () => counted.handshakes());
    dialErrors(owner, () => counted.dialErrors);
    handshakeErrors(owner, (reason) => counted.handshakeErrors(reason));
    closed(owner, (reason) => counted.closed(reason));
    suppressed(owner, (message) => counted.suppressed(message));
    for (let index = 0; index < targets; index++) {
      const target = { ...owner, target: String(index) };
      targetConnections(target, () => counted.targetConnections(index));
      targetActive(target, () => counted.targetActive(index));
      targetErrors(target, () => counted.targetErrors(index));
      targetUp(target, () => counted.targetUp(index) ? 1 : 0);
    }
    return {
      counters,
      readiness: (source) => void (ready = source),
      certNotAfter: (role, epochSeconds) => notAfter({ ...owner, role }, epochSeconds),
      crlNextUpdate: (epochSeconds) => nextUpdate(owner, epochSeconds),
    };
  };
}
