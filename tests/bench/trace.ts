/**
 * The files and functions that one connection runs through, from accept to its outcome, counted by
 * V8's coverage in a real daemon: `deno task trace-connection --help`.
 *
 * The daemon is warmed up first. Then connections come one at a time, and what counts is each
 * function that every one of them calls: what runs at the start only, and what a timer happens to
 * run meanwhile, does not.
 *
 * @module
 */

import assert from "node:assert/strict";
import tls from "node:tls";
import { parseArgs } from "node:util";
import { connectTls, echoBackend } from "../support/peers.ts";
import { TestBed } from "../support/testbed.ts";
import type { Call } from "./trace_preload.ts";

/** What the preloaded module logs when it listens. */
const LISTENING = "trace: listening";

const MODES = ["server", "client", "bridge"] as const;

/** A mode of the daemon. */
export type Mode = typeof MODES[number];

/** How many files and functions of `src/`. */
export type Size = { readonly files: number; readonly functions: number };

/**
 * The most that a connection may run through. The aim in server mode is 25 files and 150 functions:
 * lower these numbers whenever the tree allows, and raise none of them.
 */
export const BUDGET: Readonly<Record<Mode, Size>> = {
  server: { files: 44, functions: 281 },
  client: { files: 45, functions: 279 },
  bridge: { files: 46, functions: 292 },
};

/** Connections before the first that counts, and how many count. */
const WARM_UP = 5;
const COUNTED = 12;

const HELP = `Usage: deno task trace-connection [--mode server|client|bridge] [--files]

Counts the files and functions of src/ that one warm connection runs through.
Exits with 1 where they are more than the budget in tests/bench/trace.ts.

  --mode MODE  the daemon's mode; default server
  --files      list every file with its functions
`;

/** The functions that are in each of the lists. */
function inEach([first = [], ...others]: readonly (readonly Call[])[]): Call[] {
  const key = ({ file, offset, name }: Call) => `${file}:${offset}:${name}`;
  const keys = others.map((calls) => new Set(calls.map(key)));
  return first.filter((call) => keys.every((called) => called.has(key(call))));
}

/** Sends a few bytes, has them sent back, and ends in good order. */
async function echoOnce(open: () => Promise<Deno.Conn | tls.TLSSocket>): Promise<void> {
  const conn = await open();
  if (conn instanceof tls.TLSSocket) {
    await new Promise<void>((resolve, reject) => {
      conn.once("data", () => conn.end());
      conn.once("error", reject);
      conn.once("close", () => resolve());
      conn.write("hello");
    });
    return;
  }
  using plain = conn;
  await plain.write(new TextEncoder().encode("hello"));
  assert.equal(await plain.read(new Uint8Array(16)), 5);
  await plain.closeWrite();
  assert.equal(await plain.read(new Uint8Array(16)), null);
}

/** A TLS server that asks for a certificate and sends back what it gets. */
async function tlsEcho(options: tls.TlsOptions): Promise<{ port: number } & AsyncDisposable> {
  const server = tls.createServer({ ...options, requestCert: true }, (socket) => {
    socket.on("error", () => socket.destroy());
    socket.pipe(socket);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  assert.ok(address !== null && typeof address !== "string");
  return {
    port: address.port,
    [Symbol.asyncDispose]: () => new Promise<void>((done) => server.close(() => done())),
  };
}

/** The functions of `src/` that one warm connection in this mode runs through. */
export async function traceConnection(mode: Mode): Promise<Call[]> {
  await using testBed = await TestBed.create();
  const { pki: { ca, client, server }, files } = testBed;
  const target = testBed.use(
    mode === "server"
      ? echoBackend()
      : await tlsEcho({ cert: server.pem, key: server.keyPem, ca: ca.pem }),
  );
  const own = { cert: files.server, key: files.serverKey, ca: files.ca };
  const upstream = {
    cert: files.client,
    key: files.clientKey,
    ca: files.ca,
    server_name: "localhost",
  };
  const daemon = await testBed.daemon({
    mode,
    listen: "127.0.0.1:0",
    target: `127.0.0.1:${target.port}`,
    tls: mode === "client" ? upstream : own,
    ...(mode === "bridge" ? { upstream_tls: upstream } : {}),
  }, {
    flags: ["--no-prompt", "--allow-net=127.0.0.1", "--allow-read", "--allow-sys"],
    preload: new URL("./trace_preload.ts", import.meta.url).href,
  });
  const { fields: { addr } } = await daemon.waitForLog(LISTENING);
  const calls = async (): Promise<Call[]> => await (await fetch(`http://${addr}`)).json();
  const open = () =>
    mode === "client"
      ? Deno.connect({ hostname: "127.0.0.1", port: daemon.port })
      : connectTls({ port: daemon.port, ca: ca.pem, identity: client });
  const closed = mode === "client" ? "dialer: connection closed" : "listener: connection closed";
  const connect = async () => {
    const from = daemon.lines.length;
    await echoOnce(open);
    await daemon.waitForLog(closed, { reason: "completed" }, from);
  };
  for (let i = 0; i < WARM_UP; i++) await connect();
  await calls();
  const connections: Call[][] = [];
  for (let i = 0; i < COUNTED; i++) {
    await connect();
    connections.push(await calls());
  }
  return inEach(connections);
}

/** How many files and functions these are. */
export function sizeOf(calls: readonly Call[]): Size {
  return { files: new Set(calls.map(({ file }) => file)).size, functions: calls.length };
}

/** Whether neither number is above the budget's. */
export function isWithin({ files, functions }: Size, budget: Size): boolean {
  return files <= budget.files && functions <= budget.functions;
}

function folderOf(file: string): string {
  return file.includes("/") ? file.slice(0, file.indexOf("/")) : file;
}

/** Files and functions by folder, and in all. */
export function table(calls: readonly Call[], budget: Size): string {
  const folders = Map.groupBy(calls, ({ file }) => folderOf(file));
  const row = (name: string, { files, functions }: Size) =>
    `${name.padEnd(16)}${String(files).padStart(5)}${String(functions).padStart(11)}`;
  return [
    "folder          files  functions",
    ...[...folders].sort().map(([name, inside]) => row(name, sizeOf(inside))),
    row("in all", sizeOf(calls)),
    row("budget", budget),
  ].join("\n");
}

/** Every file with its functions. */
export function list(calls: readonly Call[]): string {
  const files = [...Map.groupBy(calls, ({ file }) => file)].sort();
  return files.map(([file, inside]) =>
    [
      `${file} (${inside.length})`,
      ...inside.map(({ name, text }) => `  ${name === "" ? text : name}`),
    ].join("\n")
  ).join("\n");
}

/** Runs the command line; the exit status. */
export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      mode: { type: "string", default: "server" },
      files: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const print = (text: string) => Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
  if (values.help) {
    print(HELP);
    return 0;
  }
  const mode = MODES.find((mode) => mode === values.mode);
  if (mode === undefined) throw new Error(`--mode is one of ${MODES.join(", ")}`);
  const calls = await traceConnection(mode);
  if (values.files) print(`${list(calls)}\n`);
  const budget = BUDGET[mode];
  print(table(calls, budget));
  return isWithin(sizeOf(calls), budget) ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
