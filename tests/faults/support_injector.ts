/**
 * Puts faults into a daemon from outside, for the fault suite only. Loaded before the program with
 * `--preload`, it puts itself between mtlsd and what mtlsd works with: the runtime's sockets, timers
 * and TLS engine, and the prototypes of its own classes. What are plain functions in mtlsd is wrapped
 * by `support_wrapped.ts`, which an import map puts in their place. The program itself is the one that
 * is shipped, started in the usual way, under the grants of its config and no others.
 *
 * @module
 */

import tls from "node:tls";
import type { Conn } from "../../src/net/conn.ts";
import { Admission, KeyedLimiter } from "../../src/proxy/limits.ts";
import type { Connection } from "../../src/proxy/connection.ts";
import { ConnectionTable } from "../../src/proxy/connection_table.ts";
import { TlsClient } from "../../src/tls/client.ts";
import { TlsServer } from "../../src/tls/server.ts";
import { PeerVerifier } from "../../src/tls/peer_verifier.ts";
import { become, mark, type Pass } from "./support_marked.ts";
import { type Fault, Plan, type Route } from "./support_plan.ts";

/** The connection that was accepted last. They come one by one: it is the one that is on its way. */
let current = 0;
/** Its handshake and decision are over. */
let joined = false;
/** It was accepted and has no place yet. */
let entering = false;
let plan = new Plan([], () => {});
let way: Route = "native";

/** The connection on its way passes a place; see {@linkcode Plan.trip}. */
export function trip(place: string): Promise<never> | undefined {
  return plan.trip(current, place);
}

/** The connection on its way was let in: the places of the copy loops begin. */
export function join(): void {
  joined = true;
}

/** By which of the runtime's interfaces connections are to be carried. */
export function route(): Route {
  return way;
}

/** The places of the connection on its way, whichever comes after it. */
export function passesOfCurrent(): Pass {
  const number = current;
  return (place) => plan.trip(number, place);
}

/** A channel of the connection on its way, whose calls are places from now on. */
export function marked<C extends Conn>(conn: C): C {
  const number = current;
  return mark(conn, (place) => {
    const opening = number === current && !joined ? "opening." : "";
    return plan.trip(number, `${opening}${place}`);
  });
}

// deno-lint-ignore no-explicit-any -- any function at all
type AnyFunction = (...args: any[]) => any;

/** The same function with a place before it. */
export function passing<F extends AnyFunction>(place: string, real: F): F {
  return function (this: unknown, ...args: Parameters<F>) {
    return trip(place) ?? real.apply(this, args);
  } as F;
}

function patch(prototype: object, name: string, wrap: (real: AnyFunction) => AnyFunction): void {
  const real: unknown = Reflect.get(prototype, name);
  if (typeof real !== "function") throw new Error(`Cannot inject into ${name}: no such method`);
  const value = wrap(real as AnyFunction);
  Object.defineProperty(prototype, name, { value, configurable: true, writable: true });
}

function watchSockets(): void {
  const { listen, connect } = Deno;
  const withAddress = (conn: Deno.TcpConn, place: string) => {
    const { remoteAddr } = conn;
    return Object.defineProperty(conn, "remoteAddr", { get: () => trip(place) ?? remoteAddr });
  };
  Deno.listen = ((options: Deno.TcpListenOptions) => {
    const listener = listen(options);
    const accept = listener.accept.bind(listener);
    listener.accept = () =>
      plan.trip(current + 1, "accept") ?? accept().then((conn) => {
        current++;
        joined = false;
        entering = true;
        return withAddress(conn, "accepted.remoteAddr");
      });
    return listener;
  }) as typeof Deno.listen;
  Deno.connect = ((options: Deno.ConnectOptions) =>
    trip("connect") ??
      connect(options).then((conn) =>
        withAddress(conn, "dialled.remoteAddr")
      )) as typeof Deno.connect;
}

/** A timer that one of mtlsd's modules sets: the clock that its callback looks at may fail. */
function watchTimers(): void {
  const { setTimeout: real } = globalThis;
  const now = performance.now.bind(performance);
  let within: { readonly number: number; readonly place: string } | undefined;
  performance.now = () => {
    if (within !== undefined) void plan.trip(within.number, within.place);
    return now();
  };
  globalThis.setTimeout = ((callback: () => void, delay?: number, ...args: unknown[]) => {
    const callers = new Error().stack?.split("\n").slice(2) ?? [];
    // A timer that util/abort.ts sets belongs to the module that asks for it.
    const caller = callers.find((frame) => !frame.includes("/src/util/abort.ts:")) ?? "";
    const [, module] = /\/src\/([a-z_/]+)\.ts:/.exec(caller) ?? [];
    // A timer that is set again when it fires stays with its connection, whichever was accepted since.
    const timer = { number: within?.number ?? current, place: `timer.${module}` };
    return real(() => {
      within = timer;
      try {
        Reflect.apply(callback, undefined, args);
      } finally {
        within = undefined;
      }
    }, delay);
  }) as typeof setTimeout;
}

function watchEngine(): void {
  patch(
    tls.TLSSocket.prototype,
    "emit",
    (real) =>
      function (this: tls.TLSSocket, event: string, ...args: unknown[]) {
        void trip(`engine.${event}`);
        return Reflect.apply(real, this, [event, ...args]);
      },
  );
  for (const name of ["getProtocol", "destroy"]) {
    patch(tls.TLSSocket.prototype, name, (real) => passing(`engine.${name}()`, real));
  }
  tls.connect = passing("engine.connect()", tls.connect);
  const handshake = (real: AnyFunction) =>
    function (this: unknown, transport: Conn, ...args: unknown[]) {
      become(transport, "wire");
      return trip("handshake") ??
        Reflect.apply(real, this, [transport, ...args]).then((done: { conn?: Conn }) => {
          if (done.conn !== undefined) become(marked(done.conn), "tls");
          return done;
        });
    };
  patch(TlsServer.prototype, "accept", handshake);
  patch(TlsClient.prototype, "connect", handshake);
}

function watchPlaces(): void {
  patch(Admission.prototype, "room", (real) =>
    function (this: Admission, ...args: unknown[]) {
      const fault = entering ? trip("accepted.room") : plan.trip(current + 1, "room");
      return fault ?? Reflect.apply(real, this, args);
    });
  patch(Admission.prototype, "enter", (real) =>
    function (this: Admission, ...args: unknown[]) {
      entering = false;
      return trip("place") ?? Reflect.apply(real, this, args);
    });
  const close = ConnectionTable.prototype.close;
  ConnectionTable.prototype.close = function (this: ConnectionTable, connection: Connection) {
    const first = !connection.closed;
    Reflect.apply(close, this, [connection]);
    if (first) void trip("dispose");
  };
}

/** Arms the plan. */
export function install(faults: readonly Fault[], by: Route): void {
  const { stderr } = Deno;
  way = by;
  plan = new Plan(faults, ({ connection, place, kind }) => {
    const line = `msg="fault injected" connection=${connection} place="${place}" kind=${kind}\n`;
    stderr.writeSync(new TextEncoder().encode(line));
  });
  watchSockets();
  watchTimers();
  watchEngine();
  watchPlaces();
  patch(PeerVerifier.prototype, "verify", (real) => passing("verify", real));
  patch(KeyedLimiter.prototype, "take", (real) => passing("quota", real));
  patch(ConnectionTable.prototype, "open", (real) => passing("open", real));
  patch(ConnectionTable.prototype, "register", (real) => passing("admit", real));
}
