/**
 * `mtlsd certs`: creates a CA, a server and a client certificate for tests and writes them to a
 * directory: `ca.pem`, `server.pem`, `server-key.pem`, `client.pem`, `client-key.pem`, and
 * `ca-key.pem` if the CA's key is to be kept.
 *
 * The six files are one set. Without `--force`, an existing file of the set is an error. With it,
 * the whole set is replaced: an old `ca-key.pem` is removed even if the new CA's key is not kept,
 * because the new `ca.pem` would not verify what it signs.
 *
 * @module
 */

import { formatTime } from "../certstore/certificates.ts";
import type { Command } from "../cli/mod.ts";
import { StoreError, storeFiles } from "../pki/store.ts";
import type { NewFile, StoreResult } from "../pki/store.ts";
import type { Pki } from "../pki/mod.ts";
import type { CommandIo } from "./load_config.ts";

/** The arguments of the command; the directory is created if it does not exist. */
export type CertsCommand = Extract<Command, { kind: "certs" }>;

const CA_KEY = "ca-key.pem";

/**
 * Creates the certificates, writes them and lists them. Returns the exit status: 0 if all were
 * written, 1 if not, 2 if a Deno permission is missing. Errors are one line on `io.stderr`.
 */
export async function certs(command: CertsCommand, io: CommandIo): Promise<number> {
  // Imported here and nowhere else, so that the daemon never loads the certificate library.
  const { makePki } = await import("../pki/mod.ts");
  const pki = await makePki();
  const { keepCaKey, force, out } = command;
  try {
    const stale = keepCaKey ? [] : [CA_KEY];
    const result = await storeFiles(out, filesOf(pki, keepCaKey), { force, stale });
    for (const line of report(pki, result, keepCaKey)) io.stdout(line);
    return 0;
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    io.stderr(error.message);
    return error.reason === "grant" ? 2 : 1;
  }
}

function filesOf({ ca, server, client }: Pki, keepCaKey: boolean): NewFile[] {
  return [
    { name: "ca.pem", content: ca.certificate, secret: false },
    ...(keepCaKey ? [{ name: CA_KEY, content: ca.key, secret: true }] : []),
    { name: "server.pem", content: server.certificate, secret: false },
    { name: "server-key.pem", content: server.key, secret: true },
    { name: "client.pem", content: client.certificate, secret: false },
    { name: "client-key.pem", content: client.key, secret: true },
  ];
}

function report(pki: Pki, result: StoreResult, keepCaKey: boolean): string[] {
  const names = (pair: { readonly names: readonly string[] }): string => pair.names.join(", ");
  const about: Readonly<Record<string, string>> = {
    "ca.pem": `CA       ${names(pki.ca)}`,
    [CA_KEY]: "key of the CA: every reader of it can sign new peers",
    "server.pem": `server   ${names(pki.server)}`,
    "server-key.pem": "key of the server",
    "client.pem": `client   ${names(pki.client)}`,
    "client-key.pem": "key of the client",
  };
  const width = Math.max(...result.written.map((path) => path.length));
  const end = formatTime(pki.notAfter.getTime());
  return [
    ...result.written.map((path) =>
      `${path.padEnd(width)}  ${about[path.slice(path.search(/[^/\\]*$/))] ?? ""}`
    ),
    ...result.removed.map((path) => `removed ${path}: it belonged to the CA before`),
    `All three are valid until ${end} (${pki.days} days).`,
    keepCaKey
      ? `Keep ${CA_KEY} away from the machines that use the certificates.`
      : "The CA's key was not kept: nothing more can be signed with it.",
  ];
}
