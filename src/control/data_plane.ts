/**
 * The control plane's end of the data plane. For now the data plane runs in this thread, but every
 * message is cloned, so that nothing passes that could not pass to a Worker.
 *
 * Messages are delivered in the same turn of the event loop. The order of log lines depends on that,
 * and so does a reload, which takes effect for all tunnels and the certificate store at once.
 *
 * @module
 */

import type { LogRecord } from "../log/mod.ts";
import {
  type Drained,
  type NotStarted,
  PROTOCOL as REPORT_PROTOCOL,
  type Report,
  type Started,
} from "../report.ts";
import type { Command, Snapshot, TunnelState } from "../snapshot.ts";
import { DataPlane } from "../worker.ts";

/** A data plane, as far as the control plane sees it. */
export interface DataPlanePort {
  /** Sends a command. */
  post(command: Command): void;
  /** Receives the reports. Set before the first command. */
  onReport: (report: Report) => void;
}

/** A data plane in this thread. Messages are delivered before `post` returns. */
export class LocalPort implements DataPlanePort {
  /** Drops the reports until it is set. */
  onReport: (report: Report) => void = () => {};
  readonly #dataPlane: DataPlane;

  /** Creates the data plane. `now` is in milliseconds since the epoch. */
  constructor(now: () => number) {
    const report = (report: Report) => this.onReport(structuredClone(report));
    this.#dataPlane = new DataPlane({ report, now, monotonic: () => performance.now() });
  }

  /** Sends a clone of the command. */
  post(command: Command): void {
    this.#dataPlane.receive(structuredClone(command));
  }
}

/** Starts and controls the data plane. */
export class DataPlaneHandle {
  readonly #log: (record: LogRecord) => void;
  readonly #port: DataPlanePort;
  readonly #started = Promise.withResolvers<Started | NotStarted>();
  readonly #drained = Promise.withResolvers<Drained>();
  #draining = false;
  #updateError: string | undefined;
  /** The last answer about each tunnel. */
  readonly #accepting: boolean[] = [];

  /** `log` writes the log records. The data plane does nothing until `start`. */
  constructor(port: DataPlanePort, log: (record: LogRecord) => void) {
    this.#log = log;
    this.#port = port;
    port.onReport = (report) => this.#receive(report);
  }

  /** Binds all tunnels and serves. Call it once. Never rejects. */
  start(snapshot: Snapshot): Promise<Started | NotStarted> {
    this.#port.post({ kind: "start", snapshot });
    return this.#started.promise;
  }

  /**
   * Replaces the states of all tunnels, in the order of the snapshot.
   *
   * @throws {Error} if a tunnel rejects its state; then all keep their previous ones.
   */
  update(states: readonly TunnelState[]): void {
    // Without an answer, what takes effect is not known.
    this.#updateError = "Cannot update the tunnels: the data plane did not answer";
    this.#port.post({ kind: "update", states });
    if (this.#updateError !== undefined) throw new Error(this.#updateError);
  }

  /** Whether the tunnel at this index accepts connections; false before it has started. */
  accepting(tunnel: number): boolean {
    this.#accepting[tunnel] = false;
    this.#port.post({ kind: "query", tunnel });
    return this.#accepting[tunnel] ?? false;
  }

  /**
   * Stops accepting, and waits for the connections of each tunnel for at most its
   * `proxy.shutdown_timeout`. Later calls return the same promise. Never rejects.
   */
  drain(): Promise<Drained> {
    if (!this.#draining) this.#port.post({ kind: "drain" });
    this.#draining = true;
    return this.#drained.promise;
  }

  /** Closes every connection now. */
  cut(): void {
    this.#port.post({ kind: "cut" });
  }

  #receive(report: Report): void {
    switch (report.kind) {
      case "log":
        this.#log(report.record);
        return;
      case "started":
        this.#started.resolve(checked(report));
        return;
      case "not_started":
        this.#started.resolve(report);
        return;
      case "updated":
        this.#updateError = report.error;
        return;
      case "tunnel":
        this.#accepting[report.tunnel] = report.accepting;
        return;
      case "drained":
        this.#drained.resolve(report.result);
        return;
      default:
        report satisfies never;
    }
  }
}

function checked(started: Started): Started | NotStarted {
  const { protocol } = started;
  if (protocol === REPORT_PROTOCOL) return started;
  const message =
    `Cannot start: the data plane sends reports of version ${protocol}, the control ` +
    `plane reads version ${REPORT_PROTOCOL}`;
  return { kind: "not_started", message };
}
