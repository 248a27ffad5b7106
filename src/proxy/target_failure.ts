/**
 * What counts as a failure of a target, after which another is tried.
 *
 * A target that fails the handshake, whose certificate does not verify, or that the rules deny
 * counts as failed, like one that refuses the connection. The next target is verified in full, with
 * its own name. So an attacker who makes one target fail only achieves that another configured
 * target is used.
 *
 * @module
 */

import { formatAddress } from "../config/address.ts";
import type { Address, NonEmpty } from "../config/config.ts";
import { DialError } from "../net/mod.ts";
import { HandshakeCut, HandshakeError } from "../tls/handshake.ts";

/** The rules deny a target whose certificate is valid. */
export class TargetDenied extends Error {
  /** The name of the class. */
  override readonly name = "TargetDenied";
}

/** Where a target failed: dialling, the handshake, or authorization. */
export type FailureKind = "dial" | "handshake" | "denied";

/** One failed attempt. */
export type TargetFailure = {
  readonly kind: FailureKind;
  /** The target's position in the config. */
  readonly index: number;
  /** The address that was dialled: the target's, or one of the addresses of its name. */
  readonly address: Address;
  readonly error: DialError | HandshakeError | TargetDenied;
};

/** No target accepted the connection. */
export class NoTarget extends Error {
  /** The name of the class. */
  override readonly name = "NoTarget";
  /** Every attempt, in order; never empty. */
  readonly failures: NonEmpty<TargetFailure>;

  /** The message includes that of each failure. */
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

/**
 * Classifies a failure of the target; `undefined` for errors that say nothing about it: a cancelled
 * attempt, a failure of our code.
 */
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
