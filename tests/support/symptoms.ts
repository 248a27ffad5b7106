/**
 * What foreign clients say when something goes wrong, and what the table of the chapter says that they
 * do.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import type { TestDaemon } from "./daemon.ts";
import { sClient } from "./openssl.ts";
import { sh } from "./peers.ts";
import { code, table } from "./readme.ts";
import { until } from "./wait.ts";

/** Clients whose words are produced here; those of others stand in the table all the same. */
export type Tool = "curl" | "openssl" | "Node" | "nc";

/** What was said, by each of them that was asked. */
export type Said = Readonly<Partial<Record<Tool, string>>>;

/** One fault, as the table tells it. */
export type Row = {
  readonly fault: string;
  /** Words in backticks behind the name of a client. */
  readonly words: ReadonlyMap<string, readonly string[]>;
  /** Words in backticks about the log. */
  readonly log: readonly string[];
};

/** `curl: `...`, `...``, of whatever client. */
const SAYING = /\b(curl|openssl|Go|Java|Node|nc): ((?:`[^`]+`(?:, )?)+)/g;

/** The table; "the same" is what the row above has. */
export function symptoms(): readonly Row[] {
  const rows: Row[] = [];
  for (const [fault = "", seen = "", logged = ""] of table("fault")) {
    const words = new Map<string, readonly string[]>();
    for (const [, tool = "", text = ""] of seen.matchAll(SAYING)) {
      words.set(tool, [...words.get(tool) ?? [], ...code(text)]);
    }
    const same = seen.startsWith("the same") ? rows.at(-1)?.words : undefined;
    rows.push({ fault, words: same ?? words, log: code(logged) });
  }
  return rows;
}

/** The row of a fault. */
export function symptom(fault: string): Row {
  const row = symptoms().find((one) => one.fault === fault);
  assert.ok(row !== undefined, `the chapter has no fault "${fault}"`);
  return row;
}

/** Whether each client has said what the table says of it. Every one that is in the table was asked. */
export function assertSaid({ fault, words }: Row, said: Said): void {
  for (const tool of ["curl", "openssl", "Node", "nc"] as const) {
    const wanted = words.get(tool) ?? [];
    const text = said[tool];
    assert.equal(text === undefined, wanted.length === 0, `${fault}: ${tool}`);
    for (const word of wanted) {
      assert.ok(text?.includes(word), `${fault}: ${tool}: ${word}\n${text}`);
    }
  }
}

/**
 * Waits until the log has the words of the row, from a line on: all in one line, where `apart` does not
 * say that they are logged one after the other.
 */
export async function logged(
  daemon: TestDaemon,
  fault: string,
  from: number,
  { apart = false }: { readonly apart?: boolean } = {},
): Promise<void> {
  const { log } = symptom(fault);
  assert.ok(log.length > 0, `the chapter has no words of the log about "${fault}"`);
  const isIn = (raw: string) => (word: string) => raw.includes(word);
  await until(() => {
    const lines = daemon.lines.slice(from).map(({ raw }) => raw);
    return apart
      ? log.every((word) => lines.some((raw) => raw.includes(word)))
      : lines.some((raw) => log.every(isIn(raw)));
  }, { what: () => `${fault}: ${log} in:\n${daemon.log}`, within: 60_000 });
}

/** Where clients find the server, and `certs/`: a chapter is one. */
export type Place = { readonly host: string; readonly dir: string };

/** The same certificates, for a server at 127.0.0.1. */
export function onLoopback({ dir }: Place): Place {
  return { dir, host: "127.0.0.1" };
}

/** How a client goes about it. */
export type Asking = {
  readonly port: number;
  /** Whose certificate is shown; default: none. */
  readonly identity?: string | undefined;
  /** Whom it trusts; default: the CA of the chapter. */
  readonly ca?: string;
  /** Flags of curl and of openssl, options of Node's `https.get`. */
  readonly curl?: string;
  readonly openssl?: readonly string[];
  readonly node?: Readonly<Record<string, unknown>>;
};

/** What curl says: its answer and its error. */
export async function curlSays(
  { host, dir }: Place,
  { port, identity, ca = "ca", curl = "" }: Asking,
): Promise<string> {
  const own = identity === undefined
    ? ""
    : `--cert certs/${identity}.pem --key certs/${identity}-key.pem`;
  const { stdout, stderr } = await sh(
    `curl --silent --show-error --max-time 10 --cacert certs/${ca}.pem ${own} ${curl} ` +
      `--connect-to localhost:${port}:${host}:${port} https://localhost:${port}/`,
    { cwd: dir },
  );
  return stdout + stderr;
}

/** What `openssl s_client` says, up to the end of the connection. */
export async function opensslSays(
  { host, dir }: Place,
  { port, identity, ca = "ca", openssl = [] }: Asking,
): Promise<string> {
  const file = (name: string) => join(dir, "certs", name);
  const own = identity === undefined
    ? []
    : ["-cert", file(`${identity}.pem`), "-key", file(`${identity}-key.pem`)];
  await using client = sClient(
    port,
    // The last one counts.
    ...["-connect", `${host}:${port}`, "-CAfile", file(`${ca}.pem`), "-servername", "localhost"],
    ...["-verify_return_error", "-verify_hostname", "localhost", ...own, ...openssl],
  );
  await client.ends();
  return client.said;
}

/** What Node says: its status, or the code and the words of its error. */
export async function nodeSays(
  { host, dir }: Place,
  { port, identity, ca = "ca", node = {} }: Asking,
): Promise<string> {
  const own = identity === undefined ? "-" : `certs/${identity}.pem`;
  const script = join(import.meta.dirname ?? ".", "node_client.mjs");
  const trust = ca === "plain" ? ca : `certs/${ca}.pem`;
  const { stdout, stderr } = await sh(
    `node ${script} ${host} ${port} ${trust} ${own} certs/${identity}-key.pem ` +
      `'${JSON.stringify(node)}'`,
    { cwd: dir },
  );
  return stdout + stderr;
}

/** What all three say. */
export async function allSay(place: Place, asking: Asking): Promise<Said> {
  const [curl, openssl, node] = await Promise.all([
    curlSays(place, asking),
    opensslSays(place, asking),
    nodeSays(place, asking),
  ]);
  return { curl, openssl, Node: node };
}
