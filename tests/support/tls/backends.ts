/**
 * The ways to carry TLS, for tests that have to hold for each of them: by the engine's public stream,
 * by its own handle, and by that over the runtime's own handles of TCP.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Conn } from "../../../src/net/conn.ts";
import type { AdoptTcp } from "../../../src/net/mod.ts";
import { NativeTcpConn } from "../../../src/native/tcp_conn.ts";
import { NodeTlsConn } from "../../../src/tls/node_conn.ts";
import type { TlsClient } from "../../../src/tls/client.ts";
import { type NativeTls, nativeTls } from "../../../src/native/tls.ts";
import { NativeTlsBackend } from "../../../src/native/tls.ts";
import type { TlsBackend as Backend } from "../../../src/tls/backend.ts";
import { NativeTlsConn } from "../../../src/native/tls_conn.ts";
import type { TlsServer } from "../../../src/tls/server.ts";
import { turns } from "../net.ts";
import { requireNativeTcp, tcpPair } from "./tcp_backends.ts";
import { carriedBy, client, connected, type EndOptions, server } from "./ends.ts";
import { memoryPair } from "./memory_conn.ts";
import { listen } from "./listen.ts";

/** Settings of {@linkcode TlsBackend.connected}. */
export type ConnectedOptions = {
  readonly pair?: readonly [Conn, Conn];
  readonly client?: TlsClient;
  readonly server?: TlsServer;
};

/** A way to carry TLS. */
export type TlsBackend = {
  readonly name: string;
  readonly tls: Backend | undefined;
  /** Below, where it is over sockets. */
  readonly tcp: AdoptTcp | undefined;
  /** A server of ours. */
  readonly server: (options?: EndOptions) => TlsServer;
  /** A client of ours. */
  readonly client: (options?: EndOptions) => TlsClient;
  /** Serves on TCP. */
  readonly listen: typeof listen;
  /** Two ends of a connection over loopback. */
  readonly tcpPair: () => Promise<[Conn, Conn]>;
  /** Both ends of ours, connected, over what the way is about unless told otherwise. */
  readonly connected: (
    options?: ConnectedOptions,
  ) => Promise<{ readonly client: Conn; readonly server: Conn }>;
};

let engines: NativeTls | undefined;

/** The way to the engine's handles, one for all tests of a file; that there is none fails the test. */
export function requireNativeTls(): NativeTls {
  engines ??= nativeTls();
  assert(engines !== undefined, `the handles of Deno ${Deno.version.deno} are not known`);
  return engines;
}

let backend: Backend | undefined;

/** The native backend, one for all tests of a file. */
export function nativeBackend(): Backend {
  return backend ??= new NativeTlsBackend(requireNativeTls());
}

function way(name: string, native: { readonly tls: boolean; readonly tcp: boolean }): TlsBackend {
  const kind = native.tls ? NativeTlsConn : NodeTlsConn;
  const tls = (): Backend | undefined => native.tls ? nativeBackend() : undefined;
  const tcp = (): AdoptTcp | undefined => native.tcp ? requireNativeTcp() : undefined;
  const self: TlsBackend = {
    name,
    get tls() {
      return tls();
    },
    get tcp() {
      return tcp();
    },
    server: (options = {}) => server({ backend: tls(), ...options }),
    client: (options = {}) => client({ backend: tls(), ...options }),
    listen: (server, serve, decide) => listen(server, serve, decide, tcp()),
    async tcpPair() {
      const pair = await tcpPair(tcp());
      for (const end of pair) assert.equal(end instanceof NativeTcpConn, native.tcp);
      return pair;
    },
    async connected(options = {}) {
      const pair = options.pair ?? (native.tcp ? await self.tcpPair() : memoryPair());
      const ends = await connected({
        pair,
        client: options.client ?? self.client(),
        server: options.server ?? self.server(),
      });
      for (const end of [ends.client, ends.server]) {
        assert(end instanceof kind, `not carried the way that is called ${name}`);
      }
      return ends;
    },
  };
  return self;
}

/** By the engine's public stream, over whatever carries bytes. */
export const PUBLIC: TlsBackend = way("public", { tls: false, tcp: false });
/** By the engine's own handle, over whatever carries bytes. */
export const NATIVE: TlsBackend = way("engine", { tls: true, tcp: false });
/** The same over the runtime's own handles of sockets. */
export const NATIVE_OVER_SOCKETS: TlsBackend = way("engine over sockets", { tls: true, tcp: true });

/** What the source has put off to one of the next turns belongs to the test that it began in. */
async function toTheEnd(body: Promise<void> | void): Promise<void> {
  try {
    await body;
  } finally {
    await turns();
  }
}

/** A test for each way; `ways` where the wire below is the test's own. */
export function testEachBackend(
  name: string,
  body: (way: TlsBackend) => Promise<void>,
  ways: readonly TlsBackend[] = [PUBLIC, NATIVE, NATIVE_OVER_SOCKETS],
): void {
  for (const way of ways) Deno.test(`${name} (${way.name})`, () => toTheEnd(body(way)));
}

/** A test for each way over a wire that the test decides about. */
export function testEachTlsBackend(name: string, body: (way: TlsBackend) => Promise<void>): void {
  testEachBackend(name, body, [PUBLIC, NATIVE]);
}

/** A test whose ends, made wherever, are carried by the engine's public stream, and by its handle. */
export function testPublicAndNative(name: string, body: () => Promise<void> | void): void {
  for (const way of [PUBLIC, NATIVE]) {
    Deno.test(`${name} (${way.name})`, () => toTheEnd(carriedBy(way.tls, body)));
  }
}
