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
import { bindAll, formatAddresses } from "../net/listen_all.ts";
import { HINTS } from "../net/listen_error.ts";
import { otherAddress, SERVE_VARIABLE } from "../net/served.ts";
import { isLookupFailure, missingGrant } from "../net/system.ts";
import { codeOf, messageOf } from "../util/errors.ts";

/** A bound and serving HTTP server. */
export interface HttpEndpoint extends AsyncDisposable {
  /**
   * Where it listens: as requested, with the assigned port. Where port 0 was requested, rebinding
   * may assign another.
   */
  readonly address: HostPort;
  /**
   * Stops listening and cuts every connection, idle, slow or busy. May be called more than once.
   */
  close(): Promise<void>;
}

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
  let closed = false;
  let wake = (): void => {};
  // An incident lasts from the first failure until a request has been served again; each error is
  // logged once per incident.
  let pause = FIRST_PAUSE;
  const reported = new Set<string>();

  const handle = (request: Request): Promise<Response> => {
    if (reported.size > 0) logger.info(`${name} serving again`, { addr });
    reported.clear();
    pause = FIRST_PAUSE;
    return answer(request, routes, (path, error) => {
      logger.error(`${name}: request failed`, { path, error: messageOf(error) });
    });
  };
  const report = (error: unknown): void => {
    const message = messageOf(error);
    if (reported.has(message)) return;
    reported.add(message);
    logger.error(`${name} interrupted`, { addr, error: message });
  };
  const sleep = (): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, pause);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  /** Sets `current` in the same turn as it binds, so that `close` cannot miss the new server. */
  const rebind = async (): Promise<void> => {
    for (;;) {
      await sleep();
      if (closed) return;
      pause = Math.min(pause * 2, LONGEST_PAUSE);
      try {
        current = bindAgain();
        return;
      } catch (error) {
        report(error);
      }
    }
  };
  /**
   * Binds the same port; where only an ephemeral one is granted (`--allow-net=127.0.0.1:0`), a new
   * one.
   */
  const bindAgain = (): Generation => {
    try {
      return bind(address, handle);
    } catch (error) {
      const another = listen.port === 0 && error instanceof ListenError &&
        error.reason === "not permitted";
      if (!another) throw error;
    }
    const next = bind(listen, handle);
    moveTo(next);
    return next;
  };
  const keepServing = async (): Promise<void> => {
    while (!closed) {
      try {
        await current.finished;
      } catch (error) {
        // Its open connections would otherwise live on and hold the descriptors that are missing.
        current.cut();
        report(error);
        if (!closed) await rebind();
      }
    }
  };

  await useUpVariable(listen);
  let address = listen;
  let addr = "";
  const moveTo = ({ bound }: Generation): void => {
    address = { host: listen.host, port: bound[0].port };
    addr = bound.length === 1 ? formatAddress(address) : formatAddresses(bound);
    logger.info(`${name} listening`, { addr });
  };
  let current = bind(listen, handle);
  moveTo(current);
  const ended = keepServing();

  const close = (): Promise<void> => {
    closed = true;
    wake();
    current.cut();
    return ended;
  };
  return {
    get address() {
      return address;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
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
