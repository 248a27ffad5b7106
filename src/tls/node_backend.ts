/**
 * TLS on the public interface of `node:tls`, over a {@linkcode TransportStream} in place of a
 * socket.
 *
 * Three of its means are not documented, because the public interface offers nothing else. Should
 * one of them change, peers are refused; none would be admitted:
 *
 * - *Events by connection*: the events of a `tls.Server` do not say which of its connections they
 *   are about, and a server for each connection would cost up to a third of a handshake. So each
 *   connection gets a view of the server, an object that inherits from it, whose `emit` passes the
 *   two events of a handshake on.
 * - *Certificate required, not verified*: the view leaves `rejectUnauthorized` undefined where a
 *   certificate is required. It is then still required, with the proper alert, but one that does
 *   not verify is left to our independent verification, and a refused peer gets nothing. Otherwise
 *   the runtime would send its last flight, tickets included, before it closes. Should a later
 *   version read `undefined` as true or false, either it or we refuse the peer.
 * - *The chain as shown*: `getPeerCertificate(true)` would complete the chain from the bundle by
 *   name, and does not terminate where two CAs of the bundle signed each other;
 *   `getPeerX509Certificate` stops at the first issuer. So the chain is read from the socket's
 *   `_handle`. Without it the public call is used, with which some chains are incomplete.
 *
 * @module
 */

import { EventEmitter } from "node:events";
import type { Duplex } from "node:stream";
import tls from "node:tls";
import type { Conn } from "../net/conn.ts";
import {
  certificateRequest,
  type ClientSettings,
  type Ends,
  type EstablishedTls,
  type HandshakeEvents,
  type Negotiated,
  type RunningTls,
  type ServerSettings,
  type TlsBackend,
  type TlsEndpoint,
} from "./backend.ts";
import { HandshakeError } from "./handshake_error.ts";
import { NodeTlsConn } from "./node_conn.ts";
import type { TransportStream } from "./transport_stream.ts";

/** Runs TLS on the public interface. */
export class NodeTlsBackend implements TlsBackend {
  /** Prepares the server role; does not listen. */
  server(settings: ServerSettings): TlsEndpoint {
    return new NodeServer(settings);
  }

  /** Prepares the client role. */
  client(settings: ClientSettings): TlsEndpoint {
    return new NodeClient(settings);
  }
}

class NodeServer implements TlsEndpoint {
  readonly #server: tls.Server;
  readonly #required: boolean;

  constructor({ context, alpn, clientAuth }: ServerSettings) {
    this.#required = clientAuth === "required";
    this.#server = new tls.Server({
      ...context,
      ...certificateRequest(clientAuth),
      ...(alpn.length > 0 ? { ALPNProtocols: [...alpn] } : {}),
      // We have our own deadline. The runtime's timer would outlive a failed handshake by two
      // minutes and keep all of the connection's memory: a peer that fails fast could exhaust it.
      handshakeTimeout: -1,
    });
  }

  /** Passes the stream to the server as if it had accepted it (the documented `connection` event). */
  start(stream: TransportStream, events: HandshakeEvents): RunningTls {
    let socket: tls.TLSSocket | undefined;
    const emit = (event: string, first: unknown, second: unknown): boolean => {
      if (event === "secureConnection" && first instanceof tls.TLSSocket) {
        socket = first;
        // The connection handles later errors; an earlier one is reported by the handshake.
        first.on("error", () => {});
        events.secure(new NodeEstablished(first, stream));
      } else if (event === "tlsClientError") {
        socket = second instanceof tls.TLSSocket ? second : undefined;
        const error = first instanceof Error ? first : new Error(String(first));
        const code: unknown = socket?.authorizationError;
        events.failed(error, typeof code === "string" ? code : undefined);
      }
      return true;
    };
    const view: tls.Server = Object.create(this.#server, {
      emit: { value: emit },
      ...(this.#required ? { rejectUnauthorized: { value: undefined } } : {}),
    });
    EventEmitter.prototype.emit.call(view, "connection", stream);
    return { destroy: () => void socket?.destroy() };
  }
}

class NodeClient implements TlsEndpoint {
  readonly #options: tls.ConnectionOptions;

  constructor({ context, alpn, sni }: ClientSettings) {
    this.#options = {
      secureContext: tls.createSecureContext(context),
      // Chains are verified independently of this.
      rejectUnauthorized: false,
      ...(sni === undefined ? {} : { servername: sni }),
      ...(alpn.length > 0 ? { ALPNProtocols: [...alpn] } : {}),
      // The runtime's check falls back to the CN, and splits a CN that holds a list of names. Names
      // are checked by the independent verification.
      checkServerIdentity: () => undefined,
    };
  }

  start(stream: TransportStream, events: HandshakeEvents): RunningTls {
    // `node:tls` uses no more of a Duplex than TransportStream implements.
    const socket = tls.connect({ ...this.#options, socket: stream as unknown as Duplex });
    const established = new NodeEstablished(socket, stream);
    // For its own check of names the runtime completes the chain from the bundle, by name, and does
    // not terminate where two CAs signed each other. Its result is not used.
    socket.getPeerCertificate = () => NO_CERTIFICATE;
    socket.once("secureConnect", () => events.secure(established));
    socket.on("error", (error) => events.failed(error));
    socket.once("close", () => {
      events.failed(new HandshakeError("reset", "the server left during the handshake"));
    });
    return established;
  }
}

const NO_CERTIFICATE = {} as tls.DetailedPeerCertificate;

class NodeEstablished implements EstablishedTls {
  readonly #socket: tls.TLSSocket;
  readonly #stream: TransportStream;

  constructor(socket: tls.TLSSocket, stream: TransportStream) {
    this.#socket = socket;
    this.#stream = stream;
  }

  chain(): readonly Uint8Array[] {
    const handle: unknown = Reflect.get(this.#socket, "_handle");
    if (typeof handle === "object" && handle !== null) {
      const read: unknown = Reflect.get(handle, "getPeerCertificateChain");
      if (typeof read === "function") {
        const chain: unknown = read.call(handle);
        if (typeof chain !== "object" || chain === null) return [];
        const certificates: unknown = Reflect.get(chain, "certificates");
        if (Array.isArray(certificates) && certificates.every((der) => der instanceof Uint8Array)) {
          return certificates;
        }
      }
    }
    const chain: Uint8Array[] = [];
    const leaf = this.#socket.getPeerX509Certificate();
    for (let next = leaf; next !== undefined && chain.length < 2; next = next.issuerCertificate) {
      chain.push(next.raw);
    }
    return chain;
  }

  negotiated(): Negotiated {
    const socket = this.#socket;
    return {
      protocol: socket.getProtocol(),
      resumed: socket.isSessionReused(),
      alpn: socket.alpnProtocol,
      cipher: Reflect.get(socket.getCipher() ?? {}, "standardName"),
      serverName: Reflect.get(socket, "servername"),
    };
  }

  open(ends: Ends): Conn {
    return new NodeTlsConn(ends, this.#stream, this.#socket);
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
