/**
 * A running mtlsd: config → certificates → data plane → probes → signals → drain.
 *
 * @module
 */

import type { CertStore } from "../certstore/store.ts";
import type { Config, TunnelConfig } from "../config/config.ts";
import type { KeyPath } from "../config/problem.ts";
import { configWarnings } from "../config/warnings.ts";
import { DataPlaneHandle, LocalPort } from "./data_plane.ts";
import { descriptorsLeft, descriptorsNeeded } from "./descriptors.ts";
import { certStatus, tunnelReadiness } from "./readiness.ts";
import { notInForce, renewedRules, ruleChanges, type RulesByTunnel, rulesOf } from "./reload.ts";
import {
  type ProbeSource,
  type Readiness,
  startHealthServer,
  startMetricsServer,
} from "../admin/probes.ts";
import type { Metrics } from "../admin/metrics.ts";
import type { Logger, LogRecord } from "../log/mod.ts";
import { ListenError } from "../net/mod.ts";
import type { Drained, NotStarted } from "../report.ts";
import { PROTOCOL, type TunnelState } from "../snapshot.ts";
import { onceAborted, onceElapsed, unlessAborted, unlessElapsed } from "../util/abort.ts";

/** Milliseconds to wait for steps that should end at once: cut connections, files, probes. */
const GRACE = 2000;

/** Requests to stop the daemon. */
export type StopSignals = {
  /** Stop gracefully. */
  readonly stop: AbortSignal;
  /** Stop at once. */
  readonly hurry: AbortSignal;
};

/** The config and dependencies of a daemon; it accesses nothing else outside of itself. */
export type DaemonOptions = {
  readonly config: Config;
  /** Loads the certificates. The store calls `onReload` when new ones take effect. */
  readonly openStore: (onReload: () => void) => Promise<CertStore>;
  /** The config's name in messages, which `/certz` removes. */
  readonly configName?: string;
  /** Reads the config again, for its rules; `undefined` if it cannot be read twice. */
  readonly reread: (() => Promise<Config>) | undefined;
  readonly logger: Logger;
  /** Writes the log records of the data plane, at `config.logging.level` and above. */
  readonly log: (record: LogRecord) => void;
  readonly metrics: Metrics;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Ends a start that hangs, for example on a file of a network that is down. Optional. */
  readonly stopping?: StopSignals | undefined;
};

/** The config key of a listen address. */
export type ListenKey = {
  /** The name of the tunnel; `undefined` for a single tunnel, and for keys outside of tunnels. */
  readonly tunnel: string | undefined;
  /** For example `["listen"]` or `["health", "listen"]`. */
  readonly path: KeyPath;
};

/** An address of the config cannot be listened on. */
export class ConfigListenError extends ListenError {
  /** The key that sets the address. */
  readonly key: ListenKey;

  /** Wraps an error with its key. */
  constructor(key: ListenKey, { reason, message, cause }: ListenError) {
    super(reason, message, { cause });
    this.key = key;
  }
}

/** A daemon that serves until it is drained. */
export class Daemon implements AsyncDisposable {
  readonly #options: DaemonOptions;
  readonly #dataPlane: DataPlaneHandle;
  /** What listens: the probes and the data plane. */
  readonly #stack = new AsyncDisposableStack();
  /** The rules to give to the tunnels next; differ from `#inForce` during a reload only. */
  #rules: RulesByTunnel;
  #inForce: RulesByTunnel;
  #store: CertStore | undefined;
  #draining = false;

  private constructor(options: DaemonOptions) {
    this.#options = options;
    const { now, log } = options;
    this.#dataPlane = new DataPlaneHandle(new LocalPort(now), log);
    this.#rules = rulesOf(options.config.tunnels);
    this.#inForce = this.#rules;
  }

