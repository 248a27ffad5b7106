/**
 * A small HTTP server for short answers, GET and HEAD only. It reads nothing beyond the request
 * line and headers.
 *
 * Two properties of `Deno.serve` shape it. When it runs out of file descriptors it gives up for
 * good and rejects `finished`, which ends the process if unhandled. Here that drops this server's
 * connections and binds the port again, with growing pauses, until requests are served again. And
 * it has no limit on connections or on the time to send a request, so any client that reaches the
 * port can hold descriptors open: keep it on loopback or behind a network policy. Such clients
 * cannot delay a stop: `close` cuts their connections.
 *
 * @module
 */

import { formatAddress } from "../config/address.ts";
import type { HostPort, NonEmpty } from "../config/config.ts";
import type { Logger } from "../log/mod.ts";
import { ListenError, type ListenReason } from "../net/mod.ts";
import { bindAll, formatAddresses } from "../net/listen.ts";
import { HINTS, isLookupFailure, missingGrant } from "../net/errors.ts";
import { codeOf, messageOf } from "../util/errors.ts";
import { delay } from "../util/abort.ts";
import { parseIp } from "../util/ip.ts";

/** Makes the response for one path. */
export type Handler = () => Response | Promise<Response>;

/** Handlers by exact path. */
export type Routes = ReadonlyMap<string, Handler>;

/** A server from one bind to its end; `cut` drops the listener and all of its connections. */
type Generation = {
  /** The bound addresses: several for `localhost`, with one port. */
  readonly bound: NonEmpty<HostPort>;
  /** Rejects when one of its listeners has given up. */
  readonly finished: Promise<unknown>;
  readonly cut: () => void;
};

/** Milliseconds before the port is bound again: the first pause, doubled up to the longest. */
const FIRST_PAUSE = 50;
const LONGEST_PAUSE = 1000;

/**
 * Binds, logs `<name> listening` with the address, and serves `routes` until closed.
 *
 * @throws {ListenError} (as a rejection) when the address cannot be bound, or the environment makes
 * Deno listen on another one.
 */
export async function serveHttp(
  name: string,
  listen: HostPort,
  logger: Logger,
  routes: Routes,
): Promise<HttpEndpoint> {
  await useUpVariable(listen);
  return new HttpEndpoint(name, listen, logger, routes);
}

/** A bound and serving HTTP server; {@linkcode serveHttp} starts it. */
export class HttpEndpoint implements AsyncDisposable {
  readonly #name: string;
  readonly #listen: HostPort;
  readonly #logger: Logger;
  readonly #routes: Routes;
  #address: HostPort;
  /** The address or addresses as text, for the log. */
  #addr = "";
  #current: Generation;
  /** Resolves once the server is closed. */
  readonly #ended: Promise<void>;
  readonly #closing = new AbortController();
  // An incident lasts from the first failure until a request has been served again; each error is
  // logged once per incident.
  #pause = FIRST_PAUSE;
  readonly #reported = new Set<string>();

  /**
   * Binds and serves.
   *
   * @throws {ListenError} when the address cannot be bound.
   */
  constructor(name: string, listen: HostPort, logger: Logger, routes: Routes) {
    this.#name = name;
    this.#listen = listen;
    this.#logger = logger;
    this.#routes = routes;
    this.#current = this.#bind(listen);
    this.#address = this.#announce(this.#current);
    this.#ended = this.#keepServing();
  }

  /**
   * Where it listens: as requested, with the assigned port. Where port 0 was requested, rebinding
   * may assign another.
   */
  get address(): HostPort {
    return this.#address;
  }

  /**
   * Stops listening and cuts every connection, idle, slow or busy. May be called more than once.
   */
  close(): Promise<void> {
    this.#closing.abort();
    this.#current.cut();
    return this.#ended;
  }

  /** The same as `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #bind(listen: HostPort): Generation {
    return bind(listen, (request) => this.#handle(request));
  }

  /** Logs the address of a server, and returns it. */
  #announce({ bound }: Generation): HostPort {
    const address = { host: this.#listen.host, port: bound[0].port };
    this.#addr = bound.length === 1 ? formatAddress(address) : formatAddresses(bound);
    this.#logger.info(`${this.#name} listening`, { addr: this.#addr });
    return address;
  }

