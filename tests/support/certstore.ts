/**
 * What the tests of the certificate store share: a log that remembers, metrics that count, and
 * waiting for conditions.
 *
 * @module
 */

import { CertStore, type CertStoreOptions } from "../../src/certstore/store.ts";
import type { TlsConfig } from "../../src/config/config.ts";
import type { PkiFiles } from "./pki.ts";
import { TestLog } from "./log.ts";
import * as pki from "./pki.ts";

export const RELOADED = "certstore: certificates reloaded successfully";
export const FAILED = "certstore: reload failed, keeping the previous certificates";

/** Counts reloads and remembers the gauges. */
export class TestMetrics {
  /** By `own`, `ca` and `crl`; of a tunnel with a name `NAME.own` and so on. */
  readonly gauges = new Map<string, number>();
  readonly reloads = { success: 0, failure: 0 };

  tunnel(name: string | undefined): ReturnType<CertStoreOptions["metrics"]["tunnel"]> {
    const of = name === undefined ? "" : `${name}.`;
    return {
      certNotAfter: (role: string, epochSeconds: number) =>
        void this.gauges.set(of + role, epochSeconds),
      crlNextUpdate: (epochSeconds: number) => void this.gauges.set(`${of}crl`, epochSeconds),
    };
  }

  /** Of each reload, whether all that the files say was in force then. */
  readonly inForce: (boolean | undefined)[] = [];

  reloaded(result: "success" | "failure", inForce?: boolean): void {
    this.reloads[result]++;
    this.inForce.push(inForce);
  }
}

/** A `tls` block around three paths, and those of revocation lists. */
export function tlsConfig(
  paths: Pick<TlsConfig, "cert" | "key" | "ca"> & Partial<TlsConfig>,
): TlsConfig {
  return {
    crl: [],
    intermediates: undefined,
    requireCloseNotify: false,
    clientAuth: "required",
    alpn: [],
    minVersion: "TLS1.2",
    maxVersion: "TLS1.3",
    handshakeTimeout: 10_000,
    ...paths,
  };
}

/** The server's files as a `tls` block. */
export function serverTls(files: PkiFiles): TlsConfig {
  return tlsConfig({ cert: files.server, key: files.serverKey, ca: files.ca });
}

/** Options of a store with a log and metrics to look at, for one tunnel without a name. */
export function storeOptions(
  tls: TlsConfig,
  more: Partial<CertStoreOptions> = {},
): CertStoreOptions & { logger: TestLog; metrics: TestMetrics } {
  const tunnels = [{ name: undefined, tls, upstream: undefined }] as const;
  return { tunnels, ...more, logger: new TestLog(), metrics: new TestMetrics() };
}

/** Writes a file under another name and renames it into place. */
export async function replaceFile(path: string, text: string): Promise<void> {
  await Deno.writeTextFile(`${path}.new`, text);
  await Deno.rename(`${path}.new`, path);
}

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
