/**
 * Wraps a connection of the runtime as a connection, natively where possible.
 *
 * @module
 */

import type { Conn } from "./conn.ts";
import { TcpConn } from "./socket_conn.ts";
import type { NativeTcp } from "../native/tcp.ts";
import { NativeTcpConn } from "../native/tcp_conn.ts";

/** Takes over `conn`: on its native handle where there is one, else as it is. */
export function openConn(socket: Deno.TcpConn, native: NativeTcp | undefined): Conn {
  try {
    const conn = native === undefined ? undefined : NativeTcpConn.adopt(native, socket);
    return conn ?? new TcpConn(socket);
  } catch (error) {
    // The caller has no connection to close.
    socket.close();
    throw error;
  }
}