  /**
   * Loads the certificates, binds all addresses and serves. If `stopping` aborts before that is
   * done, the daemon consists of what has been started by then.
   *
   * @throws {SetsError} if a certificate, key or CA file is not usable.
   * @throws {ConfigListenError} if an address cannot be bound; none stays bound then.
   */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const daemon = new Daemon(options);
    const { stopping } = options;
    try {
      const start = daemon.#start();
      if (stopping === undefined) await start;
      else daemon.#draining = !await unlessStopped(start, stopping);
      return daemon;
    } catch (error) {
      // Close everything. Stop accepting first, so that no new connections replace those that are
      // cut.
      const drained = daemon.#dataPlane.drain();
      daemon.#dataPlane.cut();
      await unlessElapsed(drained, GRACE);
      await daemon[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #start(): Promise<void> {
    const { config: { tunnels, health, metrics: exposition }, logger, metrics } = this.#options;
    // Load identity and trust first, so that every bound port can be served.
    const store = await this.#options.openStore(() => this.#applyState());
    this.#throwIfAbandoned();
    this.#store = store;
    for (const { key, message } of configWarnings(this.#options.config)) {
      logger.warn(`${key}: ${message}`);
    }
    const nativeHandles = await this.#startDataPlane(store);
    for (const [index, tunnel] of tunnels.entries()) {
      metrics.tunnel(tunnel.name).readiness(() => this.#readiness(index, tunnel, store).ready);
    }
    if (health.enabled) {
      const source = this.#probes(store);
      await this.#keep("health", startHealthServer({ ...health, source, logger }));
    }
    if (exposition.enabled) {
      await this.#keep("metrics", startMetricsServer({ ...exposition, metrics, logger }));
    }
    // Connections are already being served. The descriptors are closed again before the last log
    // line.
    await this.#warnOfShortage(nativeHandles);
    await store.watch();
  }

  /** Starts all tunnels. Returns the maximum number of native handles. */
  async #startDataPlane(store: CertStore): Promise<number> {
    const { config: { tunnels, logging }, metrics } = this.#options;
    this.#stack.defer(async () => void await this.#dataPlane.drain());
    const result = await this.#dataPlane.start({
      protocol: PROTOCOL,
      logLevel: logging.level,
      tunnels: tunnels.map((config) => ({
        config,
        state: this.#state(config, store),
        counters: metrics.tunnel(config.name).counters,
      })),
    });
    this.#throwIfAbandoned();
    if (result.kind === "not_started") throw startError(result, tunnels);
    return result.nativeHandles;
  }

  /** Adds a server to what is closed at the end. `block` is the config block with its address. */
  async #keep(block: "health" | "metrics", starting: Promise<AsyncDisposable>): Promise<void> {
    let started: AsyncDisposable;
    try {
      started = await starting;
    } catch (error) {
      if (!(error instanceof ListenError)) throw error;
      throw new ConfigListenError({ tunnel: undefined, path: [block, "listen"] }, error);
    }
    if (this.#draining) await started[Symbol.asyncDispose]();
    this.#throwIfAbandoned();
    this.#stack.use(started);
  }

