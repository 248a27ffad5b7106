/**
 * A running mtlsd: config → certificates → tunnels → probes → signals → drain.
 *
 * @module
 */

import type { CertStore } from "../certstore/store.ts";
import type { Config, TunnelConfig } from "../config/config.ts";
import { configWarnings } from "../config/warnings.ts";
import {
  type Drained,
  drainTunnel,
  GRACE,
  type StopSignals,
  unlessStopped,
  within,
} from "./drain.ts";
import { descriptorsLeft, descriptorsNeeded } from "./descriptors.ts";
import { listeningFor } from "./listen_key.ts";
import { certStatus, tunnelReadiness } from "./readiness.ts";
import { notInForce } from "./restart.ts";
import { renewedRules, ruleChanges, type RulesByTunnel, rulesOf } from "./rules.ts";
import { updateAll } from "./update_all.ts";
import {
  type ProbeSource,
  type Readiness,
  startHealthServer,
  startMetricsServer,
} from "../admin/probes.ts";
import type { Logger } from "../log/mod.ts";
import type { Metrics } from "../admin/metrics.ts";
import { TunnelCounters } from "../metrics/counters.ts";
import { selfTest } from "../native/self_test.ts";
import { FairQueue } from "../tls/fair_queue.ts";
import { type Native, Tunnel, type TunnelState } from "../proxy/tunnel.ts";

export type { Drained } from "./drain.ts";

/** The config and dependencies of a daemon; it accesses nothing else outside of itself. */
export type DaemonOptions = {
  readonly config: Config;
  /** Loads the certificates. The store calls `onSwap` when new ones take effect. */
  readonly openStore: (onSwap: () => void) => Promise<CertStore>;
  /** The config's name in messages, which `/certz` removes. */
  readonly configName?: string;
  /** Reads the config again, for its rules; `undefined` if it cannot be read twice. */
  readonly reread: (() => Promise<Config>) | undefined;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Milliseconds on a monotonic clock. */
  readonly monotonic: () => number;
  /** The native backend, if its handles have passed their self-test. */
  readonly native?: Native | undefined;
  /** Ends a start that hangs, for example on a file of a network that is down. Optional. */
  readonly stopping?: StopSignals | undefined;
};

/** A running tunnel. */
type Running = {
  readonly config: TunnelConfig;
  readonly tunnel: Tunnel;
  /** Adds the name of the tunnel, if it has one, to each line. */
  readonly logger: Logger;
  /** The state that new connections use. */
  state: TunnelState;
};

/** A daemon that serves until it is drained. */
export class Daemon implements AsyncDisposable {
  readonly #options: DaemonOptions;
  readonly #stack = new AsyncDisposableStack();
  readonly #running: Running[] = [];
  /** The rules to give to the tunnels next; differ from `#inForce` during a reload only. */
  #rules: RulesByTunnel;
  #inForce: RulesByTunnel;
  #store: CertStore | undefined;
  #conns = 0;
  #draining = false;

