/**
 * New state for all tunnels, or for none.
 *
 * @module
 */

import type { Tunnel, TunnelState } from "../tunnel.ts";

/** A tunnel, and what decides in it now. */
export type Updatable = { readonly tunnel: Pick<Tunnel, "update">; state: TunnelState };

/**
 * Gives each tunnel its next state, in one turn. If one of them cannot take it, those before it get
 * back what they had, and this throws what that one threw. Connections that the next state has ended
 * by then stay ended.
 */
export function swapAll<T extends Updatable>(
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
