/**
 * Why an address could not be listened on.
 *
 * @module
 */

/** Why an address could not be listened on, in short. */
export type ListenReason =
  | "address in use"
  | "address not available"
  | "name not found"
  | "permission denied"
  | "not permitted"
  | "not found"
  | "other";

/** An address could not be listened on; the message says which and has the system's words. */
export class ListenError extends Error {
  /** The name of the class. */
  override readonly name = "ListenError";
  /**
   * The kind of failure: `permission denied` is the system's word, `not permitted` Deno's; `not found`:
   * there is no directory for a UNIX socket.
   */
  readonly reason: ListenReason;

  /** Says what failed; `cause` carries the system's own error. */
  constructor(reason: ListenReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** What a {@linkcode ListenError} says besides the system's words. */
export const HINTS: { readonly [reason in ListenReason]?: string } = {
  "address in use": ", something else listens there",
  "address not available": ", no interface of this machine has it",
  "permission denied": ", ports below 1024 need root or CAP_NET_BIND_SERVICE",
};
