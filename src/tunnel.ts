/**
 * One tunnel: a listener, the way of its connections, and the state that decides about them.
 *
 * Driven by plain data only (config, material, rules), so that what it needs can be handed to it from
 * anywhere.
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

/** What decides about connections: swapped as one, looked at by each new or resumed connection. */
export type TunnelState = EnginesState;

/** What a tunnel counts. */
export type CountedByTunnel = SessionMetrics & TargetMetrics & {
  /** A line of the log was left out. */
  logLineSuppressed(message: LimitedMessage): void;
};

/** What a tunnel needs from outside. */
export type TunnelDeps = {
  readonly logger: Logger;
  readonly metrics: CountedByTunnel;
  /** The number of the next connection, which no other one of the process has. */
  readonly nextConn: () => number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Milliseconds on a clock that never goes back. */
  readonly monotonic: () => number;
  /** The runtime's own handles, where they are known to be right. */
  readonly native?: Native | undefined;
  /** Where peers wait for the verification of their chains; default one of the tunnel's own. */
  readonly queue?: FairQueue | undefined;
};

/** Ways past the public interface of the runtime; each is `undefined` where it cannot be gone. */
export type Native = { readonly tcp: NativeTcp | undefined; readonly tls: NativeTls | undefined };

/** A tunnel that accepts connections until it is told to stop. */
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
    // What a peer has a part in is short, and there is only so much of it.
    const logger = outside.logger.forPeers();
    const { metrics, monotonic } = outside;
    const count = (message: LimitedMessage) => metrics.logLineSuppressed(message);
    const limiter = new LogLimiter({ logger, count, monotonic, setTimer });
    const deps: Limited = { ...outside, logger, limiter };
    const name = mode === "client" ? "dialer" : "listener";
    // Everything that can fail is made before the address is bound.
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
      // In client mode nothing is waited for but a header.
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

  /** Connections that are open. */
  get active(): number {
    return this.#listener.active;
  }

  /**
   * From now on `state` decides; established connections whose peers it does not admit are ended soon
   * after, the others go on.
   */
  update(state: TunnelState): void {
    this.#engines.update(state);
    this.#lives.rejudge();
    // Who was not trusted before may be now.
    this.#targets.forgive();
  }

  /**
   * Stops accepting, once those are in who were on their way. Resolves when the last connection has
   * ended.
   */
  async drain(): Promise<void> {
    this.#listener.close();
    await this.#listener.drained();
    this.#limiter.report();
  }

  /** Ends every connection now, and accepts none. */
  cut(): void {
    this.#listener.stop();
    this.#lives.cut();
  }
}

/** The tunnel's own, besides what is from outside. */
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

/** The list of a tunnel's connections, judged by the state of the moment. */
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

/** What carries one connection. */
type Servant = (accepted: Channel, life: Life) => Promise<void>;

/** The mode's two ends, joined. */
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
