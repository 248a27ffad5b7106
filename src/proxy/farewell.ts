/**
 * Closes a connection cleanly when nothing broke.
 *
 * @module
 */

import type { Channel } from "../channel.ts";

/** Milliseconds that a peer has to receive the end of a connection that we close. */
export const FAREWELL = 250;

/**
 * Ends a connection cleanly, with close_notify over TLS, waits up to {@linkcode FAREWELL}
 * milliseconds for the peer to do the same, and closes it. Bytes that still arrive are read and
 * dropped, because closing a socket with unread bytes resets it. Never rejects.
 */
export async function takeLeave(channel: Channel): Promise<void> {
  const timer = setTimeout(() => channel.close(), FAREWELL);
  try {
    await Promise.all([channel.closeWrite(), channel.pump(() => undefined)]);
  } catch {
    // The connection broke, or the time is up.
  } finally {
    clearTimeout(timer);
    channel.close();
  }
}
