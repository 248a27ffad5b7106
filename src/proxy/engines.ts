/**
 * The TLS engines of a tunnel and the judges of its peers, made anew from each state as one.
 *
 * @module
 */

import type { Material } from "../certstore/material.ts";
import type { AclConfig, TlsConfig, TunnelConfig } from "../config/config.ts";
import { TlsClient } from "../tls/client.ts";
import type { NativeTls } from "../tls/engine.ts";
import { TlsServer } from "../tls/server.ts";
import { SignatureMemory } from "../tls/signature_memory.ts";
import type { Asker, PeerVerifier } from "../tls/verdict.ts";
import type { FairQueue } from "../tls/fair_queue.ts";
import type { Admitted, Standing } from "./lives.ts";
import { addressKey } from "./peer_key.ts";
import { peerVerifier } from "./peer_verifier.ts";
import { standingOf } from "./standing.ts";

/** Identity, trust and rules of one TLS side. */
export type SideState = { readonly material: Material; readonly acl: AclConfig };

/** What decides, for each side that speaks TLS. */
export type EnginesState = SideState & {
  /** Of a bridge: the side towards the target. */
  readonly upstream: SideState | undefined;
};

/** What the engines need from outside. */
export type EnginesDeps = {
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly native?: { readonly tls: NativeTls | undefined } | undefined;
  /** Where peers wait for the verification of their chains; one for all tunnels. */
  readonly queue?: FairQueue | undefined;
};

/** Peers of one network wait for each other: an address costs an attacker nothing there. */
function inItsName(asker: Asker): Asker {
  return {
    source: addressKey(asker.source),
    get signal() {
      return asker.signal;
    },
  };
}

/** The side that is accepted. */
type NearEngine = {
  readonly tls: TlsServer;
  readonly verifier: PeerVerifier;
  readonly acl: AclConfig;
};

/** The side that is dialled: an engine for each name that a server may have to carry. */
type FarEngine = {
  readonly servers: ReadonlyMap<
    string,
    { readonly tls: TlsClient; readonly verifier: PeerVerifier }
  >;
  readonly acl: AclConfig;
};

/** All engines of one tunnel. */
export class Engines {
  readonly #config: TunnelConfig;
  readonly #deps: EnginesDeps;
  /** Checked signatures outlive a state. */
  readonly #signatures = new SignatureMemory();
  #near: NearEngine | undefined;
  #far: FarEngine | undefined;

  /** Made from the first state. */
  constructor(config: TunnelConfig, state: EnginesState, deps: EnginesDeps) {
    this.#config = config;
    this.#deps = deps;
    this.update(state);
  }

  /** From now on `state` decides, about handshakes that are under way as well. */
  update(state: EnginesState): void {
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

  /** The accepting side, by the state of the moment. */
  readonly near = {
    tls: (): TlsServer => this.#nearNow().tls,
    acl: (): AclConfig => this.#nearNow().acl,
  };

  /** The dialling side, by the state of the moment. */
  readonly far = {
    tls: (serverName: string): TlsClient => this.#server(serverName).tls,
    acl: (): AclConfig => this.#farNow().acl,
  };

  /** Whether a peer of an open connection may stay. */
  judge({ side, peer, serverName = "" }: Admitted): Standing {
    const verifier = side === "near" ? this.#nearNow().verifier : this.#server(serverName).verifier;
    const { acl } = side === "near" ? this.#nearNow() : this.#farNow();
    const standing = standingOf(peer, verifier, acl);
    if (standing.stands || this.#config.mode !== "bridge") return standing;
    // The log's line is the connection's, which has a peer at each end.
    const { reason, fields } = standing.ending;
    const lostBy = side === "near" ? "client" : "server";
    return { stands: false, ending: { reason, fields: { ...fields, lost_by: lostBy } } };
  }

  #nearEngine({ material, acl }: SideState): NearEngine {
    const verifier = peerVerifier(
      { purpose: "client" },
      material,
      this.#deps.now,
      { signatures: this.#signatures, queue: this.#deps.queue },
    );
    const tls = new TlsServer({
      ...this.#config.tls,
      material,
      // A handshake that is under way when the state changes is judged by the new one.
      verify: (chain, asker) => this.#nearNow().verifier.verify(chain, inItsName(asker)),
      native: this.#deps.native?.tls,
    });
    return { tls, verifier, acl };
  }

  #farEngine(config: TlsConfig, { material, acl }: SideState): FarEngine {
    const names = new Set(this.#config.targets.map(({ serverName }) => serverName ?? ""));
    const servers = [...names].map((serverName) => {
      const role = { purpose: "server", serverName } as const;
      const verifier = peerVerifier(role, material, this.#deps.now, {
        signatures: this.#signatures,
        queue: this.#deps.queue,
      });
      const tls = new TlsClient({
        ...config,
        serverName,
        material,
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
    // An empty name is none of a server's: the config demands one of each.
    if (server === undefined || serverName === "") {
      throw new Error(`Cannot dial TLS: no name to expect but ${JSON.stringify(serverName)}`);
    }
    return server;
  }
}
