/**
 * Why an address could not be bound.
 *
 * @module
 */

/** Why an address could not be bound. */
export type ListenReason =
  | "address in use"
  | "address not available"
  | "name not found"
  | "permission denied"
  | "not permitted"
  | "not found"
  | "other";

/** An address could not be bound. The message names the address and quotes the system's error. */
export class ListenError extends Error {
  /** The name of the class. */
  override readonly name = "ListenError";
  /**
   * The kind of failure. `permission denied` is the system's refusal, `not permitted` a missing
   * Deno permission; `not found` means that the directory of a UNIX socket does not exist.
   */
  readonly reason: ListenReason;

  /** The message says what failed; `cause` carries the system's error. */
  constructor(reason: ListenReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** Advice that a {@linkcode ListenError} adds to the system's message. */
export const HINTS: { readonly [reason in ListenReason]?: string } = {
  "address in use": ", something else listens there",
  "address not available": ", no interface of this machine has it",
  "permission denied": ", ports below 1024 need root or CAP_NET_BIND_SERVICE",
};
