/**
 * The places where faults are injected, and what must come of each.
 *
 * @module
 */

import type { CloseReason } from "../../src/outcome.ts";
import type { FaultKind, Route } from "./support_plan.ts";

/** What must come of a fault. */
export type Outcome = {
  /** Whether all that the peer sent has come back. */
  readonly served: boolean;
  /**
   * The reason in the log and in the metrics, one of these; `undefined` where it never came to be a
   * connection.
   */
  readonly closed?: readonly CloseReason[];
  /** What the log says of the fault besides. */
  readonly says?: string;
};

/** One place and how it fails. */
export type PlaceFault = {
  readonly place: string;
  readonly kind: FaultKind;
  readonly skip: number;
  readonly outcome: Outcome;
};

/** The faults of one stage. */
export type Stage = {
  readonly name: string;
  readonly faults: readonly PlaceFault[];
  /** The gauge of connections is wrong afterwards: it was not told of one that began or ended. */
  readonly skewed?: boolean;
};

/** What differs between the modes. */
type Mode = {
  readonly route: Route;
  /** How its lines begin. */
  readonly log: "listener" | "dialer";
  /** A connection whose handshake or decision failed: in client mode the target was not reached. */
  readonly refused: CloseReason;
  /** What it logs of a connection that was let in. */
  readonly joined: string;
  /** The side that faces the target. */
  readonly upstream: "plain" | "tls";
};

const SERVED: Outcome = { served: true, closed: ["completed"] };
const ERROR: Outcome = { served: false, closed: ["error"] };
const DIAL_FAILED: Outcome = { served: false, closed: ["dial_failed"] };

function thrown(place: string, outcome: Outcome, skip = 0): PlaceFault[] {
  return [{ place, kind: "throw", outcome, skip }];
}

/** A call that gives a promise can fail in two ways. */
function failing(place: string, outcome: Outcome, skip = 0): PlaceFault[] {
  return [...thrown(place, outcome, skip), { place, kind: "reject", outcome, skip }];
}

/** And can leave behind what only the last line of defence catches. */
function faulty(place: string, outcome: Outcome, skip = 0): PlaceFault[] {
  return [...failing(place, outcome, skip), { place, kind: "stray", outcome: SERVED, skip }];
}

function accept(): PlaceFault[] {
  const dropped: Outcome = { served: false, says: "listener: connection failed" };
  return [
    // The connection waits in the kernel's queue for the next try.
    ...faulty("accept", SERVED),
    ...failing("room", SERVED),
    ...failing("accepted.room", dropped),
    ...thrown("place", dropped),
    ...thrown("open", dropped),
    // As any failure to accept this is logged once for all that happen within a short time.
    ...thrown("accepted.remoteAddr", { served: false }),
  ];
}

function handshake({ refused, upstream, route }: Mode): PlaceFault[] {
  const outcome: Outcome = { served: false, closed: [refused] };
  // It may be reported as a fault of ours or as the handshake's.
  const either: Outcome = { served: false, closed: ["error", refused] };
  const engine = route === "native"
    ? ["start", "readBuffer", "drainEncOut", "getPeerCertificateChain", "getProtocol"]
    : ["secure", "getProtocol()", ...(upstream === "tls" ? ["connect()", "secureConnect"] : [])];
  return [
    ...faulty("handshake", ERROR),
    ...faulty("opening.wire.read", outcome),
    ...faulty("opening.wire.write", either),
    ...engine.flatMap((call) => thrown(`engine.${call}`, either)),
  ];
}

function authorize({ refused, upstream }: Mode): PlaceFault[] {
  const outcome: Outcome = { served: false, closed: [refused] };
  return [
    ...thrown("verify", outcome),
    ...thrown("identity", outcome),
    ...thrown("authorize", outcome),
    ...thrown("admit", outcome),
    ...(upstream === "plain" ? thrown("quota", outcome) : []),
  ];
}

const DIAL: readonly PlaceFault[] = [
  ...faulty("dial", ERROR),
  ...faulty("connect", DIAL_FAILED),
  ...thrown("dialled.remoteAddr", DIAL_FAILED),
];

function copy({ route }: Mode): PlaceFault[] {
  const native = route === "native"
    ? [
      // In callbacks that the runtime makes.
      ...thrown("socket.count", ERROR, 4),
      ...thrown("engine.count", ERROR),
      ...thrown("engine.writeBuffer", ERROR),
    ]
    : [];
  return [
    ...faulty("copy", ERROR),
    ...["plain", "tls", "wire"].flatMap((side) => [
      ...faulty(`${side}.read`, ERROR, 1),
      ...faulty(`${side}.write`, ERROR),
    ]),
    ...thrown("timer.proxy/copy", { served: true, closed: ["error"] }),
    ...native,
  ];
}

/** A half that ended and cannot be passed on: where the target waits for it, the idle timeout ends that. */
function ending({ upstream, log, route }: Mode): PlaceFault[] {
  const failed: Outcome = { served: true, closed: ["error"], says: `${log}: connection failed` };
  const either: Outcome = { served: true, closed: ["completed", "error"] };
  const unheard: Outcome = { served: true, closed: ["idle_timeout"] };
  return [
    ...["plain", "tls", "wire"].flatMap((side) => [
      ...faulty(`${side}.closeWrite`, side === upstream ? unheard : SERVED),
      ...thrown(`${side}.close`, failed),
    ]),
    ...(route === "native" ? thrown("engine.shutdown", upstream === "tls" ? unheard : SERVED) : []),
    ...(route === "native" ? thrown("engine.destroySsl", either) : []),
    ...thrown("dispose", { ...SERVED, says: `${log}: connection failed` }),
  ];
}

function telling({ refused, log, joined }: Mode): PlaceFault[] {
  const says = `${log}: connection failed`;
  return [
    ...thrown("metrics.connectionAccepted", { ...ERROR, says }),
    ...thrown("metrics.aclDecision", { served: false, closed: [refused] }),
    ...thrown("metrics.handshakeDone", { ...ERROR, says }),
    ...thrown(`log.${joined}`, { ...ERROR, says }),
    ...thrown("metrics.bytesProxied", SERVED),
    ...thrown("metrics.connectionClosed", { ...SERVED, says }),
    ...thrown(`log.${log}: connection closed`, { ...SERVED, says }),
  ];
}

function stages(mode: Mode): readonly Stage[] {
  return [
    { name: "accept", faults: accept() },
    { name: "handshake", faults: handshake(mode) },
    { name: "identity and authorization", faults: authorize(mode) },
    { name: "dial", faults: DIAL },
    { name: "copy loops", faults: copy(mode) },
    { name: "half-close and close", faults: ending(mode) },
    { name: "metrics and log", faults: telling(mode), skewed: true },
  ];
}

/** Of server mode, in the order of a connection's way. */
export function serverStages(route: Route): readonly Stage[] {
  return stages({
    route,
    log: "listener",
    refused: "error",
    joined: "listener: accepted connection",
    upstream: "plain",
  });
}

/** Of client mode likewise. */
export function clientStages(route: Route): readonly Stage[] {
  return stages({
    route,
    log: "dialer",
    refused: "dial_failed",
    joined: "dialer: connected",
    upstream: "tls",
  });
}
