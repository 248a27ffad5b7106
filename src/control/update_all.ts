/**
 * Updates the state of all tunnels, or of none.
 *
 * @module
 */

import type { Tunnel, TunnelState } from "../proxy/tunnel.ts";

/** A tunnel and its current state. */
export type Updatable = { readonly tunnel: Pick<Tunnel, "update">; state: TunnelState };

/**
 * Gives each tunnel its next state, in one turn of the event loop. If one of them rejects its
 * state, those before it get their previous state back and the error is thrown. Connections that
 * the next state has already closed stay closed.
 */
export function updateAll<T extends Updatable>(
  tunnels: readonly T[],
  next: (of: T) => TunnelState,
): void {
  const states = tunnels.map((one) => [one, next(one)] as const);
  const undo: (() => void)[] = [];
  try {
    for (const [one, state] of states) {
      const previous = one.state;
      one.tunnel.update(state);
      one.state = state;
      undo.push(() => {
        one.state = previous;
        one.tunnel.update(previous);
      });
    }
  } catch (error) {
    for (const step of undo) step();
    throw error;
  }
}
