/**
 * A native channel and what a test holds at its other end.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type Conn, ConnError, type ConnFault } from "../../src/net/conn.ts";
import { listenTcp } from "../../src/net/mod.ts";
import { openTcp } from "../../src/net/mod.ts";
import { Peer } from "./sockets.ts";
import type { TcpBackend } from "./tls/tcp_backends.ts";

/** A channel and the plain socket at its other end, both closed at the end of the scope. */
export type Facing = { readonly conn: Conn; readonly socket: Deno.TcpConn } & Disposable;

/** A channel that faces a socket which reads and ends only as it is told to. */
export async function facing({ adopt, check }: TcpBackend): Promise<Facing> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  try {
    const accepted = listener.accept();
    const far = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
    const conn = openTcp(await accepted, adopt);
    check(conn);
    return {
      conn,
      socket: far,
      [Symbol.dispose]: () => {
        conn.close();
        far[Symbol.dispose]();
      },
    };
  } finally {
    listener.close();
  }
}

/** A channel that faces a peer which can send RST. */
export async function facingPeer(
  { adopt, check }: TcpBackend,
): Promise<{ readonly conn: Conn; readonly peer: Peer } & AsyncDisposable> {
  const listener = listenTcp({ host: "127.0.0.1", port: 0 }, { adopt });
  try {
    const [conn, peer] = await Promise.all([listener.accept(), Peer.connect(listener.port)]);
    check(conn);
    return {
      conn,
      peer,
      [Symbol.asyncDispose]: async () => {
        conn.close();
        await peer[Symbol.asyncDispose]();
      },
    };
  } finally {
    listener.close();
  }
}

/** Whether an error is a channel's with this fault. */
export function fault(expected: ConnFault): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof ConnError, String(error));
    assert.equal(error.fault, expected, error.message);
    return true;
  };
}

/** A few turns of the event loop: what has happened by now was told. */
export async function turns(count = 5): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((done) => setTimeout(done, 0));
}
