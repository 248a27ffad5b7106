/**
 * One tunnel: a listener, the way of its connections, and the state that decides about them.
 *
 * Driven by plain data only (config, material, rules), so that what it needs can be handed to it from
 * anywhere.
 *
 * @module
 */

import type { Channel } from "./channel.ts";
import type { Material } from "./certstore/material.ts";
import { formatAddress } from "./config/address.ts";
import type { AclConfig, Config } from "./config/config.ts";
import { Listener } from "./listener.ts";
import type { Logger } from "./logging.ts";
import type { Metrics } from "./metrics.ts";
import { listenTcp } from "./net.ts";
import { ClientWay } from "./proxy/client_way.ts";
import { ServerWay } from "./proxy/server_way.ts";
import { runSession } from "./proxy/session.ts";
import { TlsClient } from "./tls/client.ts";
import { TlsServer } from "./tls/server.ts";
import { PeerVerifier } from "./tls/verdict.ts";

/** What decides about connections: swapped as one, looked at by each new or resumed connection. */
export type TunnelState = { readonly material: Material; readonly acl: AclConfig };

/** What a tunnel needs from outside. */
export type TunnelDeps = {
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Milliseconds on a clock that never goes back. */
  readonly monotonic: () => number;
};

/** The engine and the verifier of one state. */
type Engine<T> = { readonly tls: T; readonly verifier: PeerVerifier; readonly acl: AclConfig };

type Role = {
  readonly serve: (accepted: Channel, signal: AbortSignal) => Promise<void>;
  readonly update: (state: TunnelState) => void;
};

/** A tunnel that accepts connections until it is told to stop. */
export class Tunnel {
  readonly #listener: Listener;
  readonly #update: (state: TunnelState) => void;
  readonly #cut: AbortController;

  private constructor(
    listener: Listener,
    update: (state: TunnelState) => void,
    cut: AbortController,
  ) {
    this.#listener = listener;
    this.#update = update;
    this.#cut = cut;
  }

  /**
   * Binds and serves.
   *
   * @throws {ListenError} when the address cannot be bound.
   */
  static start(config: Config, state: TunnelState, deps: TunnelDeps): Tunnel {
    const { logger } = deps;
    // Everything that can fail is made before the port is bound.
    const { serve, update } = config.mode === "server"
      ? serverRole(config, state, deps)
      : clientRole(config, state, deps);
    const cut = new AbortController();
    const listener = new Listener({
      socket: listenTcp(config.listen),
      maxConnections: config.proxy.maxConnections,
      onConnection: (accepted) => serve(accepted, cut.signal),
      logger,
    });
    const listen = listener.address;
    if (config.mode === "server") {
      logger.info("listener: serving mTLS", { listen, target: formatAddress(config.target) });
    } else {
      logger.info("dialer: listening", { listen, server: formatAddress(config.target) });
    }
    return new Tunnel(listener, update, cut);
  }

  /** Whether new connections are being accepted. */
  get accepting(): boolean {
    return this.#listener.accepting;
  }

  /** Connections that are open. */
  get active(): number {
    return this.#listener.active;
  }

  /** From now on `state` decides; established connections go on. */
  update(state: TunnelState): void {
    this.#update(state);
  }

  /** Stops accepting: the port is free at once. Resolves when the last connection has ended. */
  drain(): Promise<void> {
    this.#listener.stop();
    return this.#listener.drained();
  }

  /** Ends every connection now. */
  cut(): void {
    this.#cut.abort("shutdown");
  }
}

function serverRole(config: Config, first: TunnelState, deps: TunnelDeps): Role {
  const { tls, proxy } = config;
  const engine = ({ material, acl }: TunnelState): Engine<TlsServer> => {
    const verifier = new PeerVerifier({
      anchors: material.anchors,
      purpose: "client",
      now: deps.now,
    });
    return {
      // A handshake that is under way when the state changes is judged by the new one.
      tls: new TlsServer({ ...tls, material, verify: (chain) => current.verifier.verify(chain) }),
      verifier,
      acl,
    };
  };
  let current = engine(first);
  const way = new ServerWay({
    ...deps,
    tls: () => current.tls,
    acl: () => current.acl,
    target: config.target,
    handshakeTimeout: tls.handshakeTimeout,
    dialTimeout: proxy.dialTimeout,
  });
  return {
    serve: (accepted, signal) => runSession(accepted, way, { ...deps, proxy }, signal),
    update: (state) => void (current = engine(state)),
  };
}

function clientRole(config: Config, first: TunnelState, deps: TunnelDeps): Role {
  const { tls, proxy, target } = config;
  const serverName = tls.serverName ?? target.host;
  const engine = ({ material, acl }: TunnelState): Engine<TlsClient> => {
    const verifier = new PeerVerifier({
      anchors: material.anchors,
      purpose: "server",
      serverName,
      now: deps.now,
    });
    return {
      tls: new TlsClient({
        ...tls,
        serverName,
        material,
        verify: (chain) => current.verifier.verify(chain),
      }),
      verifier,
      acl,
    };
  };
  let current = engine(first);
  const way = new ClientWay({
    ...deps,
    tls: () => current.tls,
    acl: () => current.acl,
    target,
    dialTimeout: proxy.dialTimeout,
  });
  return {
    serve: (accepted, signal) => runSession(accepted, way, { ...deps, proxy }, signal),
    update: (state) => void (current = engine(state)),
  };
}
