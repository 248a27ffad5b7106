/**
 * One tunnel: a listener, the path of its connections, and the state that authorizes them.
 *
 * It is driven by plain data only (config, credentials, rules), so it does not depend on where
 * these come from.
 *
 * @module
 */

import type { Conn } from "../net/conn.ts";
import { formatAddress } from "../config/address.ts";
import type { TunnelConfig } from "../config/config.ts";
import { Listener } from "./listener.ts";
import type { Logger } from "../log/mod.ts";
import { type LimitedMessage, LogLimiter } from "../log/limiter.ts";
import { listen, type NativeTcp, Resolver } from "../net/mod.ts";
import { MAX_HANDSHAKES } from "./admission.ts";
import { setTimer } from "./deadlines.ts";
import { TlsContexts, type TunnelTls } from "./tls_contexts.ts";
import { PlainFar } from "./upstream_plain.ts";
import { TlsFar } from "./upstream.ts";
import { ProxyHeaderReader } from "./proxy_header_reader.ts";
import { KeyedLimiter } from "./limits.ts";
import { type Connection, ConnectionTable } from "./connection_table.ts";
import { PlainNear } from "./downstream_plain.ts";
import { TlsNear } from "./downstream.ts";
import { type Near, runSession, type SessionMetrics, type Way } from "./pipeline.ts";
import { LoadBalancer, type TargetMetrics } from "./load_balancer.ts";
import type { NativeTls } from "../native/tls.ts";
import type { FairQueue } from "../tls/fair_queue.ts";

/**
 * What authorizes connections. Replaced as a whole; every new or resumed connection uses the
 * current one.
 */
export type TunnelState = TunnelTls;

/** The metrics of a tunnel. */
export type CountedByTunnel = SessionMetrics & TargetMetrics & {
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
  /** The runtime's internal handles, where they are known to work. */
  readonly native?: Native | undefined;
  /** Queue for the verification of peers' chains; default one of the tunnel's own. */
  readonly queue?: FairQueue | undefined;
};

/** The native backend's two parts; each is `undefined` where the runtime was not tested with it. */
export type Native = { readonly tcp: NativeTcp | undefined; readonly tls: NativeTls | undefined };

/** A tunnel that accepts connections until it is drained or cut. */
export class Tunnel {
  readonly #listener: Listener;
  readonly #connections: ConnectionTable;
  readonly #tlsContexts: TlsContexts;
  readonly #targets: LoadBalancer;
  readonly #limiter: LogLimiter;

  private constructor(
    listener: Listener,
    connections: ConnectionTable,
    tlsContexts: TlsContexts,
    targets: LoadBalancer,
    limiter: LogLimiter,
  ) {
    this.#limiter = limiter;
    this.#listener = listener;
    this.#connections = connections;
    this.#tlsContexts = tlsContexts;
    this.#targets = targets;
  }

