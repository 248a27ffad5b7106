/**
 * What the data plane sends to the control plane. Plain data only, as in `snapshot.ts`. The counters
 * are not sent: they are in shared memory, see `metrics/counters.ts`.
 *
 * @module
 */

import type { LogRecord } from "./log/mod.ts";
import type { ListenReason } from "./net/mod.ts";

/**
 * Version of these types and of the layout of the counters. The control plane does not start with a
 * data plane of another version.
 */
export const PROTOCOL = 1;

/** All tunnels serve. */
export type Started = {
  readonly kind: "started";
  /** {@linkcode PROTOCOL} of the sender. */
  readonly protocol: number;
  /** Maximum number of native handles, each of which takes a second descriptor; 0 without them. */
  readonly nativeHandles: number;
};

/** The start failed. The tunnels that had started by then serve until they are drained or cut. */
export type NotStarted = {
  readonly kind: "not_started";
  readonly message: string;
  /** Present if an address could not be bound. `tunnel` is the index in the snapshot. */
  readonly listen?: { readonly tunnel: number; readonly reason: ListenReason };
};

/** How a drain ended: all connections ended by themselves, or some had to be cut. */
export type Drained = "clean" | "cut";

/** One message from the data plane. */
export type Report =
  | { readonly kind: "log"; readonly record: LogRecord }
  | Started
  | NotStarted
  /** `error` says why all tunnels keep their previous states; `undefined` after a success. */
  | { readonly kind: "updated"; readonly error: string | undefined }
  /** Whether a tunnel accepts connections, as far as is known. */
  | { readonly kind: "tunnel"; readonly tunnel: number; readonly accepting: boolean }
  | { readonly kind: "drained"; readonly result: Drained };
