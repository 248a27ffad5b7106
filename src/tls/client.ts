/**
 * TLS for connections that were dialled.
 *
 * @module
 */

import { createPrivateKey } from "node:crypto";
import type { Duplex } from "node:stream";
import tls from "node:tls";
import type { Channel } from "../channel.ts";
import type { Material } from "../certstore/material.ts";
import type { TlsVersion } from "../config/config.ts";
import { parseIp } from "../x509/server_name.ts";
import {
  type Decide,
  engineError,
  type EngineEvents,
  establishedSocket,
  handshake,
  HandshakeError,
  type HandshakeLimits,
  type Handshaken,
  type Started,
} from "./handshake.ts";
import { type EngineContext, engineContext, type NativeTls } from "./engine.ts";
import { startEngine } from "./engine_start.ts";
import { engineVersion } from "./version.ts";
import type { VerifyPeer } from "./verdict.ts";
import type { Wire } from "./wire.ts";

/** What client mode's TLS is set up from. */
export type TlsClientOptions = {
  readonly material: Material;
  /** The name that the server must carry: DNS, then also sent as SNI (RFC 6066), or IP. */
  readonly serverName: string;
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
  /** Protocols to offer, the favourite first (RFC 7301); empty: no ALPN. */
  readonly alpn?: readonly string[];
  /** Judges peers by the trust of the moment of the decision, which may have moved on since. */
  readonly verify: VerifyPeer;
  /** Whether a peer that ends TCP without close_notify has broken the connection off. */
  readonly requireCloseNotify: boolean;
  /** Carries established connections by the engine's own handles. */
  readonly native?: NativeTls | undefined;
};

/** The client side of TLS for one state of the certificates; make a new one when they change. */
export class TlsClient {
  readonly #context: tls.SecureContext;
  readonly #engineContext: EngineContext;
  readonly #serverName: string;
  readonly #verify: VerifyPeer;
  readonly #alpn: readonly string[];
  readonly #requireCloseNotify: boolean;
  readonly #keyIsReadable: boolean;
  readonly #native: NativeTls | undefined;

  /** Sets up the engine; nothing is dialled. */
  constructor(options: TlsClientOptions) {
    const { material, serverName, verify } = options;
    this.#serverName = serverName;
    this.#verify = verify;
    this.#native = options.native;
    this.#alpn = options.alpn ?? [];
    this.#requireCloseNotify = options.requireCloseNotify;
    this.#keyIsReadable = isReadableKey(material.keyPem);
    const own = {
      cert: material.certPem,
      key: material.keyPem,
      // Whom the engine trusts does not count, as its verdict does not. Left out it would build paths to
      // the public CAs, and with the bundle read all of that anew for each connection.
      ca: firstCertificate(material.certPem),
      minVersion: engineVersion(options.minVersion),
      maxVersion: engineVersion(options.maxVersion),
    };
    this.#context = tls.createSecureContext(own);
    this.#engineContext = engineContext(own, { requestCert: true, rejectUnauthorized: false });
  }

  /**
   * Makes TLS of a dialled connection, which it owns from now on. With TLS 1.3 our certificate and
   * the end of the handshake leave only once the server was found good.
   *
   * @throws {HandshakeError} when there is no handshake, or the server is not the one that was meant.
   */
  connect<T>(
    transport: Channel,
    decide: Decide<T>,
    limits: HandshakeLimits,
  ): Promise<Handshaken<T>> {
    return handshake(
      transport,
      {
        start: (wire, events) => this.#start(wire, events),
        metered: true,
        demand: { kind: "certificate", verify: this.#verify, optional: false },
        requireCloseNotify: this.#requireCloseNotify,
      },
      decide,
      limits,
    );
  }

  #start(wire: Wire, events: EngineEvents): Started {
    if (!this.#keyIsReadable) {
      // The engine would go out without a certificate, and say nothing.
      events.failed(new HandshakeError("other", "the own private key cannot be read"));
      return { abandon: () => {} };
    }
    const isIp = parseIp(this.#serverName) !== undefined;
    if (this.#native !== undefined) {
      const native = this.#native;
      const make = () => {
        const engine = native.client(isIp ? "" : this.#serverName, this.#engineContext);
        if (this.#alpn.length > 0) engine.setAlpnProtocols(this.#alpn);
        return engine;
      };
      return startEngine(make, native, wire, events, clientError);
    }
    const socket = tls.connect({
      // The engine uses of a Duplex just what a Wire has.
      socket: wire as unknown as Duplex,
      secureContext: this.#context,
      // Chains are verified by us alone.
      rejectUnauthorized: false,
      ...(isIp ? {} : { servername: this.#serverName }),
      ...(this.#alpn.length > 0 ? { ALPNProtocols: [...this.#alpn] } : {}),
      // The engine's own check falls back to the CN, and reads one that holds a list as that list.
      // Names are the second verdict's.
      checkServerIdentity: () => undefined,
    });
    // For that check the engine completes the chain from the bundle, by names, without an end where
    // two CAs signed each other. Nobody reads what it would come back with.
    socket.getPeerCertificate = () => NO_CERTIFICATE;
    socket.once("secureConnect", () => events.secure(establishedSocket(socket)));
    socket.on("error", (error) => events.failed(clientError(error)));
    socket.once("close", () => {
      events.failed(new HandshakeError("reset", "the server left during the handshake"));
    });
    return { abandon: () => void socket.destroy() };
  }
}

/**
 * The engine's complaint about a server. The one about a certificate that is left to it is that of the
 * handshake's signature.
 */
function clientError(error: Error): HandshakeError {
  if (Reflect.get(error, "code") !== "UNABLE_TO_VERIFY_LEAF_SIGNATURE") return engineError(error);
  return new HandshakeError(
    "untrusted",
    "the server did not prove that it holds the certificate's key",
    {
      cause: error,
    },
  );
}

/** The own certificate without the rest of its chain. */
function firstCertificate(pem: string): string {
  return /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/.exec(pem)?.[0] ?? pem;
}

/** Whether the engine finds a key in this: it skips what it does not know. */
function isReadableKey(pem: string): boolean {
  if (!/^-----BEGIN (?:RSA |EC )?PRIVATE KEY-----/m.test(pem)) return false;
  try {
    createPrivateKey(pem);
    return true;
  } catch {
    return false; // Which is all that is asked here; the certificate store has said why.
  }
}

const NO_CERTIFICATE = {} as tls.DetailedPeerCertificate;
