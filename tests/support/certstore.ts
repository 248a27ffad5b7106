/**
 * What the tests of the certificate store share: a log that remembers, metrics that count, and
 * waiting for conditions.
 *
 * @module
 */

import type { CertStoreOptions } from "../../src/certstore/store.ts";
import type { TlsConfig } from "../../src/config/config.ts";
import type { PkiFiles } from "./pki.ts";

/** One record of a {@linkcode TestLog}. */
export type TestRecord = {
  readonly level: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
};

/** A log that remembers. */
export class TestLog {
  readonly records: TestRecord[] = [];
  readonly debug = this.#level("debug");
  readonly info = this.#level("info");
  readonly warn = this.#level("warn");
  readonly error = this.#level("error");

  #level(level: string): (message: string, fields?: TestRecord["fields"]) => void {
    return (message, fields = {}) => void this.records.push({ level, message, fields });
  }

  of(message: string): TestRecord[] {
    return this.records.filter((record) => record.message === message);
  }
}

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

/** Waits until a condition holds. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  limit = 60_000,
): Promise<void> {
  const deadline = Date.now() + limit;
  while (!await condition()) {
    if (Date.now() > deadline) throw new Error(`Cannot wait any longer: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A directory that is gone after the test. */
export async function tempDir(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await Deno.makeTempDir({ prefix: "certstore" });
  return {
    path,
    async [Symbol.asyncDispose]() {
      await Deno.remove(path, { recursive: true });
    },
  };
}

/** Writes a file under another name and renames it into place. */
export async function replaceFile(path: string, text: string): Promise<void> {
  await Deno.writeTextFile(`${path}.new`, text);
  await Deno.rename(`${path}.new`, path);
}
