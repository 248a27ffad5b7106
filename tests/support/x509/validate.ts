/**
 * Runs the path validation on certificates of the tests.
 *
 * @module
 */

import { verifySignature } from "../../../src/tls/signature.ts";
import { parseCertificate } from "../../../src/x509/parse.ts";
import { type PathVerdict, type Purpose, validatePath } from "../../../src/x509/path.ts";
import type { Issued } from "../pki.ts";

/** What a chain is judged by; by default now, as a client's. */
export type ValidateOptions = { readonly purpose?: Purpose; readonly now?: number | Date };

/** A verdict and how many signatures were checked for it. */
export type Validated = { readonly verdict: PathVerdict; readonly checks: number };

/** Judges `presented`, the leaf first, by the bundle `anchors`. */
export function validate(
  presented: readonly Issued[],
  anchors: readonly Issued[],
  options: ValidateOptions = {},
): Validated {
  let checks = 0;
  const verdict = validatePath(presented.map(({ der }) => parseCertificate(der)), {
    anchors: anchors.map(({ der }) => parseCertificate(der)),
    purpose: options.purpose ?? "client",
    now: Number(options.now ?? Date.now()),
    verifySignature: (...args) => {
      checks++;
      return verifySignature(...args);
    },
  });
  return { verdict, checks };
}

/** `ok`, or the fault and its words. */
export function describeVerdict(verdict: PathVerdict): string {
  return verdict.ok ? "ok" : `${verdict.fault}: ${verdict.detail}`;
}

/** The verdict on a chain, in a word or a sentence. */
export function verdictOn(
  presented: readonly Issued[],
  anchors: readonly Issued[],
  options?: ValidateOptions,
): string {
  return describeVerdict(validate(presented, anchors, options).verdict);
}