  private constructor(options: DaemonOptions) {
    this.#options = options;
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
      const stopped = Promise.all(daemon.#running.map(({ tunnel }) => tunnel.drain()));
      daemon.cut();
      await within(stopped, GRACE);
      await daemon[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #start(): Promise<void> {
    const { config, logger, metrics, openStore } = this.#options;
    // Load identity and trust first, so that every bound port can be served.
    const store = await openStore(() => this.#swap());
    this.#throwIfAbandoned();
    this.#store = store;
    for (const { key, message } of configWarnings(config)) {
      logger.warn(`${key}: ${message}`);
    }
    const native = this.#testedNative(store);
    this.#stack.defer(async () => {
      await Promise.all(this.#running.map(({ tunnel }) => tunnel.drain()));
    });
    for (const tunnel of config.tunnels) await this.#startTunnel(tunnel, store, native);
    const source = this.#probes(store);
    if (config.health.enabled) {
      const starting = startHealthServer({ ...config.health, source, logger });
      await this.#keep(listeningFor({ tunnel: undefined, path: ["health", "listen"] }, starting));
    }
    if (config.metrics.enabled) {
      const starting = startMetricsServer({ ...config.metrics, metrics, logger });
      await this.#keep(listeningFor({ tunnel: undefined, path: ["metrics", "listen"] }, starting));
    }
    // Connections are already being served. The descriptors are closed again before the last log
    // line.
    await this.#warnOfShortage(native);
    await store.watch();
  }

  async #warnOfShortage(native: Native): Promise<void> {
    const { config: { tunnels }, logger } = this.#options;
    const needed = descriptorsNeeded(tunnels, native.tcp !== undefined);
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
    if (this.#draining) throw new Error("Cannot go on: the start was given up");
  }

  async #keep(starting: Promise<AsyncDisposable>): Promise<void> {
    const started = await starting;
    if (this.#draining) await started[Symbol.asyncDispose]();
    this.#throwIfAbandoned();
    this.#stack.use(started);
  }

  /** Verifications of peers of all tunnels share this queue. */
  readonly #queue = new FairQueue();

  async #startTunnel(config: TunnelConfig, store: CertStore, native: Native): Promise<void> {
    const { now, monotonic } = this.#options;
    const { name } = config;
    const logger = name === undefined
      ? this.#options.logger
      : this.#options.logger.with({ tunnel: name });
    const source = this.#options.metrics.tunnel(name);
    const state = this.#state(config, store);
    // One counter for all tunnels, so that a number identifies a connection of the process.
    const nextConn = () => ++this.#conns;
    const tunnel = await listeningFor(
      { tunnel: name, path: ["listen"] },
      Tunnel.start(config, state, {
        logger,
        metrics: new TunnelCounters(source.counters),
        now,
        monotonic,
        native,
        nextConn,
        queue: this.#queue,
      }),
    );
    if (this.#draining) tunnel.cut();
    this.#throwIfAbandoned();
    const running: Running = { config, tunnel, logger, state };
    this.#running.push(running);
    source.readiness(() => this.#readiness(running, store).ready);
  }

  /** The parts of the native backend that pass their self-test. */
  #testedNative(store: CertStore): Native {
    const { native = { tcp: undefined, tls: undefined }, logger } = this.#options;
    const fault = native.tls && selfTest(native.tls, store.current);
    if (fault !== undefined) {
      logger.warn("not using the TLS engine directly: it is not what it should be", { fault });
    }
    const tested = { tcp: native.tcp, tls: fault === undefined ? native.tls : undefined };
    const way = (part: unknown) => part === undefined ? "public" : "native";
    logger.debug("carrying connections", { tcp: way(tested.tcp), tls: way(tested.tls) });
    return tested;
  }

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
  #swap(): void {
    const store = this.#store;
    if (store === undefined) return;
    try {
      updateAll(this.#running, ({ config }) => this.#state(config, store));
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
    const results = await Promise.all(
      this.#running.map(({ tunnel, config: { proxy }, logger }) =>
        drainTunnel(tunnel, { timeout: proxy.shutdownTimeout, hurry }, logger)
      ),
    );
    await within(this.#stack.disposeAsync(), GRACE);
    return results.includes("cut") ? "cut" : "clean";
  }

  /** Cuts every connection now. */
  cut(): void {
    for (const { tunnel } of this.#running) tunnel.cut();
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

  #readiness(running: Running, store: CertStore): Readiness {
    if (this.#draining) return { ready: false, reason: "shutting down" };
    return tunnelReadiness(running, store, this.#options.now());
  }

  #probes(store: CertStore): ProbeSource {
    return {
      ready: () => {
        for (const running of this.#running) {
          const state = this.#readiness(running, store);
          if (!state.ready) return state;
        }
        return { ready: true };
      },
      cert: () => certStatus(this.#options.config.tunnels, store, this.#options.configName),
    };
  }
}
