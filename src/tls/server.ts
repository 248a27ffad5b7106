/**
 * TLS for connections that were accepted.
 *
 * @module
 */

import { EventEmitter } from "node:events";
import tls from "node:tls";
import type { Channel } from "../channel.ts";
import type { Material } from "../certstore/material.ts";
import type { ClientAuth, TlsVersion } from "../config/config.ts";
import {
  type Decide,
  engineError,
  type EngineEvents,
  establishedSocket,
  handshake,
  HandshakeError,
  type HandshakeLimits,
  type Handshaken,
  type PeerDemand,
  type Started,
} from "./handshake.ts";
import { type EngineContext, engineContext, type NativeTls } from "./engine.ts";
import { startEngine } from "./engine_start.ts";
import { completeChain } from "./own_chain.ts";
import { engineVersion } from "./version.ts";
import type { VerifyPeer } from "./verdict.ts";
import type { Wire } from "./wire.ts";

/** What server mode's TLS is set up from. */
export type TlsServerOptions = {
  readonly material: Material;
  readonly clientAuth: ClientAuth;
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
  /** Protocols to accept, the favourite first (RFC 7301); empty: no ALPN. */
  readonly alpn?: readonly string[];
  /** Judges peers by the trust of the moment of the decision, which may have moved on since. */
  readonly verify: VerifyPeer;
  /** Whether a peer that ends TCP without close_notify has broken the connection off. */
  readonly requireCloseNotify: boolean;
  /** Carries established connections by the engine's own handles. */
  readonly native?: NativeTls | undefined;
};

/** The server side of TLS for one state of the certificates; make a new one when they change. */
export class TlsServer {
  readonly #server: tls.Server;
  readonly #demand: PeerDemand;
  readonly #alpn: readonly string[];
  readonly #requireCloseNotify: boolean;
  readonly #native: NativeTls | undefined;
  readonly #context: EngineContext;

  /** Sets up the engine; nothing listens. */
  constructor(options: TlsServerOptions) {
    const { material, clientAuth } = options;
    this.#native = options.native;
    this.#alpn = options.alpn ?? [];
    this.#requireCloseNotify = options.requireCloseNotify;
    this.#demand = clientAuth === "none" ? { kind: "nothing" } : {
      kind: "certificate",
      verify: options.verify,
      optional: clientAuth === "optional",
    };
    // No CA: the engine checks that the peer holds the key of its certificate, and leaves the chain to
    // us. Its search for a path takes time that grows beyond all bounds with what a stranger sends.
    const own = {
      cert: completeChain(material),
      key: material.keyPem,
      minVersion: engineVersion(options.minVersion),
      maxVersion: engineVersion(options.maxVersion),
    };
    const asks = {
      requestCert: clientAuth !== "none",
      // Whether the engine demands a certificate. What it thinks of one that is shown does not count.
      rejectUnauthorized: clientAuth === "required",
    };
    this.#context = engineContext(own, asks);
    this.#server = new tls.Server({
      ...own,
      ...asks,
      ...(this.#alpn.length > 0 ? { ALPNProtocols: [...this.#alpn] } : {}),
      // The deadline is ours. The engine's timer would outlive a failed handshake by two minutes and
      // hold all of the connection's memory until then: a peer that fails fast could fill it.
      handshakeTimeout: -1,
    });
  }

  /**
   * Makes TLS of an accepted connection, which it owns from now on.
   *
   * @throws {HandshakeError} when there is no handshake, or the peer's certificate does not hold.
   */
  accept<T>(
    transport: Channel,
    decide: Decide<T>,
    limits: HandshakeLimits,
  ): Promise<Handshaken<T>> {
    return handshake(
      transport,
      {
        start: (wire, events) => this.#startNative(wire, events) ?? this.#start(wire, events),
        metered: false,
        demand: this.#demand,
        requireCloseNotify: this.#requireCloseNotify,
      },
      decide,
      limits,
    );
  }

  /** By the engine itself, where that is to be had. */
  #startNative(wire: Wire, events: EngineEvents): Started | undefined {
    const native = this.#native;
    if (native === undefined) return undefined;
    const make = () => {
      const engine = native.server(this.#context);
      if (this.#alpn.length > 0) engine.setAlpnProtocols(this.#alpn);
      return engine;
    };
    return startEngine(make, native, wire, events, clientError);
  }

  /**
   * Hands the wire to the server as if it had accepted it (the documented `connection` event). The
   * server does not say which connection its later events are about, and making one for each costs as
   * much as a third of a handshake, so each connection gets a view of the server with events of its
   * own.
   *
   * The view also leaves `rejectUnauthorized` open: the engine then still demands a certificate, with
   * the alert that the protocol has for it, but leaves one that does not verify to our judgement,
   * after which such a peer gets nothing. By itself the engine would let out its last flight, tickets
   * included, before it closes. Should it ever read this as yes or as no, then it refuses the peer
   * itself or we do: nobody gets in by it.
   */
  #start(wire: Wire, events: EngineEvents): Started {
    let engine: tls.TLSSocket | undefined;
    const emit = (event: string, first: unknown, second: unknown): boolean => {
      if (event === "secureConnection" && first instanceof tls.TLSSocket) {
        engine = first;
        // Whatever comes later is heard by the channel; an error before that ends here.
        first.on("error", () => {});
        events.secure(establishedSocket(first));
      } else if (event === "tlsClientError") {
        engine = second instanceof tls.TLSSocket ? second : undefined;
        const verifyCode: unknown = engine?.authorizationError;
        events.failed(
          clientError(
            first instanceof Error ? first : new Error(String(first)),
            typeof verifyCode === "string" ? verifyCode : undefined,
          ),
        );
      }
      return true;
    };
    const required = this.#demand.kind === "certificate" && !this.#demand.optional;
    const view: tls.Server = Object.create(this.#server, {
      emit: { value: emit },
      ...(required ? { rejectUnauthorized: { value: undefined } } : {}),
    });
    EventEmitter.prototype.emit.call(view, "connection", wire);
    return { abandon: () => void engine?.destroy() };
  }
}

/**
 * The engine's complaint before the end of a handshake. Chains are left to us until then, so one about
 * the certificate means the signature over the handshake, or that the engine could not read the
 * certificate to check it; it does not tell which, nor show what it could not read.
 */
function clientError(error: Error, verifyCode?: string): HandshakeError {
  const named = engineError(error, verifyCode);
  if (named.reason !== "untrusted") return named;
  return new HandshakeError(
    "untrusted",
    "the peer did not prove that it holds the key of its certificate, or the TLS engine cannot read " +
      "that (a critical extension that it does not know, unique IDs): mtlsd explain --cert says which",
    { cause: error },
  );
}
