/**
 * Runs the path validation on certificates of the tests.
 *
 * @module
 */

import { verifySignature } from "../../../src/tls/signature.ts";
import { parseCertificate } from "../../../src/x509/parse.ts";
import { type PathResult, type Purpose, validatePath } from "../../../src/x509/path.ts";
import type { Issued } from "../pki.ts";
import { CertificateError } from "../../../src/x509/certificate.ts";
import assert from "node:assert/strict";

/** What a chain is judged by; by default now, as a client's. */
export type ValidateOptions = { readonly purpose?: Purpose; readonly now?: number | Date };

/** A verdict and how many signatures were checked for it. */
export type Validated = { readonly verdict: PathResult; readonly checks: number };

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
export function describeVerdict(verdict: PathResult): string {
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

/** The reader's words, or `undefined` when it takes the certificate. Any other error is thrown on. */
export function refusal(certificate: Uint8Array): string | undefined {
  try {
    parseCertificate(certificate);
    return undefined;
  } catch (error) {
    if (error instanceof CertificateError) return error.message;
    throw error;
  }
}

/** A chain, leaf first, the bundle, and the words of the verdict. */
export type Row = readonly [
  what: string,
  presented: readonly Issued[],
  anchors: readonly Issued[],
  verdict: string,
  options?: ValidateOptions,
];

/** A test that goes through a table. */
export function table(name: string, rows: () => readonly Row[]): void {
  Deno.test({
    name: `path: ${name}`,
    permissions: "none",
    fn() {
      for (const [what, presented, anchors, verdict, options] of rows()) {
        assert.equal(verdictOn(presented, anchors, options), verdict, what);
      }
    },
  });
}

/** The verdict on a chain that leads nowhere. */
export function untrusted(subject: string, issuer: string): string {
  return `untrusted: no chain of valid signatures leads from CN=${subject} to a CA of the bundle; ` +
    `its issuer is CN=${issuer}`;
}

/** The verdict on a chain with a certificate that must not be in it. */
export function bad(subject: string, rest: string): string {
  return `bad_certificate: certificate CN=${subject} ${rest}`;
}