  async #warnOfShortage(nativeHandles: number): Promise<void> {
    const { config: { tunnels }, logger } = this.#options;
    const needed = descriptorsNeeded(tunnels, nativeHandles);
    const available = await descriptorsLeft(needed, {
      open: () => {
        this.#throwIfAbandoned();
        return Deno.openSync(tunnels[0].tls.cert);
      },
      pause: () => new Promise((resolve) => setTimeout(resolve)),
    });
    if (available === undefined || available >= needed) return;
    logger.warn("too few file descriptors for proxy.max_connections", {
      max_connections: tunnels.reduce((sum, { proxy }) => sum + proxy.maxConnections, 0),
      needed,
      available,
      fix:
        "raise the limit (LimitNOFILE= of a unit, --ulimit nofile= of Docker, ulimit -Hn), or lower " +
        "proxy.max_connections",
    });
  }

  /**
   * @throws {Error} if the start has been abandoned. The error is never reported.
   */
  #throwIfAbandoned(): void {
    if (this.#draining) throw new Error("Cannot go on: the start was abandoned");
  }

  /** The state of a tunnel with the rules and certificates to use next. */
  #state({ name, tls, acl, upstream }: TunnelConfig, store: CertStore): TunnelState {
    const rules = this.#rules.get(name);
    return {
      credentials: store.credentials(tls),
      acl: rules?.acl ?? acl,
      upstream: upstream && {
        credentials: store.credentials(upstream.tls),
        acl: rules?.upstream ?? upstream.acl,
      },
    };
  }

  /**
   * Gives every tunnel the state that takes effect. If one of them rejects it, all keep their
   * previous state and this throws, so that the store reverts too.
   */
  #applyState(): void {
    const store = this.#store;
    if (store === undefined) return;
    const { tunnels } = this.#options.config;
    try {
      this.#dataPlane.update(tunnels.map((tunnel) => this.#state(tunnel, store)));
      this.#inForce = this.#rules;
    } catch (error) {
      this.#rules = this.#inForce;
      throw error;
    }
  }

  /** Handles SIGHUP: reloads certificates and rules as one transaction. Ignored during a drain. */
  async reload(): Promise<void> {
    const { reread, logger, config } = this.#options;
    if (this.#draining) return logger.info("ignoring SIGHUP during the drain");
    logger.info("received SIGHUP, reloading certificates");
    if (reread === undefined) {
      logger.warn("keeping the rules: a config from standard input cannot be read again");
    }
    await this.#store?.reload("signal", async () => {
      if (reread === undefined) return { changes: [], kept: [], commit: () => {} };
      const next = await reread();
      // A reload replaces the rules only. Other changes are logged again at every reload until the
      // restart.
      const rules = renewedRules(config.tunnels, this.#inForce, next.tunnels);
      return {
        changes: ruleChanges(this.#inForce, rules),
        kept: notInForce(config, next, rules),
        commit: () => void (this.#rules = rules),
      };
    });
  }

  /**
   * Stops accepting and waits for the connections of each tunnel for at most its
   * `proxy.shutdown_timeout`. Then, or when `hurry` aborts, cuts the remaining ones. The probes
   * answer until the end. Neither a reload that blocks on its files nor a connection that does not
   * end when cut can delay this. The files stay watched until the daemon is disposed of.
   */
  async drain(hurry: AbortSignal): Promise<Drained> {
    this.#draining = true;
    this.#store?.stop();
    const drained = this.#dataPlane.drain();
    using _hurry = onceAborted(hurry, () => this.#dataPlane.cut());
    const result = await drained;
    await unlessElapsed(this.#stack.disposeAsync(), GRACE);
    return result;
  }

  /**
   * Closes what is left: listeners, probes, metrics, watches. Closing a watch can block the whole
   * process: Deno 2.9.6 waits for its watching thread, which opens files that appear in the
   * directory, and opening a pipe never returns. A process that is about to end should only
   * `drain`.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#draining = true;
    await this.#stack.disposeAsync();
    await this.#store?.[Symbol.asyncDispose]();
  }

  #readiness(index: number, tunnel: TunnelConfig, store: CertStore): Readiness {
    if (this.#draining) return { ready: false, reason: "shutting down" };
    const accepting = this.#dataPlane.accepting(index);
    return tunnelReadiness(tunnel, accepting, store, this.#options.now());
  }

  #probes(store: CertStore): ProbeSource {
    const { config: { tunnels }, configName } = this.#options;
    return {
      ready: () => {
        for (const [index, tunnel] of tunnels.entries()) {
          const state = this.#readiness(index, tunnel, store);
          if (!state.ready) return state;
        }
        return { ready: true };
      },
      cert: () => certStatus(tunnels, store, configName),
    };
  }
}

/** The error of a start that failed in the data plane, with its config key where it has one. */
function startError({ message, listen }: NotStarted, tunnels: readonly TunnelConfig[]): Error {
  if (listen === undefined) return new Error(message);
  const { tunnel, reason } = listen;
  const key: ListenKey = { tunnel: tunnels[tunnel]?.name, path: ["listen"] };
  return new ConfigListenError(key, new ListenError(reason, message));
}

/**
 * Waits for a start to finish. Once `stop` aborts, waits for at most {@linkcode GRACE}; once
 * `hurry` aborts, not at all. Returns whether the start has finished. If not, it continues and its
 * result is ignored.
 *
 * @throws the error of the start.
 */
async function unlessStopped(
  start: Promise<void>,
  { stop, hurry }: StopSignals,
): Promise<boolean> {
  const abandoned = new AbortController();
  const abandon = () => abandoned.abort();
  using limits = new DisposableStack();
  limits.use(onceAborted(hurry, abandon));
  limits.use(onceAborted(stop, () => void limits.use(onceElapsed(GRACE, abandon))));
  return await unlessAborted(start.then(() => true), abandoned.signal) ?? false;
}
