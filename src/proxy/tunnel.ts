/**
 * One tunnel: a listener, the pipeline of its connections, and the state that authorizes them.
 *
 * It is driven by plain data only (config, credentials, rules), so it does not depend on where
 * these come from.
 *
 * @module
 */

import { formatAddress } from "../config/address.ts";
import type { TunnelConfig } from "../config/config.ts";
import { type LimitedMessage, LogLimiter } from "../log/limiter.ts";
import type { Logger } from "../log/mod.ts";
import { type AdoptTcp, listen, Resolver } from "../net/mod.ts";
import type { TunnelState } from "../snapshot.ts";
import type { TlsBackend } from "../tls/backend.ts";
import type { FairQueue } from "../tls/fair_queue.ts";
import { ConnectionTable } from "./connection_table.ts";
import type { ConnectionMetrics, TunnelContext } from "./context.ts";
import { setTimer } from "./deadlines.ts";
import { KeyedLimiter, MAX_HANDSHAKES } from "./limits.ts";
import { Listener } from "./listener.ts";
import { LoadBalancer, type TargetMetrics } from "./load_balancer.ts";
import { carryConnection } from "./pipeline.ts";
import { ServerBackoff } from "./server_backoff.ts";
import { TlsContexts } from "./tls_contexts.ts";

/** The metrics of a tunnel. */
export type CountedByTunnel = ConnectionMetrics & TargetMetrics & {
  /** A log line was suppressed. */
  logLineSuppressed(message: LimitedMessage): void;
};

/** Dependencies of a tunnel. */
export type TunnelDeps = {
  readonly logger: Logger;
  readonly metrics: CountedByTunnel;
  /** Returns the number of the next connection, unique in the process. */
  readonly nextConn: () => number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Milliseconds on a monotonic clock. */
  readonly monotonic: () => number;
  /** Carries TCP connections; default the public interface. */
  readonly adopt?: AdoptTcp | undefined;
  /** Runs TLS; default the public interface. */
  readonly backend?: TlsBackend | undefined;
  /** Queue for the verification of peers' chains; default one of the tunnel's own. */
  readonly queue?: FairQueue | undefined;
};

/** A tunnel that accepts connections until it is drained or cut. */
export class Tunnel {
  readonly #listener: Listener;
  readonly #connections: ConnectionTable;
  readonly #tls: TlsContexts;
  readonly #balancer: LoadBalancer;
  readonly #limiter: LogLimiter;

  private constructor(
    listener: Listener,
    connections: ConnectionTable,
    tls: TlsContexts,
    balancer: LoadBalancer,
    limiter: LogLimiter,
  ) {
    this.#listener = listener;
    this.#connections = connections;
    this.#tls = tls;
    this.#balancer = balancer;
    this.#limiter = limiter;
  }

  /**
   * Binds and serves.
   *
   * @throws {ListenError} when the address cannot be bound.
   */
  static async start(
    config: TunnelConfig,
    state: TunnelState,
    { logger, metrics, nextConn, now, monotonic, adopt, backend, queue }: TunnelDeps,
  ): Promise<Tunnel> {
    const { mode, proxy, targets } = config;
    const name = mode === "client" ? "dialer" : "listener";
    // Values that peers influence are cut short, and the lines about them rate-limited.
    const peerLogger = logger.forPeers();
    const limiter = new LogLimiter({
      logger: peerLogger,
      count: (message) => metrics.logLineSuppressed(message),
      monotonic,
      setTimer,
    });
    // Everything that can fail is built before the address is bound.
    const tls = new TlsContexts(config, state, { now, backend, queue });
    const connections = new ConnectionTable({
      maxConnections: proxy.maxConnections,
      // In client mode the only thing to wait for is a PROXY header.
      maxHandshakes: mode === "client" && proxy.acceptProxyProtocol.length === 0
        ? 0
        : MAX_HANDSHAKES,
      maxLifetime: proxy.maxLifetime,
      reauthorize: (peer) => tls.reauthorize(peer),
      onPass: ({ checked, ended }) => {
        const level = ended > 0 ? "info" : "debug";
        peerLogger[level](`${name}: reauthorized open connections`, { checked, ended });
      },
      logger: peerLogger,
      nextConn,
      now,
      monotonic,
    });
    const balancer = new LoadBalancer({
      targets,
      balance: proxy.balance,
      dialTimeout: proxy.dialTimeout,
      resolver: new Resolver(),
      metrics,
      monotonic,
      random: Math.random,
    });
    const context: TunnelContext = {
      config,
      name,
      connections,
      tls,
      balancer,
      perPeer: new KeyedLimiter(proxy.maxConnectionsPerPeer),
      backoff: new ServerBackoff(monotonic),
      limiter,
      metrics,
      monotonic,
      adopt,
    };
    const { socketMode } = proxy;
    const listener = new Listener({
      socket: await listen(config.listen, { adopt, socketMode }),
      connections,
      onConnection: (accepted, connection) => carryConnection(accepted, connection, context),
      logger: peerLogger,
      limiter,
    });
    logListening(listener.address, config, logger);
    return new Tunnel(listener, connections, tls, balancer, limiter);
  }

  /** Whether new connections are being accepted. */
  get accepting(): boolean {
    return this.#listener.accepting;
  }

  /** Number of open connections. */
  get active(): number {
    return this.#listener.active;
  }

  /**
   * Replaces the state. Established connections whose peers the new state does not admit are closed
   * soon after; the others continue.
   */
  update(state: TunnelState): void {
    this.#tls.update(state);
    this.#connections.reauthorize();
    // An upstream that failed verification may pass it now.
    this.#balancer.clearEjections();
  }

  /**
   * Stops accepting, after the connections that are already arriving. Resolves when the last
   * connection has ended.
   */
  async drain(): Promise<void> {
    this.#listener.close();
    await this.#listener.drained();
    this.#limiter.report();
  }

  /** Closes every connection now and accepts no more. */
  cut(): void {
    this.#listener.stop();
    this.#connections.cut();
  }
}

function logListening(bound: string, { mode, targets }: TunnelConfig, logger: Logger): void {
  const [first] = targets;
  const to = targets.length === 1
    ? formatAddress(first.address)
    : targets.map(({ address }) => formatAddress(address));
  if (mode === "client") logger.info("dialer: listening", { listen: bound, server: to });
  else logger.info("listener: serving mTLS", { listen: bound, target: to });
}
