/**
 * Closes a connection cleanly when nothing broke.
 *
 * @module
 */

import type { Conn } from "../net/conn.ts";

/** Milliseconds that a peer has to receive the end of a connection that we close. */
export const CLOSE_GRACE = 250;

/**
 * Ends a connection cleanly, with close_notify over TLS, waits up to {@linkcode CLOSE_GRACE}
 * milliseconds for the peer to do the same, and closes it. Bytes that still arrive are read and
 * dropped, because closing a socket with unread bytes resets it. Never rejects.
 */
export async function closeGracefully(conn: Conn): Promise<void> {
  const timer = setTimeout(() => conn.close(), CLOSE_GRACE);
  try {
    await Promise.all([conn.closeWrite(), conn.pipeTo(() => undefined)]);
  } catch {
    // The connection broke, or the time is up.
  } finally {
    clearTimeout(timer);
    conn.close();
  }
}
