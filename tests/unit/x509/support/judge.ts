/**
 * Runs the path validation on certificates of the tests.
 *
 * @module
 */

import { verifySignature } from "../../../../src/tls/signature.ts";
import { parseCertificate } from "../../../../src/x509/parse.ts";
import { type PathVerdict, type Purpose, validatePath } from "../../../../src/x509/path.ts";
import type { Issued } from "../../../support/pki.ts";

/** What a chain is judged by; by default now, as a client's. */
export type JudgeOptions = { readonly purpose?: Purpose; readonly now?: number | Date };

/** A verdict and how many signatures were checked for it. */
export type Judged = { readonly verdict: PathVerdict; readonly checks: number };

/** Judges `presented`, the leaf first, by the bundle `anchors`. */
export function judge(
  presented: readonly Issued[],
  anchors: readonly Issued[],
  options: JudgeOptions = {},
): Judged {
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
export function say(verdict: PathVerdict): string {
  return verdict.ok ? "ok" : `${verdict.fault}: ${verdict.detail}`;
}

/** The verdict on a chain, in a word or a sentence. */
export function verdictOn(
  presented: readonly Issued[],
  anchors: readonly Issued[],
  options?: JudgeOptions,
): string {
  return say(judge(presented, anchors, options).verdict);
}
