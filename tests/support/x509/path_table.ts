/**
 * Tables of chains with the verdict on each.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Issued } from "../pki.ts";
import { type ValidateOptions, verdictOn } from "./validate.ts";

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
