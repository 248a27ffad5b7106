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
import { listenTcp, type NativeTcp } from "./net.ts";
import { MAX_HANDSHAKES } from "./proxy/admission.ts";
import { ClientWay } from "./proxy/client_way.ts";
import { Quota } from "./proxy/limits.ts";
import { type Life, Lives } from "./proxy/lives.ts";
import { ServerWay } from "./proxy/server_way.ts";
import { peerVerifier } from "./proxy/peer_verifier.ts";
import { runSession } from "./proxy/session.ts";
import { standingOf } from "./proxy/standing.ts";
import { TlsClient } from "./tls/client.ts";
import type { NativeTls } from "./tls/engine.ts";
import { TlsServer } from "./tls/server.ts";
import { verifySignature } from "./tls/signature.ts";
import { SignatureMemory } from "./tls/signature_memory.ts";
import type { PeerVerifier } from "./tls/verdict.ts";

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
  /** The runtime's own handles, where they are known to be right. */
  readonly native?: Native | undefined;
};

/** Ways past the public interface of the runtime; each is `undefined` where it cannot be gone. */
export type Native = { readonly tcp: NativeTcp | undefined; readonly tls: NativeTls | undefined };

/** The engine and the verifier of one state. */
type Engine<T> = { readonly tls: T; readonly verifier: PeerVerifier; readonly acl: AclConfig };

/** A mode at work. */
type Role = {
  readonly lives: Lives;
  readonly serve: (accepted: Channel, life: Life) => Promise<void>;
  readonly update: (state: TunnelState) => void;
};

/** A tunnel that accepts connections until it is told to stop. */
export class Tunnel {
  readonly #listener: Listener;
  readonly #role: Role;

  private constructor(listener: Listener, role: Role) {
    this.#listener = listener;
    this.#role = role;
  }

  /**
   * Binds and serves.
   *
   * @throws {ListenError} when the address cannot be bound.
   */
  static start(config: Config, state: TunnelState, deps: TunnelDeps): Tunnel {
    const { logger } = deps;
    const isServer = config.mode === "server";
    // Everything that can fail is made before the port is bound.
    const role = isServer ? serverRole(config, state, deps) : clientRole(config, state, deps);
    const listener = new Listener({
      socket: listenTcp(config.listen, { native: deps.native?.tcp }),
      maxConnections: config.proxy.maxConnections,
      // In client mode nothing is asked of whoever is accepted.
      maxHandshakes: isServer ? MAX_HANDSHAKES : 0,
      onConnection: (accepted, place) => role.serve(accepted, role.lives.open(place)),
      logger,
    });
    const listen = listener.address;
    if (isServer) {
      logger.info("listener: serving mTLS", { listen, target: formatAddress(config.target) });
    } else {
      logger.info("dialer: listening", { listen, server: formatAddress(config.target) });
    }
    return new Tunnel(listener, role);
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
   * From now on `state` decides; established connections whose peer it does not admit are ended soon
   * after, the others go on.
   */
  update(state: TunnelState): void {
    this.#role.update(state);
    this.#role.lives.rejudge();
  }

  /** Stops accepting: the port is free at once. Resolves when the last connection has ended. */
  drain(): Promise<void> {
    this.#listener.stop();
    return this.#listener.drained();
  }

  /** Ends every connection now. */
  cut(): void {
    this.#role.lives.cut();
  }
}

/** The list of a role's connections; `current` gives what they are judged by. */
function livesOf(
  name: string,
  config: Config,
  current: () => Omit<Engine<unknown>, "tls">,
  deps: TunnelDeps,
): Lives {
  return new Lives({
    ...deps,
    maxLifetime: config.proxy.maxLifetime,
    judge: (peer) => {
      const { verifier, acl } = current();
      return standingOf(peer, (chain) => verifier.verify(chain), acl);
    },
    onPass: ({ judged, ended }) => {
      const report = { judged, ended };
      if (ended > 0) deps.logger.info(`${name}: judged open connections again`, report);
      else deps.logger.debug(`${name}: judged open connections again`, report);
    },
  });
}

function serverRole(config: Config, first: TunnelState, deps: TunnelDeps): Role {
  const { tls, proxy } = config;
  const signatures = new SignatureMemory(verifySignature);
  const engine = ({ material, acl }: TunnelState): Engine<TlsServer> => {
    const verifier = peerVerifier(config, material, deps.now, signatures);
    return {
      // A handshake that is under way when the state changes is judged by the new one.
      tls: new TlsServer({
        ...tls,
        material,
        verify: (chain) => current.verifier.verify(chain),
        native: deps.native?.tls,
      }),
      verifier,
      acl,
    };
  };
  let current = engine(first);
  const way = new ServerWay({
    ...deps,
    tls: () => current.tls,
    acl: () => current.acl,
    quota: new Quota(proxy.maxConnectionsPerPeer),
    target: config.target,
    native: deps.native?.tcp,
    handshakeTimeout: tls.handshakeTimeout,
    dialTimeout: proxy.dialTimeout,
  });
  return {
    lives: livesOf(way.name, config, () => current, deps),
    serve: (accepted, life) => runSession(accepted, way, { ...deps, proxy }, life),
    update: (state) => void (current = engine(state)),
  };
}

function clientRole(config: Config, first: TunnelState, deps: TunnelDeps): Role {
  const { tls, proxy, target } = config;
  const serverName = tls.serverName ?? target.host;
  const signatures = new SignatureMemory(verifySignature);
  const engine = ({ material, acl }: TunnelState): Engine<TlsClient> => {
    const verifier = peerVerifier(config, material, deps.now, signatures);
    return {
      tls: new TlsClient({
        ...tls,
        serverName,
        material,
        verify: (chain) => current.verifier.verify(chain),
        native: deps.native?.tls,
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
    native: deps.native?.tcp,
    dialTimeout: proxy.dialTimeout,
  });
  return {
    lives: livesOf(way.name, config, () => current, deps),
    serve: (accepted, life) => runSession(accepted, way, { ...deps, proxy }, life),
    update: (state) => void (current = engine(state)),
  };
}
