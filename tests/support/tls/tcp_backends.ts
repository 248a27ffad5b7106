/**
 * The ways to carry a TCP connection, for tests that have to hold for each of them: by the runtime's
 * public interface, and by its own handles.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Conn } from "../../../src/net/conn.ts";
import { type AdoptTcp, openTcp, TcpConn } from "../../../src/net/mod.ts";
import { nativeTcp } from "../../../src/native/tcp.ts";
import { NativeTcpConn } from "../../../src/native/tcp_conn.ts";

/** A way to carry a TCP connection. */
export type TcpBackend = {
  /** What it is called. */
  readonly name: "public" | "native";
  /** For the options that ask how. */
  readonly adopt: AdoptTcp | undefined;
  /** Fails unless the connection is carried this way. */
  readonly check: (conn: Conn) => void;
};

let adopt: AdoptTcp | undefined;

/** The way to native handles, one for all tests of a file; that there is none fails the test. */
export function requireNativeTcp(): AdoptTcp {
  if (adopt === undefined) {
    const handles = nativeTcp();
    assert.ok(handles !== undefined, `the handles of Deno ${Deno.version.deno} are not known`);
    adopt = NativeTcpConn.adopter(handles);
  }
  return adopt;
}

function way(name: TcpBackend["name"]): TcpBackend {
  const kind = name === "public" ? TcpConn : NativeTcpConn;
  return {
    name,
    get adopt() {
      return name === "public" ? undefined : requireNativeTcp();
    },
    check: (conn) => assert.ok(conn instanceof kind, `not carried the ${name} way`),
  };
}

/** By `Deno.TcpConn`. */
export const TCP_PUBLIC: TcpBackend = way("public");
/** By the runtime's own handles. */
export const TCP_NATIVE: TcpBackend = way("native");
/** All of them. */
export const TCP_BACKENDS: readonly TcpBackend[] = [TCP_PUBLIC, TCP_NATIVE];

/** A test for each way. */
export function testEachTcpBackend(
  name: string,
  body: (way: TcpBackend) => Promise<void> | void,
): void {
  for (const way of TCP_BACKENDS) Deno.test(`${name} (${way.name})`, () => body(way));
}

/** Two ends of a TCP connection over loopback. */
export async function tcpPair(adopt?: AdoptTcp): Promise<[Conn, Conn]> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  try {
    const accepted = listener.accept();
    const dialled = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
    return [openTcp(dialled, adopt), openTcp(await accepted, adopt)];
  } finally {
    listener.close();
  }
}
