/**
 * A running mtlsd: config → certificates → tunnels → probes → signals → drain.
 *
 * @module
 */

import type { CertStore } from "./certstore/store.ts";
import type { Config, TunnelConfig } from "./config/config.ts";
import { configWarnings } from "./config/warnings.ts";
import {
  type Drained,
  drainTunnel,
  GRACE,
  type StopSignals,
  unlessStopped,
  within,
} from "./daemon/drain.ts";
import { descriptorsLeft, descriptorsNeeded } from "./daemon/descriptors.ts";
import { listeningFor } from "./daemon/listen_key.ts";
import { certStatus, tunnelReadiness } from "./daemon/probes.ts";
import { notInForce } from "./daemon/restart.ts";
import { renewedRules, ruleChanges, type RulesByTunnel, rulesOf } from "./daemon/rules.ts";
import { swapAll } from "./daemon/swap.ts";
import {
  type ProbeSource,
  type Readiness,
  startHealthServer,
  startMetricsServer,
} from "./health.ts";
import type { Logger } from "./logging.ts";
import type { Metrics } from "./metrics.ts";
import { engineFault } from "./tls/engine_proof.ts";
import { FairQueue } from "./tls/fair_queue.ts";
import { type Native, Tunnel, type TunnelState } from "./tunnel.ts";

export type { Drained } from "./daemon/drain.ts";

/** What a daemon is made of; everything that reaches outside is handed in. */
export type DaemonOptions = {
  readonly config: Config;
  /** Loads the certificates; the store calls back when it has new ones. */
  readonly openStore: (onSwap: () => void) => Promise<CertStore>;
  /** What messages call the config, which `/certz` does not tell. */
  readonly configName?: string;
  /** Reads the config again, for its rules; `undefined` where it cannot be read twice. */
  readonly reread: (() => Promise<Config>) | undefined;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Milliseconds on a clock that never goes back. */
  readonly monotonic: () => number;
  /** The runtime's own handles, where they are known to be right. */
  readonly native?: Native | undefined;
  /** What ends a start that hangs, as on a file of a network that is gone; without, nothing does. */
  readonly stopping?: StopSignals | undefined;
};

/** A tunnel at work. */
type Running = {
  readonly config: TunnelConfig;
  readonly tunnel: Tunnel;
  /** Its lines carry the name of the tunnel, if it has one. */
  readonly logger: Logger;
  /** What decides in it now. */
  state: TunnelState;
};

