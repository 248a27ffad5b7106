/**
 * The TLS settings of a tunnel and the verifiers of its peers, all rebuilt when the state changes.
 *
 * @module
 */

import type { Credentials } from "../tls/credentials.ts";
import type { AclConfig, TlsConfig, TunnelConfig } from "../config/config.ts";
import { TlsClient } from "../tls/client.ts";
import type { NativeTls } from "../native/tls.ts";
import { TlsServer } from "../tls/server.ts";
import { SignatureCache } from "../tls/signature_cache.ts";
import type { PeerVerifier, Requester } from "../tls/peer_verifier.ts";
import type { FairQueue } from "../tls/fair_queue.ts";
import type { AuthorizedPeer, Reauthorization } from "./connection_table.ts";
import { addressKey } from "./peer_key.ts";
import { peerVerifier } from "./peer_verifier.ts";
import { reauthorizePeer } from "./reauthorization.ts";

/** Credentials and rules of one side that uses TLS. */
export type EndTls = { readonly credentials: Credentials; readonly acl: AclConfig };

/** The credentials and rules of each side that uses TLS. */
export type TunnelTls = EndTls & {
  /** For a bridge: the upstream side. */
  readonly upstream: EndTls | undefined;
};

/** Dependencies of {@linkcode TlsContexts}. */
export type TlsContextsDeps = {
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly native?: { readonly tls: NativeTls | undefined } | undefined;
  /** Queue for verifications, shared by all tunnels. */
  readonly queue?: FairQueue | undefined;
};

/**
 * Replaces the peer's address by its network. Within an IPv6 network further addresses cost an
 * attacker nothing, so its peers share one turn in the queue.
 */
function inItsName(asker: Requester): Requester {
  return {
    source: addressKey(asker.source),
    get signal() {
      return asker.signal;
    },
  };
}

/** The downstream side. */
type NearEngine = {
  readonly tls: TlsServer;
  readonly verifier: PeerVerifier;
  readonly acl: AclConfig;
};

/** The upstream side: a TLS client for each expected server name. */
type FarEngine = {
  readonly servers: ReadonlyMap<
    string,
    { readonly tls: TlsClient; readonly verifier: PeerVerifier }
  >;
  readonly acl: AclConfig;
};

/** The TLS settings of one tunnel. */
export class TlsContexts {
  readonly #config: TunnelConfig;
  readonly #deps: TlsContextsDeps;
  /** The cache of signature checks is kept when the state changes. */
  readonly #signatures = new SignatureCache();
  #near: NearEngine | undefined;
  #far: FarEngine | undefined;

  /** Starts with the first state. */
  constructor(config: TunnelConfig, state: TunnelTls, deps: TlsContextsDeps) {
    this.#config = config;
    this.#deps = deps;
    this.update(state);
  }

  /** Replaces the state, also for handshakes that are in progress. */
  update(state: TunnelTls): void {
    const { mode, tls, upstream } = this.#config;
    const near = mode === "client" ? undefined : this.#nearEngine(state);
    const far = mode === "server"
      ? undefined
      : mode === "client"
      ? this.#farEngine(tls, state)
      : this.#farEngine(upstream?.tls ?? tls, state.upstream ?? state);
    this.#near = near;
    this.#far = far;
  }

  /** The downstream side, in the current state. */
  readonly near = {
    tls: (): TlsServer => this.#nearNow().tls,
    acl: (): AclConfig => this.#nearNow().acl,
  };

  /** The upstream side, in the current state. */
  readonly far = {
    tls: (serverName: string): TlsClient => this.#server(serverName).tls,
    acl: (): AclConfig => this.#farNow().acl,
  };

  /** Whether the peer of an open connection is still authorized. */
  judge({ end: side, peer, serverName = "" }: AuthorizedPeer): Reauthorization {
    const verifier = side === "near" ? this.#nearNow().verifier : this.#server(serverName).verifier;
    const { acl } = side === "near" ? this.#nearNow() : this.#farNow();
    const standing = reauthorizePeer(peer, verifier, acl);
    if (standing.authorized || this.#config.mode !== "bridge") return standing;
    // A bridge has a peer at each end, so its log line says which one was lost.
    const { reason, fields } = standing.ending;
    const lostBy = side === "near" ? "client" : "server";
    return { authorized: false, ending: { reason, fields: { ...fields, lost_by: lostBy } } };
  }

  #nearEngine({ credentials, acl }: EndTls): NearEngine {
    const verifier = peerVerifier(
      { purpose: "client" },
      credentials,
      this.#deps.now,
      { signatures: this.#signatures, queue: this.#deps.queue },
    );
    const tls = new TlsServer({
      ...this.#config.tls,
      credentials,
      // A handshake in progress when the state changes is verified with the new state.
      verify: (chain, asker) => this.#nearNow().verifier.verify(chain, inItsName(asker)),
      native: this.#deps.native?.tls,
    });
    return { tls, verifier, acl };
  }

  #farEngine(config: TlsConfig, { credentials, acl }: EndTls): FarEngine {
    const names = new Set(this.#config.targets.map(({ serverName }) => serverName ?? ""));
    const servers = [...names].map((serverName) => {
      const role = { purpose: "server", serverName } as const;
      const verifier = peerVerifier(role, credentials, this.#deps.now, {
        signatures: this.#signatures,
        queue: this.#deps.queue,
      });
      const tls = new TlsClient({
        ...config,
        serverName,
        credentials,
        verify: (chain, asker) => {
          return this.#server(serverName).verifier.verify(chain, inItsName(asker));
        },
        native: this.#deps.native?.tls,
      });
      return [serverName, { tls, verifier }] as const;
    });
    return { servers: new Map(servers), acl };
  }

  #nearNow(): NearEngine {
    if (this.#near === undefined) throw new Error("Cannot accept TLS: this end is plain");
    return this.#near;
  }

  #farNow(): FarEngine {
    if (this.#far === undefined) throw new Error("Cannot dial TLS: that end is plain");
    return this.#far;
  }

  #server(serverName: string): { readonly tls: TlsClient; readonly verifier: PeerVerifier } {
    const server = this.#farNow().servers.get(serverName);
    // The config requires a server name for each TLS target, so it is never empty.
    if (server === undefined || serverName === "") {
      throw new Error(`Cannot dial TLS: no name to expect but ${JSON.stringify(serverName)}`);
    }
    return server;
  }
}
