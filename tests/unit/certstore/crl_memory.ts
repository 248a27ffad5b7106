/**
 * Loading revocation lists from memory.
 *
 * @module
 */

import assert from "node:assert/strict";
import { CredentialError, loadCredentials } from "../../../src/certstore/load.ts";
import type { Credentials } from "../../../src/x509/credentials.ts";
import { type CrlOptions, makeCrl } from "../../support/crl.ts";
import * as pki from "../../support/pki.ts";
import { NOW } from "../../support/credential_files.ts";

export const ca = pki.makeCa({ subject: "acme CA" });
export const own = pki.makeLeaf({ subject: "own" }, ca);
export const peer = pki.makeLeaf({ subject: "peer" }, ca);
export const inter = pki.makeCa({ subject: "acme issuing CA", issuer: ca });
export const deep = pki.makeLeaf({ subject: "deep" }, inter);

/** What a file holds, or why it cannot be read. */
export type Content = string | Uint8Array | Error;

/**
 * Files in memory; those whose names begin with `crl` are named in `tls.crl`, `intermediates` in
 * `tls.intermediates`.
 */
export function load(more: Readonly<Record<string, Content>>, now = NOW): Promise<Credentials> {
  const files: Readonly<Record<string, Content>> = {
    cert: own.pem,
    key: own.keyPem,
    ca: ca.pem,
    ...more,
  };
  const crl = Object.keys(files).filter((path) => path.startsWith("crl"));
  const readFile = (path: string): Promise<Uint8Array> => {
    const content = files[path] ?? new Deno.errors.NotFound("gone");
    if (content instanceof Error) return Promise.reject(content);
    const text = typeof content === "string";
    return Promise.resolve(text ? new TextEncoder().encode(content) : content);
  };
  const intermediates = "intermediates" in files ? "intermediates" : undefined;
  const tls = { cert: "cert", key: "key", ca: "ca", crl, intermediates };
  return loadCredentials(tls, { readFile, now: () => now });
}

/** The lists of a file, and the own chain that its issuer may be in. */
export const withDeep = (crl: Content): Readonly<Record<string, Content>> => ({
  cert: pki.chainPem(deep, inter),
  key: deep.keyPem,
  crl,
});

/** What is said of files that are refused. */
export async function refusal(
  files: Readonly<Record<string, Content>>,
  now = NOW,
): Promise<CredentialError> {
  try {
    await load(files, now);
  } catch (error) {
    assert(error instanceof CredentialError, String(error));
    return error;
  }
  assert.fail("was not refused");
}

/** A list in PEM. */
export const crl = (options: CrlOptions = {}, issuer = ca): string => makeCrl(issuer, options).pem;