  #handle(request: Request): Promise<Response> {
    if (this.#reported.size > 0) {
      this.#logger.info(`${this.#name} serving again`, { addr: this.#addr });
    }
    this.#reported.clear();
    this.#pause = FIRST_PAUSE;
    return answer(request, this.#routes, (path, error) => {
      this.#logger.error(`${this.#name}: request failed`, { path, error: messageOf(error) });
    });
  }

  async #keepServing(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      try {
        await this.#current.finished;
      } catch (error) {
        // Its open connections would otherwise live on and hold the descriptors that are missing.
        this.#current.cut();
        this.#report(error);
        await this.#rebind();
      }
    }
  }

  /** Binds again, with growing pauses, until that succeeds or the server is closed. */
  async #rebind(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await delay(this.#pause, signal);
      // From here on in one turn, so that `close` cannot miss the new server.
      if (signal.aborted) return;
      this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
      try {
        this.#current = this.#bindAgain();
        return;
      } catch (error) {
        this.#report(error);
      }
    }
  }

  /**
   * Binds the same port; where only an ephemeral one is granted (`--allow-net=127.0.0.1:0`), a new
   * one.
   */
  #bindAgain(): Generation {
    try {
      return this.#bind(this.#address);
    } catch (error) {
      const another = this.#listen.port === 0 && error instanceof ListenError &&
        error.reason === "not permitted";
      if (!another) throw error;
    }
    const next = this.#bind(this.#listen);
    this.#address = this.#announce(next);
    return next;
  }

  #report(error: unknown): void {
    const message = messageOf(error);
    if (this.#reported.has(message)) return;
    this.#reported.add(message);
    this.#logger.error(`${this.#name} interrupted`, { addr: this.#addr, error: message });
  }
}

/**
 * Binds once and discards the server: the environment can move only the first server of a process,
 * or silently add a second listener to it. The next server listens where it is asked to.
 *
 * @throws {ListenError}
 */
async function useUpVariable(listen: HostPort): Promise<void> {
  const refuse = () => Promise.resolve(json(503, { error: "not ready" }));
  let first: Generation;
  try {
    first = bind(listen, refuse);
  } catch (error) {
    // If this succeeds the address is fine, and the environment caused the error.
    const second = bind(listen, refuse);
    await drop(second);
    const cause = error instanceof ListenError ? error.cause : error;
    if (cause instanceof MovedError) throw error;
    const [, asked] = /access to "([^"]+)"/.exec(messageOf(cause)) ?? [];
    const where = asked === undefined ? `another address (${messageOf(cause)})` : `"${asked}"`;
    throw listenError(listen, new MovedError(where));
  }
  await drop(first);
}

async function drop(generation: Generation): Promise<void> {
  generation.cut();
  await generation.finished;
}

/** Deno listens on another address than the requested one. */
class MovedError extends Error {
  override readonly name = "MovedError";

  constructor(where: string) {
    super(`Deno tries ${where} in its place: unset the environment variable ${SERVE_VARIABLE}`);
  }
}

/** @throws {ListenError} */
function bind(listen: HostPort, handler: (request: Request) => Promise<Response>): Generation {
  const servers = bindAll(listen, (one) => bindOne(one, handler), ({ cut }) => cut());
  const [{ host, port }, ...rest] = servers;
  return {
    bound: [{ host, port }, ...rest.map(({ host, port }) => ({ host, port }))],
    finished: Promise.all(servers.map(({ finished }) => finished)),
    cut: () => servers.forEach(({ cut }) => cut()),
  };
}

/** A server on one address. */
type Bound = HostPort & Pick<Generation, "finished" | "cut">;

