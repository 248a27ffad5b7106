/**
 * Loading from memory, and the certificates that the tests of loading share.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { KeyObject } from "node:crypto";
import { CredentialError, loadCredentials } from "../../src/certstore/load.ts";
import type { Credentials } from "../../src/x509/credentials.ts";
import * as pki from "./pki.ts";

export const NOW = Date.now();
export const DAY = 86_400_000;

/** Contents by path: `cert`, `key`, `ca`, or `combined` in place of the first two. */
export type Files = Readonly<Record<string, string | Uint8Array | Error>>;

/** Loads from memory. */
export function load(files: Files, now = NOW): Promise<Credentials> {
  const tls = {
    cert: "cert" in files ? "cert" : "combined",
    key: "key" in files ? "key" : "combined",
    ca: "ca" in files ? "ca" : undefined,
  };
  const readFile = (path: string): Promise<Uint8Array> => {
    const content = files[path];
    if (content === undefined) return Promise.reject(new Deno.errors.NotFound("gone"));
    if (content instanceof Error) return Promise.reject(content);
    return Promise.resolve(
      typeof content === "string" ? new TextEncoder().encode(content) : content,
    );
  };
  return loadCredentials(tls, { readFile, now: () => now });
}

/** What is said of files that are refused. */
export async function refusal(files: Files, now = NOW): Promise<CredentialError> {
  try {
    await load(files, now);
  } catch (error) {
    assert(error instanceof CredentialError, String(error));
    return error;
  }
  assert.fail("was not refused");
}

export const ca = pki.makeCa();
export const leaf = pki.makeLeaf({ subject: "own" }, ca);
export const rsaLeaf = pki.makeLeaf({ kind: "rsa2048", subject: "rsa" }, ca);
export const sound = { cert: leaf.pem, key: leaf.keyPem, ca: ca.pem };
export const intermediate = pki.makeCa({ subject: "intermediate", issuer: ca });
export const deep = pki.makeLeaf({ subject: "deep" }, intermediate);
export const deepKey = { key: deep.keyPem, ca: ca.pem };

/** A sound set of files but for the leaf. */
export function leafFiles(options: pki.LeafOptions): Files {
  const made = pki.makeLeaf({ subject: "own", ...options }, ca);
  return { cert: made.pem, key: made.keyPem, ca: ca.pem };
}

/** The key as PKCS#8, DER. */
export function pkcs8(key: KeyObject): Uint8Array {
  return new Uint8Array(key.export({ type: "pkcs8", format: "der" }));
}
