/**
 * Wraps a connection of the runtime as a connection, natively where possible.
 *
 * @module
 */

import type { Conn } from "../channel.ts";
import { TcpConn } from "./channel.ts";
import type { NativeTcp } from "./native.ts";
import { NativeTcpConn } from "./native_channel.ts";

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
