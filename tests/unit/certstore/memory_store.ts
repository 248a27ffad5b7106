/**
 * A store over files in memory.
 *
 * @module
 */

import { CertStore } from "../../../src/certstore/store.ts";
import * as pki from "../../support/pki.ts";
import {
  storeOptions,
  type TestLog,
  type TestMetrics,
  tlsConfig,
} from "../../support/certstore.ts";

export const first = pki.testPki();
export const second = pki.testPki();

/** The contents of the files of a PKI. */
export function files(made: pki.TestPki): Map<string, string | Error> {
  return new Map([["cert", made.server.pem], ["key", made.server.keyPem], ["ca", made.ca.pem]]);
}

export const paths = tlsConfig({ cert: "cert", key: "key", ca: "ca" });

/** A reader of files in memory that can be changed under it. */
export function memory(
  contents: ReadonlyMap<string, string | Error>,
): (path: string) => Promise<Uint8Array> {
  return (path) => {
    const content = contents.get(path) ?? new Deno.errors.NotFound("gone");
    return content instanceof Error
      ? Promise.reject(content)
      : Promise.resolve(new TextEncoder().encode(content));
  };
}

/** A store, and what it told. */
export type Opened = {
  readonly store: CertStore;
  readonly swapped: readonly string[];
  readonly log: TestLog;
  readonly metrics: TestMetrics;
};

/** An open store over files in memory. */
export async function open(
  contents: Map<string, string | Error>,
  now: () => number = Date.now,
): Promise<Opened> {
  const swapped: string[] = [];
  const options = storeOptions(paths, {
    readFile: memory(contents),
    onSwap: () => void swapped.push(store.current.leaf.serial),
    now,
    timing: { settle: 300 },
  });
  const store: CertStore = await CertStore.open(options);
  return { store, swapped, log: options.logger, metrics: options.metrics };
}

/** Writes all files of a PKI. */
export function become(contents: Map<string, string | Error>, made: pki.TestPki): void {
  for (const [path, text] of files(made)) contents.set(path, text);
}
