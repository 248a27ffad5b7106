/**
 * The counters of a tunnel in shared memory: the data plane adds, the control plane reads when the
 * metrics are scraped. Each cell is one double, and only one thread writes to it, so no lock is
 * needed. A change of the layout needs a new `PROTOCOL` in `report.ts`.
 *
 * @module
 */

import { LIMITED_MESSAGES, type LimitedMessage } from "../log/limiter.ts";
import {
  CLOSE_REASONS,
  type CloseReason,
  type Direction,
  DIRECTIONS,
  HANDSHAKE_REASONS,
  type HandshakeReason,
} from "../outcome.ts";
import { ACL_RESULTS, type AclResult, type TunnelMetrics } from "./mod.ts";

/** Upper bounds in seconds: a resumed handshake takes about 1 ms, the default time limit is 10 s. */
// deno-fmt-ignore
export const HANDSHAKE_BUCKETS: readonly number[] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Upper bounds in seconds: from one short request to a database connection that lasts all day. */
// deno-fmt-ignore
export const DURATION_BUCKETS: readonly number[] = [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 14_400, 43_200, 86_400];

/** The cells of a histogram besides its buckets: sum and count. */
const SUM_AND_COUNT = 2;

// The layout: the first cell of each group.
const ACTIVE = 0;
const CONNECTIONS = 1;
const WITHOUT_CERTIFICATE = 2;
const DIAL_ERRORS = 3;
const BYTES = 4;
const DECISIONS = BYTES + DIRECTIONS.length;
const HANDSHAKE_ERRORS = DECISIONS + ACL_RESULTS.length;
const CLOSED = HANDSHAKE_ERRORS + HANDSHAKE_REASONS.length;
const SUPPRESSED = CLOSED + CLOSE_REASONS.length;
const HANDSHAKES = SUPPRESSED + LIMITED_MESSAGES.length;
const DURATIONS = HANDSHAKES + HANDSHAKE_BUCKETS.length + SUM_AND_COUNT;
const TARGETS = DURATIONS + DURATION_BUCKETS.length + SUM_AND_COUNT;

// The cells of one target. `TARGET_DOWN` is 1 while it is unhealthy.
const TARGET_CONNECTIONS = 0;
const TARGET_ACTIVE = 1;
const TARGET_ERRORS = 2;
const TARGET_DOWN = 3;
const TARGET_CELLS = 4;

/** Allocates the counters of a tunnel with this number of targets, all at zero. */
export function allocateCounters(targets: number): Float64Array {
  const cells = TARGETS + targets * TARGET_CELLS;
  return new Float64Array(new SharedArrayBuffer(cells * Float64Array.BYTES_PER_ELEMENT));
}

/** Counts into cells that {@linkcode allocateCounters} made. */
export class TunnelCounters implements TunnelMetrics {
  readonly #cells: Float64Array;

  /** Continues from the counts in the cells. */
  constructor(cells: Float64Array) {
    this.#cells = cells;
  }

  /** Adds 1 to the open connections and to all connections. */
  connectionAccepted(): void {
    this.#add(ACTIVE, 1);
    this.#add(CONNECTIONS, 1);
  }

  /** Takes 1 from the open connections, and counts its reason and its duration. */
  connectionClosed(reason: CloseReason, seconds: number): void {
    this.#add(ACTIVE, -1);
    this.#addOf(CLOSED, CLOSE_REASONS, reason);
    this.#observe(DURATIONS, DURATION_BUCKETS, seconds);
  }

  /** Adds to the bytes of a direction. */
  bytesProxied(direction: Direction, count: number): void {
    this.#add(direction === "client_to_target" ? BYTES : BYTES + 1, count);
  }

  /** Adds 1 to the decisions with this result. */
  aclDecision(result: AclResult): void {
    this.#addOf(DECISIONS, ACL_RESULTS, result);
  }

  /** Adds 1 to the peers without a certificate. */
  peerWithoutCertificate(): void {
    this.#add(WITHOUT_CERTIFICATE, 1);
  }

  /** Counts a handshake's duration. */
  handshakeDone(seconds: number): void {
    this.#observe(HANDSHAKES, HANDSHAKE_BUCKETS, seconds);
  }

  /** Adds 1 to the handshakes that failed for this reason. */
  handshakeFailed(reason: HandshakeReason): void {
    this.#addOf(HANDSHAKE_ERRORS, HANDSHAKE_REASONS, reason);
  }

  /** Adds 1 to the suppressed lines of this message. */
  logLineSuppressed(message: LimitedMessage): void {
    this.#addOf(SUPPRESSED, LIMITED_MESSAGES, message);
  }

  /** Adds 1 to the connections without a target. */
  dialFailed(): void {
    this.#add(DIAL_ERRORS, 1);
  }

  /** Adds 1 to all connections and to the open connections of a target. */
  targetConnected(index: number): void {
    this.#addTo(index, TARGET_CONNECTIONS, 1);
    this.#addTo(index, TARGET_ACTIVE, 1);
  }

