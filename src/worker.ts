/**
 * The data plane: everything that handles what peers send. It is driven by {@linkcode Command}s and
 * answers with {@linkcode Report}s, reads no files, and imports no npm package, so that it can run in
 * a Worker with the network as its only permission.
 *
 * @module
 */

import type { TunnelConfig } from "./config/config.ts";
import { createLogger, type Logger } from "./log/mod.ts";
import { TunnelCounters } from "./metrics/counters.ts";
import { type NativeBackend, nativeBackend } from "./native/mod.ts";
import { ListenError } from "./net/mod.ts";
import { drainTunnel } from "./proxy/drain.ts";
import { Tunnel } from "./proxy/tunnel.ts";
import {
  type NotStarted,
  PROTOCOL as REPORT_PROTOCOL,
  type Report,
  type Started,
} from "./report.ts";
import {
  type Command,
  PROTOCOL,
  sealState,
  type Snapshot,
  type TunnelSnapshot,
  type TunnelState,
} from "./snapshot.ts";
import { FairQueue } from "./tls/fair_queue.ts";
import { messageOf } from "./util/errors.ts";

/** Dependencies of {@linkcode DataPlane}. */
export type DataPlaneDeps = {
  /** Sends a report to the control plane. */
  readonly report: (report: Report) => void;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Milliseconds on a monotonic clock. */
  readonly monotonic: () => number;
};

/** A tunnel and its current state. */
export type Updatable = { readonly tunnel: Pick<Tunnel, "update">; state: TunnelState };

type Running = Updatable & {
  readonly config: TunnelConfig;
  readonly tunnel: Tunnel;
  /** Adds the name of the tunnel, if it has one, to each record. */
  readonly logger: Logger;
};

/** All tunnels of the process. */
export class DataPlane {
  readonly #deps: DataPlaneDeps;
  readonly #running: Running[] = [];
  /** Verifications of peers of all tunnels share this queue. */
  readonly #queue = new FairQueue();
  /** Ends a drain early. */
  readonly #hurry = new AbortController();
  /** The number of the last connection. One counter, so that numbers are unique in the process. */
  #connections = 0;
  #stopping = false;

  /** Does nothing until it receives `start`. */
  constructor(deps: DataPlaneDeps) {
    this.#deps = deps;
  }

  /** Executes a command; see {@linkcode Command} for the answers. Never throws. */
  receive(command: Command): void {
    switch (command.kind) {
      case "start":
        void this.#start(command.snapshot);
        return;
      case "update":
        this.#update(command.states);
        return;
      case "query": {
        const { tunnel } = command;
        const accepting = this.#running[tunnel]?.tunnel.accepting ?? false;
        this.#deps.report({ kind: "tunnel", tunnel, accepting });
        return;
      }
      case "drain":
        void this.#drain();
        return;
      case "cut":
        this.#cut();
        return;
      default:
        command satisfies never;
    }
  }

  async #start(snapshot: Snapshot): Promise<void> {
    const { report } = this.#deps;
    try {
      report(await this.#startAll(snapshot));
    } catch (error) {
      const message = messageOf(error);
      report({ kind: "not_started", message });
    }
  }

  async #startAll({ protocol, logLevel, tunnels }: Snapshot): Promise<Started | NotStarted> {
    if (protocol !== PROTOCOL) {
      throw new Error(
        `Cannot start: the control plane sends snapshots of version ${protocol}, the data plane ` +
          `reads version ${PROTOCOL}`,
      );
    }
    const { report } = this.#deps;
    const logger = createLogger({
      level: logLevel,
      emit: (record) => report({ kind: "log", record }),
    });
    const native = testedNative(tunnels, logger);
    for (const [index, tunnel] of tunnels.entries()) {
      try {
        await this.#startTunnel(tunnel, native, logger);
      } catch (error) {
        if (!(error instanceof ListenError)) throw error;
        const { message, reason } = error;
        return { kind: "not_started", message, listen: { tunnel: index, reason } };
      }
      if (this.#stopping) throw new Error("Cannot go on: the start was abandoned");
    }
    return {
      kind: "started",
      protocol: REPORT_PROTOCOL,
      nativeHandles: native.maxHandles,
    };
  }

  async #startTunnel(
    { config, state: received, counters }: TunnelSnapshot,
    native: NativeBackend,
    log: Logger,
  ): Promise<void> {
    const { now, monotonic } = this.#deps;
    const logger = config.name === undefined ? log : log.with({ tunnel: config.name });
    const state = sealState(received);
    const tunnel = await Tunnel.start(config, state, {
      logger,
      metrics: new TunnelCounters(counters),
      now,
      monotonic,
      adopt: native.adopt,
      backend: native.tls,
      nextConn: () => ++this.#connections,
      queue: this.#queue,
    });
    // The command came while the address was being bound.
    if (this.#stopping) tunnel.cut();
    else this.#running.push({ config, tunnel, logger, state });
  }

  #update(states: readonly TunnelState[]): void {
    const { report } = this.#deps;
    try {
      updateAll(this.#running, states.map(sealState));
      report({ kind: "updated", error: undefined });
    } catch (error) {
      const message = messageOf(error);
      report({ kind: "updated", error: message });
    }
  }

  async #drain(): Promise<void> {
    this.#stopping = true;
    const hurry = this.#hurry.signal;
    const results = await Promise.all(
      this.#running.map(({ tunnel, config: { proxy }, logger }) =>
        drainTunnel(tunnel, { timeout: proxy.shutdownTimeout, hurry }, logger)
      ),
    );
    this.#deps.report({ kind: "drained", result: results.includes("cut") ? "cut" : "clean" });
  }

  #cut(): void {
    this.#stopping = true;
    // A drain that waits counts what is cut, so it comes first.
    this.#hurry.abort();
    for (const { tunnel } of this.#running) tunnel.cut();
  }
}

/** The parts of the native backend that pass their self-test. */
function testedNative([first]: readonly TunnelSnapshot[], logger: Logger): NativeBackend {
  const native = nativeBackend(first?.state.credentials);
  const { adopt, tls, fault } = native;
  if (fault !== undefined) {
    logger.warn("not using the TLS engine directly: it is not what it should be", { fault });
  }
  const interfaceOf = (part: unknown) => part === undefined ? "public" : "native";
  logger.debug("carrying connections", {
    tcp: interfaceOf(adopt),
    tls: interfaceOf(tls),
  });
  return native;
}

/**
 * Gives each tunnel its next state, in one turn of the event loop. If one of them rejects its
 * state, those before it get their previous state back and the error is thrown. Connections that
 * the next state has already closed stay closed.
 */
export function updateAll(tunnels: readonly Updatable[], states: readonly TunnelState[]): void {
  const undo: (() => void)[] = [];
  try {
    for (const [index, state] of states.entries()) {
      const one = tunnels[index];
      if (one === undefined) throw new RangeError(`Cannot update tunnel ${index}: it does not run`);
      const previous = one.state;
      one.tunnel.update(state);
      one.state = state;
      undo.push(() => {
        one.state = previous;
        one.tunnel.update(previous);
      });
    }
  } catch (error) {
    for (const step of undo) step();
    throw error;
  }
}