  /**
   * Binds and serves.
   *
   * @throws {ListenError} when the address cannot be bound.
   */
  static async start(
    config: TunnelConfig,
    state: TunnelState,
    outside: TunnelDeps,
  ): Promise<Tunnel> {
    const { mode, proxy, targets: list } = config;
    // Values that peers influence are cut short, and the lines about them rate-limited.
    const logger = outside.logger.forPeers();
    const { metrics, monotonic } = outside;
    const count = (message: LimitedMessage) => metrics.logLineSuppressed(message);
    const limiter = new LogLimiter({ logger, count, monotonic, setTimer });
    const deps: Limited = { ...outside, logger, limiter };
    const name = mode === "client" ? "dialer" : "listener";
    // Everything that can fail is built before the address is bound.
    const tlsContexts = new TlsContexts(config, state, deps);
    const connections = livesOf(name, config, tlsContexts, deps);
    const targets = new LoadBalancer({
      ...deps,
      ...proxy,
      targets: list,
      resolver: new Resolver(),
      random: Math.random,
    });
    const serve = servant(name, config, { tlsContexts, targets }, deps);
    const { socketMode } = proxy;
    const listener = new Listener({
      socket: await listen(config.listen, { native: deps.native?.tcp, socketMode }),
      maxConnections: proxy.maxConnections,
      // In client mode the only thing to wait for is a PROXY header.
      maxHandshakes: mode === "client" && proxy.acceptProxyProtocol.length === 0
        ? 0
        : MAX_HANDSHAKES,
      onConnection: (accepted, place) => serve(accepted, connections.open(place)),
      logger,
      limiter,
    });
    announce(listener.address, config, outside.logger);
    return new Tunnel(listener, connections, tlsContexts, targets, limiter);
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
    this.#tlsContexts.update(state);
    this.#connections.reauthorize();
    // An upstream that failed verification may pass it now.
    this.#targets.clearEjections();
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

/** The tunnel's dependencies, with its own log limiter. */
type Limited = TunnelDeps & { readonly limiter: LogLimiter };

function announce(bound: string, { mode, targets }: TunnelConfig, logger: Logger): void {
  const [first] = targets;
  const to = targets.length === 1
    ? formatAddress(first.address)
    : targets.map(({ address }) => formatAddress(address));
  if (mode === "client") {
    logger.info("dialer: listening", { listen: bound, server: to });
  } else {
    logger.info("listener: serving mTLS", { listen: bound, target: to });
  }
}

/** The table of a tunnel's connections, which are reauthorized with the current state. */
function livesOf(
  name: string,
  { proxy }: TunnelConfig,
  tlsContexts: TlsContexts,
  deps: Limited,
): ConnectionTable {
  return new ConnectionTable({
    ...deps,
    maxLifetime: proxy.maxLifetime,
    reauthorize: (admitted) => tlsContexts.judge(admitted),
    onPass: ({ checked, ended }) => {
      const report = { judged: checked, ended };
      if (ended > 0) deps.logger.info(`${name}: judged open connections again`, report);
      else deps.logger.debug(`${name}: judged open connections again`, report);
    },
  });
}

/** Carries one connection. */
type Servant = (accepted: Conn, connection: Connection) => Promise<void>;

/** Builds the function that carries a connection in the tunnel's mode. */
function servant(
  name: string,
  config: TunnelConfig,
  { tlsContexts, targets }: { readonly tlsContexts: TlsContexts; readonly targets: LoadBalancer },
  deps: Limited,
): Servant {
  const { mode, tls, proxy } = config;
  const trusted = proxy.acceptProxyProtocol;
  const header = trusted.length > 0
    ? new ProxyHeaderReader(trusted, deps.limiter, name)
    : undefined;
  const reach = {
    ...deps,
    native: deps.native?.tcp,
    targets,
    several: config.targets.length > 1,
  };
  const tlsNear = () =>
    new TlsNear({
      ...deps,
      ...tlsContexts.near,
      header,
      quota: new KeyedLimiter(proxy.maxConnectionsPerPeer),
      tellsTls: proxy.proxyProtocol === "v2-tls",
      handshakeTimeout: tls.handshakeTimeout,
    });
  const tlsFar = (handshakeTimeout: number) =>
    new TlsFar({ ...reach, ...tlsContexts.far, handshakeTimeout });
  const run = <N extends Near>(way: Way<N>): Servant => (accepted, connection) =>
    runSession(accepted, way, { ...deps, proxy }, connection);
  switch (mode) {
    case "server": {
      const { proxyProtocol } = proxy;
      return run({ name, near: tlsNear(), far: new PlainFar({ ...reach, proxyProtocol }) });
    }
    case "client":
      return run({
        name,
        near: new PlainNear({ header, headerTimeout: tls.handshakeTimeout }),
        far: tlsFar(tls.handshakeTimeout),
      });
    case "bridge":
      return run({ name, near: tlsNear(), far: tlsFar(Infinity) });
    default:
      return mode satisfies never;
  }
}
