/**
 * A running mtlsd: config → certificates → tunnel → probes → signals → drain.
 *
 * @module
 */

import type { CertStore, ReloadStatus } from "./certstore/store.ts";
import type { AclConfig, Config } from "./config/config.ts";
import { configWarnings } from "./config/warnings.ts";
import {
  type LastReload,
  type ProbeSource,
  type Readiness,
  startHealthServer,
  startMetricsServer,
} from "./health.ts";
import type { Logger } from "./logging.ts";
import type { Metrics } from "./metrics.ts";
import { engineFault } from "./tls/engine_proof.ts";
import { formatName } from "./x509/names.ts";
import { type Native, Tunnel, type TunnelState } from "./tunnel.ts";

/** What a daemon is made of; everything that reaches outside is handed in. */
export type DaemonOptions = {
  readonly config: Config;
  /** Loads the certificates; the store calls back when it has new ones. */
  readonly openStore: (onSwap: () => void) => Promise<CertStore>;
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
};

/** Milliseconds for what needs no time to be over: connections that were cut, files, probes. */
const GRACE = 2000;

/** How a drain came out: everything ended by itself, or it had to be cut. */
export type Drained = "clean" | "cut";

/** A daemon that serves until it is drained. */
export class Daemon implements AsyncDisposable {
  readonly #options: DaemonOptions;
  readonly #stack = new AsyncDisposableStack();
  #acl: AclConfig;
  #store: CertStore | undefined;
  #tunnel: Tunnel | undefined;
  #draining = false;

  private constructor(options: DaemonOptions) {
    this.#options = options;
    this.#acl = options.config.acl;
  }

  /**
   * Loads the certificates, binds everything and serves.
   *
   * @throws {MaterialError} when a certificate, key or CA file cannot be used.
   * @throws {ListenError} when an address cannot be bound.
   */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const daemon = new Daemon(options);
    try {
      await daemon.#start();
      return daemon;
    } catch (error) {
      // Nothing stays open.
      daemon.cut();
      await daemon[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #start(): Promise<void> {
    const { config, logger, metrics, openStore } = this.#options;
    // Identity and trust first: a port that is bound can be served.
    const store = await openStore(() => this.#swap());
    this.#store = store;
    for (const { key, message } of configWarnings(config)) {
      logger.warn(`${key}: ${message}`);
    }
    const native = this.#provenNative(store);
    const tunnel = Tunnel.start(config, this.#state(store), { ...this.#options, native });
    this.#tunnel = tunnel;
    this.#stack.defer(() => tunnel.drain());
    const source = this.#probes(store, tunnel);
    if (config.health.enabled) {
      this.#stack.use(await startHealthServer({ ...config.health, source, logger }));
    }
    if (config.metrics.enabled) {
      this.#stack.use(await startMetricsServer({ ...config.metrics, metrics, logger }));
    }
    await store.watch();
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

  #state(store: CertStore): TunnelState {
    return { material: store.current, acl: this.#acl };
  }

  #swap(): void {
    if (this.#store !== undefined) this.#tunnel?.update(this.#state(this.#store));
  }

  /** SIGHUP: certificates and rules anew, as one; ignored during a drain. */
  async reload(): Promise<void> {
    const { reread, logger } = this.#options;
    if (this.#draining) return logger.info("ignoring SIGHUP during the drain");
    logger.info("received SIGHUP, reloading certificates");
    if (reread === undefined) {
      logger.warn("keeping the rules: a config from standard input cannot be read again");
    }
    await this.#store?.reload("signal", async () => {
      if (reread === undefined) return () => {};
      const config = await reread();
      return () => {
        this.#acl = config.acl;
        warnOfIgnored(this.#options.config, config, logger);
      };
    });
  }

  /**
   * Stops accepting and waits for the connections, at most `proxy.shutdown_timeout`; then, or when
   * `hurry` aborts, cuts what is left. The probes answer until the end. Nothing else can hold it up:
   * neither a reload that hangs on its files nor a connection that does not heed the cut. The files
   * stay watched until the daemon is disposed of.
   */
  async drain(hurry: AbortSignal): Promise<Drained> {
    const { config: { proxy: { shutdownTimeout } }, logger } = this.#options;
    const tunnel = this.#tunnel;
    this.#draining = true;
    this.#store?.stop();
    let result: Drained = "clean";
    if (tunnel !== undefined) {
      const over = Promise.withResolvers<void>();
      const timers: ReturnType<typeof setTimeout>[] = [];
      const cut = () => {
        if (tunnel.active > 0) result = "cut";
        this.cut();
        timers.push(setTimeout(() => {
          logger.error("connections did not end when they were cut", { active: tunnel.active });
          over.resolve();
        }, GRACE));
      };
      const drained = tunnel.drain();
      if (shutdownTimeout > 0) timers.push(setTimeout(cut, shutdownTimeout));
      hurry.addEventListener("abort", cut, { once: true });
      if (hurry.aborted) cut();
      await Promise.race([drained, over.promise]);
      for (const timer of timers) clearTimeout(timer);
      hurry.removeEventListener("abort", cut);
    }
    await within(this.#stack.disposeAsync(), GRACE);
    return result;
  }

  /** Ends every connection now. */
  cut(): void {
    this.#tunnel?.cut();
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

  #probes(store: CertStore, tunnel: Tunnel): ProbeSource {
    const { now } = this.#options;
    return {
      ready: (): Readiness => {
        if (this.#draining) return { ready: false, reason: "shutting down" };
        if (!tunnel.accepting) {
          return { ready: false, reason: "the listener does not accept connections" };
        }
        const { notBefore, notAfter } = store.current.leaf;
        const time = now();
        if (time < notBefore) return { ready: false, reason: "the certificate is not yet valid" };
        // Its last second counts in full, here as in every verdict.
        if (time >= notAfter + 1000) return { ready: false, reason: "the certificate has expired" };
        return { ready: true };
      },
      cert: () => {
        const { leaf } = store.current;
        return {
          notBefore: leaf.notBefore,
          notAfter: leaf.notAfter,
          subject: formatName(leaf.subject),
          serial: leaf.serial,
          lastReload: lastReload(store.status()),
        };
      },
    };
  }
}

/** Waits for a promise, but no longer than so many milliseconds. */
async function within(promise: Promise<void>, milliseconds: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const enough = new Promise<void>((resolve) => timer = setTimeout(resolve, milliseconds));
  try {
    await Promise.race([promise, enough]);
  } finally {
    clearTimeout(timer);
  }
}

function lastReload({ time, result, error }: ReloadStatus): LastReload | undefined {
  if (time === undefined || result === undefined) return undefined;
  const at = Date.parse(time);
  return result === "success" ? { result, time: at } : { result, time: at, error: error ?? "" };
}

/** A reload takes over the rules only: what else has changed is said, not silently left. */
function warnOfIgnored(running: Config, reread: Config, logger: Logger): void {
  const keys = (Object.keys(running) as (keyof Config)[]).filter((key) =>
    key !== "acl" && JSON.stringify(running[key]) !== JSON.stringify(reread[key])
  );
  if (keys.length > 0) {
    logger.warn("the config has changes that need a restart", { keys });
  }
}
