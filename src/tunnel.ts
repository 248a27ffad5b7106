/**
 * One tunnel: a listener, the path of its connections, and the state that authorizes them.
 *
 * It is driven by plain data only (config, credentials, rules), so it does not depend on where
 * these come from.
 *
 * @module
 */

import type { Channel } from "./channel.ts";
import { formatAddress } from "./config/address.ts";
import type { TunnelConfig } from "./config/config.ts";
import { Listener } from "./listener.ts";
import type { Logger } from "./logging.ts";
import { type LimitedMessage, LogLimiter } from "./logging/limiter.ts";
import { listen, type NativeTcp, Resolver } from "./net.ts";
import { MAX_HANDSHAKES } from "./proxy/admission.ts";
import { setTimer } from "./proxy/deadlines.ts";
import { Engines, type EnginesState } from "./proxy/engines.ts";
import { PlainFar } from "./proxy/far_plain.ts";
import { TlsFar } from "./proxy/far_tls.ts";
import { HeaderTaker } from "./proxy/header_taker.ts";
import { Quota } from "./proxy/limits.ts";
import { type Life, Lives } from "./proxy/lives.ts";
import { PlainNear } from "./proxy/near_plain.ts";
import { TlsNear } from "./proxy/near_tls.ts";
import { type Near, runSession, type SessionMetrics, type Way } from "./proxy/session.ts";
import { type TargetMetrics, Targets } from "./proxy/targets.ts";
import type { NativeTls } from "./tls/engine.ts";
import type { FairQueue } from "./tls/fair_queue.ts";

/**
 * What authorizes connections. Replaced as a whole; every new or resumed connection uses the
 * current one.
 */
export type TunnelState = EnginesState;

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
  readonly #lives: Lives;
  readonly #engines: Engines;
  readonly #targets: Targets;
  readonly #limiter: LogLimiter;

  private constructor(
    listener: Listener,
    lives: Lives,
    engines: Engines,
    targets: Targets,
    limiter: LogLimiter,
  ) {
    this.#limiter = limiter;
    this.#listener = listener;
    this.#lives = lives;
    this.#engines = engines;
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
    const engines = new Engines(config, state, deps);
    const lives = livesOf(name, config, engines, deps);
    const targets = new Targets({
      ...deps,
      ...proxy,
      targets: list,
      resolver: new Resolver(),
      random: Math.random,
    });
    const serve = servant(name, config, { engines, targets }, deps);
    const { socketMode } = proxy;
    const listener = new Listener({
      socket: await listen(config.listen, { native: deps.native?.tcp, socketMode }),
      maxConnections: proxy.maxConnections,
      // In client mode the only thing to wait for is a PROXY header.
      maxHandshakes: mode === "client" && proxy.acceptProxyProtocol.length === 0
        ? 0
        : MAX_HANDSHAKES,
      onConnection: (accepted, place) => serve(accepted, lives.open(place)),
      logger,
      limiter,
    });
    announce(listener.address, config, outside.logger);
    return new Tunnel(listener, lives, engines, targets, limiter);
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
    this.#engines.update(state);
    this.#lives.rejudge();
    // An upstream that failed verification may pass it now.
    this.#targets.forgive();
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
    this.#lives.cut();
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
  engines: Engines,
  deps: Limited,
): Lives {
  return new Lives({
    ...deps,
    maxLifetime: proxy.maxLifetime,
    judge: (admitted) => engines.judge(admitted),
    onPass: ({ judged, ended }) => {
      const report = { judged, ended };
      if (ended > 0) deps.logger.info(`${name}: judged open connections again`, report);
      else deps.logger.debug(`${name}: judged open connections again`, report);
    },
  });
}

/** Carries one connection. */
type Servant = (accepted: Channel, life: Life) => Promise<void>;

/** Builds the function that carries a connection in the tunnel's mode. */
function servant(
  name: string,
  config: TunnelConfig,
  { engines, targets }: { readonly engines: Engines; readonly targets: Targets },
  deps: Limited,
): Servant {
  const { mode, tls, proxy } = config;
  const trusted = proxy.acceptProxyProtocol;
  const header = trusted.length > 0 ? new HeaderTaker(trusted, deps.limiter, name) : undefined;
  const reach = {
    ...deps,
    native: deps.native?.tcp,
    targets,
    several: config.targets.length > 1,
  };
  const tlsNear = () =>
    new TlsNear({
      ...deps,
      ...engines.near,
      header,
      quota: new Quota(proxy.maxConnectionsPerPeer),
      tellsTls: proxy.proxyProtocol === "v2-tls",
      handshakeTimeout: tls.handshakeTimeout,
    });
  const tlsFar = (handshakeTimeout: number) =>
    new TlsFar({ ...reach, ...engines.far, handshakeTimeout });
  const run = <N extends Near>(way: Way<N>): Servant => (accepted, life) =>
    runSession(accepted, way, { ...deps, proxy }, life);
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
