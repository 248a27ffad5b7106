/**
 * The end of a connection that we end, where nothing broke.
 *
 * @module
 */

import type { Channel } from "../channel.ts";

/** Milliseconds that a peer has to take the end of a connection that we end. */
export const FAREWELL = 250;

/**
 * Ends a connection in good order, over TLS with close_notify, as far as the peer takes that in
 * {@linkcode FAREWELL} milliseconds, and closes it. What still comes is read and dropped: a socket that is
 * closed with unread bytes is reset. Never rejects.
 */
export async function takeLeave(channel: Channel): Promise<void> {
  const timer = setTimeout(() => channel.close(), FAREWELL);
  try {
    await Promise.all([channel.closeWrite(), channel.pump(() => undefined)]);
  } catch {
    // It broke, or the time is up: there is no one left to tell.
  } finally {
    clearTimeout(timer);
    channel.close();
  }
}