  /** Takes 1 from the open connections of a target. */
  targetReleased(index: number): void {
    this.#addTo(index, TARGET_ACTIVE, -1);
  }

  /** Adds 1 to the failed attempts of a target. */
  targetFailed(index: number): void {
    this.#addTo(index, TARGET_ERRORS, 1);
  }

  /** Sets the health of a target. */
  targetUp(index: number, up: boolean): void {
    if (this.#hasTarget(index)) this.#cells[targetCell(index, TARGET_DOWN)] = up ? 0 : 1;
  }

  #add(cell: number, by: number): void {
    this.#cells[cell] = (this.#cells[cell] ?? 0) + by;
  }

  #addOf<V>(first: number, values: readonly V[], value: V): void {
    const index = values.indexOf(value);
    if (index >= 0) this.#add(first + index, 1);
  }

  #addTo(target: number, cell: number, by: number): void {
    if (this.#hasTarget(target)) this.#add(targetCell(target, cell), by);
  }

  #hasTarget(index: number): boolean {
    return index >= 0 && targetCell(index, TARGET_CELLS) <= this.#cells.length;
  }

  #observe(first: number, bounds: readonly number[], seconds: number): void {
    // A clock that was set back must not subtract seconds.
    const elapsed = seconds > 0 && Number.isFinite(seconds) ? seconds : 0;
    const bucket = bounds.findIndex((bound) => elapsed <= bound);
    if (bucket >= 0) this.#add(first + bucket, 1);
    this.#add(first + bounds.length, elapsed);
    this.#add(first + bounds.length + 1, 1);
  }
}

function targetCell(index: number, cell: number): number {
  return TARGETS + index * TARGET_CELLS + cell;
}

/** A histogram. */
export type HistogramCounts = {
  /** The observations in each bucket and not in a lower one; the rest exceeded all bounds. */
  readonly buckets: readonly number[];
  /** Seconds. */
  readonly sum: number;
  readonly count: number;
};

/** Reads the counters of a tunnel; each call shows the current value. */
export class CounterReader {
  readonly #cells: Float64Array;

  /** Reads from these cells. */
  constructor(cells: Float64Array) {
    this.#cells = cells;
  }

  /** The number of connections that are accepted and not yet closed. */
  get active(): number {
    return this.#at(ACTIVE);
  }

  /** Connections accepted. */
  get connections(): number {
    return this.#at(CONNECTIONS);
  }

  /** Clients without a certificate. */
  get withoutCertificate(): number {
    return this.#at(WITHOUT_CERTIFICATE);
  }

  /** Connections that found no target. */
  get dialErrors(): number {
    return this.#at(DIAL_ERRORS);
  }

  /** Bytes sent in a direction. */
  bytes(direction: Direction): number {
    return this.#at(BYTES + DIRECTIONS.indexOf(direction));
  }

  /** Decisions with a result. */
  decisions(result: AclResult): number {
    return this.#at(DECISIONS + ACL_RESULTS.indexOf(result));
  }

  /** Handshakes that failed for a reason. */
  handshakeErrors(reason: HandshakeReason): number {
    return this.#at(HANDSHAKE_ERRORS + HANDSHAKE_REASONS.indexOf(reason));
  }

  /** Connections closed for a reason. */
  closed(reason: CloseReason): number {
    return this.#at(CLOSED + CLOSE_REASONS.indexOf(reason));
  }

  /** Suppressed log lines of a message. */
  suppressed(message: LimitedMessage): number {
    return this.#at(SUPPRESSED + LIMITED_MESSAGES.indexOf(message));
  }

  /** Durations of successful handshakes, by {@linkcode HANDSHAKE_BUCKETS}. */
  handshakes(): HistogramCounts {
    return this.#histogram(HANDSHAKES, HANDSHAKE_BUCKETS.length);
  }

  /** Durations of connections, by {@linkcode DURATION_BUCKETS}. */
  durations(): HistogramCounts {
    return this.#histogram(DURATIONS, DURATION_BUCKETS.length);
  }

  /** Connections that a target accepted. */
  targetConnections(index: number): number {
    return this.#at(targetCell(index, TARGET_CONNECTIONS));
  }

  /** Open connections of a target. */
  targetActive(index: number): number {
    return this.#at(targetCell(index, TARGET_ACTIVE));
  }

  /** Failed attempts to connect to a target. */
  targetErrors(index: number): number {
    return this.#at(targetCell(index, TARGET_ERRORS));
  }

  /** Whether a target counts as healthy. */
  targetUp(index: number): boolean {
    return this.#at(targetCell(index, TARGET_DOWN)) === 0;
  }

  #at(cell: number): number {
    return this.#cells[cell] ?? 0;
  }

  #histogram(first: number, length: number): HistogramCounts {
    return {
      buckets: [...this.#cells.subarray(first, first + length)],
      sum: this.#at(first + length),
      count: this.#at(first + length + 1),
    };
  }
}