/** @throws {ListenError} */
function bindOne(
  listen: HostPort,
  handler: (request: Request) => Promise<Response>,
): Bound {
  // Not `shutdown()`: it waits for connections that sent half a request or speak HTTP/2, and after
  // it the signal can no longer cut them (aborting then is an uncaught BadResource).
  const abort = new AbortController();
  const bindTo = (hostname: string): Deno.HttpServer<Deno.NetAddr> => {
    const server = Deno.serve(
      { hostname, port: listen.port, signal: abort.signal, onListen: () => {} },
      handler,
    );
    const other = otherAddress({ host: hostname, port: listen.port }, server.addr);
    if (other === undefined) return server;
    abort.abort();
    throw new MovedError(`"${other}"`);
  };
  try {
    const { addr, finished } = bindToHost(listen.host, bindTo);
    return { host: listen.host, port: addr.port, finished, cut: () => abort.abort() };
  } catch (error) {
    throw listenError(listen, error);
  }
}

/** An empty host means `::`, which takes IPv4 too; where there is no IPv6, `0.0.0.0`. */
function bindToHost<T>(host: string, bindTo: (hostname: string) => T): T {
  if (host !== "") return bindTo(host);
  try {
    return bindTo("::");
  } catch (error) {
    if (!["EAFNOSUPPORT", "EADDRNOTAVAIL"].includes(codeOf(error))) throw error;
    return bindTo("0.0.0.0");
  }
}

async function answer(
  request: Request,
  routes: Routes,
  failed: (path: string, error: unknown) => void,
): Promise<Response> {
  if (request.method !== "GET" && request.method !== "HEAD") {
    return json(405, { error: "method not allowed" }, { allow: "GET, HEAD" });
  }
  // With an invalid Host header the request has no valid URL, and so no path.
  const path = URL.parse(request.url)?.pathname;
  if (path === undefined) return json(400, { error: "bad request" });
  const route = routes.get(path);
  if (route === undefined) return json(404, { error: "not found" });
  try {
    return await route();
  } catch (error) {
    failed(path, error);
    return json(500, { error: "internal error" });
  }
}

/** A JSON response. */
export function json(status: number, body: unknown, headers?: Record<string, string>): Response {
  return reply(status, "application/json", JSON.stringify(body), headers);
}

/** A response that is not cached and whose type browsers do not guess. */
export function reply(
  status: number,
  contentType: string,
  body: string,
  headers?: Record<string, string>,
): Response {
  return new Response(body, {
    status,
    headers: {
      "content-type": contentType,
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      ...headers,
    },
  });
}

function listenError(listen: HostPort, cause: unknown): ListenError {
  const grant = missingGrant(cause, listen);
  const reason = grant === undefined ? listenReason(cause) : "not permitted";
  const words = grant ?? (reason === "other" ? messageOf(cause) : reason + (HINTS[reason] ?? ""));
  return new ListenError(reason, `Cannot listen on "${formatAddress(listen)}": ${words}`, {
    cause,
  });
}

function listenReason(cause: unknown): ListenReason {
  if (cause instanceof Deno.errors.AddrInUse) return "address in use";
  if (cause instanceof Deno.errors.AddrNotAvailable) return "address not available";
  if (cause instanceof Deno.errors.PermissionDenied) return "permission denied";
  return isLookupFailure(cause) ? "name not found" : "other";
}

/**
 * The environment variable that changes where `Deno.serve` listens. Deno 2.9 reads it itself,
 * without a grant. For the first `Deno.serve` of a process, `tcp:HOST:PORT`, `unix:PATH` or
 * `vsock:CID:PORT` replaces the requested address. With the prefix `duplicate,` Deno listens on it
 * as well, and nothing shows that.
 */
export const SERVE_VARIABLE = "DENO_SERVE_ADDRESS";

/**
 * The address of a server, where it differs from the requested one; `undefined` where it is the
 * same. Port 0 matches any port. A host name is not resolved here, so for a name only the port is
 * compared.
 */
export function otherAddress(asked: HostPort, got: Deno.Addr): string | undefined {
  if (got.transport !== "tcp") {
    return "path" in got ? `unix:${got.path}` : got.transport;
  }
  const address = { host: got.hostname, port: got.port };
  const host = parseIp(asked.host);
  const same = (asked.port === 0 || asked.port === got.port) &&
    (host === undefined || `${host}` === `${parseIp(got.hostname)}`);
  return same ? undefined : formatAddress(address);
}
