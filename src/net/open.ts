/**
 * Wraps a connection of the runtime as a channel, natively where possible.
 *
 * @module
 */

import type { Channel } from "../channel.ts";
import { TcpChannel } from "./channel.ts";
import type { NativeTcp } from "./native.ts";
import { NativeChannel } from "./native_channel.ts";

/** Takes over `conn`: on its native handle where there is one, else as it is. */
export function openChannel(conn: Deno.TcpConn, native: NativeTcp | undefined): Channel {
  try {
    const channel = native === undefined ? undefined : NativeChannel.adopt(native, conn);
    return channel ?? new TcpChannel(conn);
  } catch (error) {
    // The caller has no channel to close.
    conn.close();
    throw error;
  }
}
