/**
 * The TLS settings of a tunnel's ends, with the verifiers and rules of their peers; all replaced
 * when the state changes.
 *
 * @module
 */

import type { TlsConfig, TunnelConfig } from "../config/config.ts";
import type { AclConfig } from "../acl/rule.ts";
import { TlsClient } from "../tls/client.ts";
import type { Credentials } from "../x509/credentials.ts";
import type { EndState, TunnelState } from "../snapshot.ts";
import type { FairQueue } from "../tls/fair_queue.ts";
import type { TlsBackend } from "../tls/backend.ts";
import { PeerVerifier, type Requester, type VerifierOptions } from "../tls/peer_verifier.ts";
import { TlsServer } from "../tls/server.ts";
import { SignatureCache } from "../tls/signature_cache.ts";
import { reauthorizePeer } from "./authorization.ts";
import type { AuthorizedPeer } from "./connection.ts";
import type { Reauthorization } from "./connection_table.ts";
import { addressKey } from "./peer_key.ts";

/** Dependencies of {@linkcode TlsContexts}. */
export type TlsContextsDeps = {
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Runs TLS; default the public interface. */
  readonly backend?: TlsBackend | undefined;
  /** Queue for verifications, shared by all tunnels. */
  readonly queue?: FairQueue | undefined;
};

/** The role that the peers of an end have. */
export type PeerRole =
  | { readonly purpose: "client" }
  /** `serverName` is the name that the server's certificate must carry. */
  | { readonly purpose: "server"; readonly serverName: string };

/**
 * Makes the verifier of peers' chains for these credentials; for tunnels and for the command
 * `explain`.
 *
 * @param now milliseconds since the epoch.
 * @param shared what outlives the credentials: cached signature checks, and the queue of
 * verifications.
 */
export function peerVerifier(
  role: PeerRole,
  { anchors, leftOut, intermediates, revocation }: Credentials,
  now: () => number,
  shared: Pick<VerifierOptions, "signatures" | "queue"> = {},
): PeerVerifier {
  return new PeerVerifier({
    anchors,
    leftOut,
    intermediates,
    revocation,
    ...role,
    ...shared,
    now,
  });
}

/** The downstream end. */
export type DownstreamTls = {
  readonly tls: TlsServer;
  readonly verifier: PeerVerifier;
  readonly acl: AclConfig;
};

/** The upstream end: a TLS client for each expected server name. */
type UpstreamTls = {
  readonly servers: ReadonlyMap<string, UpstreamServer>;
  readonly acl: AclConfig;
};

/** TLS to servers of one name, and the verifier of their chains. */
export type UpstreamServer = { readonly tls: TlsClient; readonly verifier: PeerVerifier };

/** The TLS settings of one tunnel. */
export class TlsContexts {
  readonly #config: TunnelConfig;
  readonly #deps: TlsContextsDeps;
  /** The cache of signature checks is kept when the state changes. */
  readonly #signatures = new SignatureCache();
  #downstream: DownstreamTls | undefined;
  #upstream: UpstreamTls | undefined;

  /** Starts with the first state. */
  constructor(config: TunnelConfig, state: TunnelState, deps: TlsContextsDeps) {
    this.#config = config;
    this.#deps = deps;
    this.update(state);
  }

  /** Replaces the state, also for handshakes that are in progress. */
  update(state: TunnelState): void {
    const { mode, tls, upstream } = this.#config;
    // Both are made before either is replaced: credentials that are not usable change nothing.
    const next = {
      downstream: mode === "client" ? undefined : this.#makeDownstream(state),
      upstream: mode === "server"
        ? undefined
        : this.#makeUpstream(upstream?.tls ?? tls, state.upstream ?? state),
    };
    this.#downstream = next.downstream;
    this.#upstream = next.upstream;
  }

  /**
   * The downstream end in the current state.
   *
   * @throws {Error} where it is plain.
   */
  get downstream(): DownstreamTls {
    if (this.#downstream === undefined) throw new Error("Cannot accept TLS: this end is plain");
    return this.#downstream;
  }

  /**
   * The rules of the upstream end in the current state.
   *
   * @throws {Error} where it is plain.
   */
  get upstreamAcl(): AclConfig {
    return this.#upstreamNow().acl;
  }

  /**
   * The upstream end in the current state, for servers whose certificate must carry this name.
   *
   * @throws {Error} where it is plain, or no target has this name.
   */
  upstream(serverName: string): UpstreamServer {
    const server = this.#upstreamNow().servers.get(serverName);
    // The config requires a server name for each TLS target, so it is never empty.
    if (server === undefined || serverName === "") {
      throw new Error(`Cannot dial TLS: no name to expect but ${JSON.stringify(serverName)}`);
    }
    return server;
  }

  /** Whether the peer of an open connection is still authorized. */
  reauthorize({ end, peer, serverName = "" }: AuthorizedPeer): Reauthorization {
    const { verifier, acl } = end === "downstream"
      ? this.downstream
      : { verifier: this.upstream(serverName).verifier, acl: this.upstreamAcl };
    const result = reauthorizePeer(peer, verifier, acl);
    if (result.authorized || this.#config.mode !== "bridge") return result;
    // A bridge has a peer at each end, so its log line says which one was lost.
    const { reason, fields } = result.ending;
    const lostBy = end === "downstream" ? "client" : "server";
    return { authorized: false, ending: { reason, fields: { ...fields, lost_by: lostBy } } };
  }

  #upstreamNow(): UpstreamTls {
    if (this.#upstream === undefined) throw new Error("Cannot dial TLS: that end is plain");
    return this.#upstream;
  }

  #makeDownstream({ credentials, acl }: EndState): DownstreamTls {
    const verifier = this.#makeVerifier({ purpose: "client" }, credentials);
    const tls = new TlsServer({
      ...this.#config.tls,
      credentials,
      // A handshake in progress when the state changes is verified with the new state.
      verify: (chain, requester) => this.downstream.verifier.verify(chain, byNetwork(requester)),
      backend: this.#deps.backend,
    });
    return { tls, verifier, acl };
  }

  #makeUpstream(config: TlsConfig, { credentials, acl }: EndState): UpstreamTls {
    const names = new Set(this.#config.targets.map(({ serverName }) => serverName ?? ""));
    const servers = [...names].map((serverName) => {
      const verifier = this.#makeVerifier({ purpose: "server", serverName }, credentials);
      const tls = new TlsClient({
        ...config,
        serverName,
        credentials,
        verify: (chain, requester) =>
          this.upstream(serverName).verifier.verify(chain, byNetwork(requester)),
        backend: this.#deps.backend,
      });
      return [serverName, { tls, verifier }] as const;
    });
    return { servers: new Map(servers), acl };
  }

  #makeVerifier(role: PeerRole, credentials: Credentials): PeerVerifier {
    const { now, queue } = this.#deps;
    return peerVerifier(role, credentials, now, { signatures: this.#signatures, queue });
  }
}

/**
 * Replaces the peer's address by its network. Within an IPv6 network further addresses cost an
 * attacker nothing, so its peers share one turn in the queue.
 */
function byNetwork(requester: Requester): Requester {
  return {
    source: addressKey(requester.source),
    get signal() {
      return requester.signal;
    },
  };
}