/** A daemon that serves until it is drained. */
export class Daemon implements AsyncDisposable {
  readonly #options: DaemonOptions;
  readonly #stack = new AsyncDisposableStack();
  readonly #running: Running[] = [];
  /** What tunnels are given next; differs from `#inForce` within a reload only. */
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
   * Loads the certificates, binds everything and serves. If it is to stop before that is done, what there
   * is by then is the daemon; nothing comes after it.
   *
   * @throws {SetsError} when a certificate, key or CA file cannot be used.
   * @throws {ConfigListenError} when an address cannot be bound; then none is.
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
      // Nothing stays open. All stop first, for what is cut must not be followed by what is accepted.
      const stopped = Promise.all(daemon.#running.map(({ tunnel }) => tunnel.drain()));
      daemon.cut();
      await within(stopped, GRACE);
      await daemon[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #start(): Promise<void> {
    const { config, logger, metrics, openStore } = this.#options;
    // Identity and trust first: a port that is bound can be served.
    const store = await openStore(() => this.#swap());
    this.#goOn();
    this.#store = store;
    for (const { key, message } of configWarnings(config)) {
      logger.warn(`${key}: ${message}`);
    }
    const native = this.#provenNative(store);
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
    // Connections are served meanwhile. By the last line of the start all is closed again.
    await this.#warnOfShortage(native);
    await store.watch();
  }

  async #warnOfShortage(native: Native): Promise<void> {
    const { config: { tunnels }, logger } = this.#options;
    const needed = descriptorsNeeded(tunnels, native.tcp !== undefined);
    const available = await descriptorsLeft(needed, {
      open: () => {
        this.#goOn();
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

  /** @throws {Error} when the start was given up meanwhile; nobody is told. */
  #goOn(): void {
    if (this.#draining) throw new Error("Cannot go on: the start was given up");
  }

  async #keep(starting: Promise<AsyncDisposable>): Promise<void> {
    const started = await starting;
    if (this.#draining) await started[Symbol.asyncDispose]();
    this.#goOn();
    this.#stack.use(started);
  }

  /** Peers of all tunnels wait here for their verification. */
  readonly #queue = new FairQueue();

  async #startTunnel(config: TunnelConfig, store: CertStore, native: Native): Promise<void> {
    const { now, monotonic } = this.#options;
    const { name } = config;
    const logger = name === undefined
      ? this.#options.logger
      : this.#options.logger.with({ tunnel: name });
    const metrics = this.#options.metrics.tunnel(name);
    const state = this.#state(config, store);
    // One count for all tunnels: a number means one connection of the process.
    const nextConn = () => ++this.#conns;
    const tunnel = await listeningFor(
      { tunnel: name, path: ["listen"] },
      Tunnel.start(config, state, {
        logger,
        metrics,
        now,
        monotonic,
        native,
        nextConn,
        queue: this.#queue,
      }),
    );
    if (this.#draining) tunnel.cut();
    this.#goOn();
    const running: Running = { config, tunnel, logger, state };
    this.#running.push(running);
    metrics.readiness(() => this.#readiness(running, store).ready);
  }

  /** The runtime's own handles, as far as they are what they should be. */
  #provenNative(store: CertStore): Native {
    const { native = { tcp: undefined, tls: undefined }, logger } = this.#options;
    const fault = native.tls && engineFault(native.tls, store.current);
    if (fault !== undefined) {
      logger.warn("not using the TLS engine directly: it is not what it should be", { fault });
    }
    const proven = { tcp: native.tcp, tls: fault === undefined ? native.tls : undefined };
    const way = (part: unknown) => part === undefined ? "public" : "native";
    logger.debug("carrying connections", { tcp: way(proven.tcp), tls: way(proven.tls) });
    return proven;
  }

  #state({ name, tls, acl, upstream }: TunnelConfig, store: CertStore): TunnelState {
    const rules = this.#rules.get(name);
    return {
      material: store.material(tls),
      acl: rules?.acl ?? acl,
      upstream: upstream && {
        material: store.material(upstream.tls),
        acl: rules?.upstream ?? upstream.acl,
      },
    };
  }

  /**
   * Gives every tunnel what has come into force. If one cannot take it, all have what they had: then
   * this throws, and the store goes back too.
   */
  #swap(): void {
    const store = this.#store;
    if (store === undefined) return;
    try {
      swapAll(this.#running, ({ config }) => this.#state(config, store));
      this.#inForce = this.#rules;
    } catch (error) {
      this.#rules = this.#inForce;
      throw error;
    }
  }

  /** SIGHUP: certificates and rules anew, as one; ignored during a drain. */
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
      // A reload takes over the rules only; what else has changed is named, for as long as it holds.
      const rules = renewedRules(config.tunnels, this.#inForce, next.tunnels);
      return {
        changes: ruleChanges(this.#inForce, rules),
        kept: notInForce(config, next, rules),
        commit: () => void (this.#rules = rules),
      };
    });
  }

  /**
   * Stops accepting and waits for the connections, those of each tunnel at most its
   * `proxy.shutdown_timeout`; then, or when `hurry` aborts, cuts what is left. The probes answer until
   * the end. Nothing else can hold it up: neither a reload that hangs on its files nor a connection
   * that does not heed the cut. The files stay watched until the daemon is disposed of.
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

  /** Ends every connection now. */
  cut(): void {
    for (const { tunnel } of this.#running) tunnel.cut();
  }

  /**
   * Closes what is left: listeners, probes, metrics, watches. Closing a watch can stop the whole
   * process: Deno 2.9.6 waits for its watching thread, and that opens what appears in the directory,
   * which never returns for a pipe. A process that ends anyway should leave it at `drain`.
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
