/**
 * What counts as a failure of a target, after which another is tried.
 *
 * A target that does not get through the handshake, whose certificate is not good, or whom the rules
 * keep out has failed like one that refuses: the next is verified in full by its own name, so whoever
 * makes one target fail gains no more than that another that the config names takes the connection.
 *
 * @module
 */

import { formatAddress } from "../config/address.ts";
import type { Address, NonEmpty } from "../config/config.ts";
import { DialError } from "../net.ts";
import { HandshakeCut, HandshakeError } from "../tls/handshake.ts";

/** The rules keep a target out whose certificate is good. */
export class TargetDenied extends Error {
  /** The name of the class. */
  override readonly name = "TargetDenied";
}

/** In what a target failed: to be reached, in its handshake, or before the rules. */
export type FailureKind = "dial" | "handshake" | "denied";

/** One try that failed. */
export type TargetFailure = {
  readonly kind: FailureKind;
  /** Which target, in the order of the config. */
  readonly index: number;
  /** What was dialled: the target's address, or one of the addresses of its name. */
  readonly address: Address;
  readonly error: DialError | HandshakeError | TargetDenied;
};

/** No target took the connection. */
export class NoTarget extends Error {
  /** The name of the class. */
  override readonly name = "NoTarget";
  /** Every try, in order; never empty. */
  readonly failures: NonEmpty<TargetFailure>;

  /** The message has each failure's. */
  constructor(failures: NonEmpty<TargetFailure>) {
    const [first, ...more] = failures;
    const words = ({ address, error }: TargetFailure) =>
      error instanceof DialError ? error.message : `"${formatAddress(address)}": ${error.message}`;
    super(
      more.length === 0 ? first.error.message : failures.map(words).join("; "),
      { cause: failures.at(-1)?.error },
    );
    this.failures = failures;
  }
}

/** A failure of the target; `undefined` for what says nothing of it: a try called off, a fault of ours. */
export function failureOf(
  error: unknown,
): Pick<TargetFailure, "kind" | "error"> | undefined {
  if (error instanceof DialError) {
    return error.reason === "aborted" ? undefined : { kind: "dial", error };
  }
  if (error instanceof HandshakeError) {
    return error instanceof HandshakeCut ? undefined : { kind: "handshake", error };
  }
  return error instanceof TargetDenied ? { kind: "denied", error } : undefined;
}

/** Whether more time might have helped. */
export function isSlow({ error }: Pick<TargetFailure, "error">): boolean {
  return !(error instanceof TargetDenied) && error.reason === "timeout";
}
