/**
 * One accepted connection, from accept to its outcome: why it is to end, which peers were
 * authorized, and the logger for its lines. {@linkcode ConnectionTable} opens and closes it.
 *
 * @module
 */

import type { Fields, Logger } from "../log/mod.ts";
import type { CloseReason } from "../outcome.ts";
import type { VerifiedPeer } from "../tls/peer_verifier.ts";

/** Why a connection was ended from outside. */
export type Ending = {
  readonly reason: CloseReason;
  /** Further fields for the log. */
  readonly fields?: Fields;
};

/** `downstream` connected to us; we connected to `upstream`. */
export type End = "downstream" | "upstream";

/** An authorized peer. */
export type AuthorizedPeer = {
  readonly end: End;
  /** `undefined` for a peer without a certificate. */
  readonly peer: VerifiedPeer | undefined;
  /** For an upstream peer: the name that its certificate must carry. */
  readonly serverName?: string | undefined;
};

/** One open connection. */
export class Connection {
  readonly #abort = new AbortController();
  readonly #resources = new DisposableStack();
  readonly #logger: Logger;
  #peerLogger: { readonly end: End; readonly logger: Logger } | undefined;
  #peers: readonly AuthorizedPeer[] = [];
  #ending: Ending | undefined;

  /** Made by {@linkcode ConnectionTable.open}. `logger` includes the connection's number. */
  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Aborts when the connection is to end; its reason is the {@linkcode CloseReason}. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Why it was ended from outside; `undefined` if it was not. */
  get ending(): Ending | undefined {
    return this.#ending;
  }

  /** The peers that are reauthorized: at most one at each end. */
  get peers(): readonly AuthorizedPeer[] {
    return this.#peers;
  }

  /** Whether the connection is over. */
  get closed(): boolean {
    return this.#resources.disposed;
  }

  /**
   * The logger for every line about this connection: with its number, and its peer once that is
   * known.
   */
  get logger(): Logger {
    return this.#peerLogger?.logger ?? this.#logger;
  }

  /**
   * Adds the fields of this end's peer to all further lines. Where both peers are known, the lines
   * show the downstream one, which asked for the connection.
   */
  describePeer(end: End, peer: Fields): void {
    if (end === "upstream" && this.#peerLogger?.end === "downstream") return;
    this.#peerLogger = { end, logger: this.#logger.endingWith(peer) };
  }

  /** Sets the peer of one end; false if the connection is about to end. */
  setPeer(peer: AuthorizedPeer): boolean {
    if (this.#ending !== undefined || this.closed) return false;
    this.#peers = [...this.#peers.filter(({ end }) => end !== peer.end), peer];
    return true;
  }

  /** Ends the connection; the first reason is kept. Never throws. */
  end(ending: Ending): void {
    if (this.#ending !== undefined || this.closed) return;
    this.#ending = ending;
    this.#abort.abort(ending.reason);
  }

  /** Disposes `resource` when the connection is over. */
  own(resource: Disposable): void {
    this.#resources.use(resource);
  }

  /** Marks the connection as over and releases what it owns; called by its table. */
  close(): void {
    this.#resources.dispose();
  }
}
