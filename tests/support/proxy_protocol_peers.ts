/**
 * HAProxy and nginx, the receivers and senders that everybody else is measured by.
 *
 * @module
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import tls from "node:tls";
import { filesIn, Process } from "./openssl.ts";
import type { TestPki } from "./pki.ts";
import { refuses, split } from "./tools.ts";
import { until } from "./wait.ts";

/** What the daemons are, and how they say their version. */
const TOOLS = { haproxy: "-v", nginx: "-v" } as const;

/** The version of a tool, or `undefined` where it is not installed. */
function versionOf(tool: keyof typeof TOOLS): string | undefined {
  try {
    const { stdout, stderr } = new Deno.Command(tool, { args: [TOOLS[tool]] }).outputSync();
    const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    return /(\d+\.\d+\.\d+)/.exec(said)?.[1];
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** A test with a real peer: without it, left out by name, unless `CI` is set. */
export function realTest(
  tool: keyof typeof TOOLS,
  name: string,
  run: (version: string) => Promise<void>,
): void {
  const version = versionOf(tool);
  const left = version === undefined && Deno.env.get("CI") === undefined;
  Deno.test({
    name: `${tool}: ${name}${left ? ` (left out: ${tool} is not installed)` : ""}`,
    ignore: left,
    async fn() {
      assert(version !== undefined, `${tool} is not installed`);
      await run(version);
    },
  });
}

/** Whether a version such as `1.22.1` is at least this. */
export function atLeast(version: string, wanted: readonly number[]): boolean {
  const parts = version.split(".").map(Number);
  const at = wanted.findIndex((part, index) => part !== parts[index]);
  return at === -1 || (parts[at] ?? 0) > (wanted[at] ?? 0);
}

/** A daemon that is up. */
export type Running = { readonly process: Process } & AsyncDisposable;

type PathOf = (name: string) => string;

async function start(
  command: string,
  config: (path: PathOf) => string,
  args: (path: PathOf) => readonly string[],
  files: Readonly<Record<string, string>>,
  addresses: readonly string[],
): Promise<Running> {
  await using stack = new AsyncDisposableStack();
  const { path } = stack.use(await filesIn(files));
  await Deno.writeTextFile(path("config"), config(path));
  const process = stack.use(new Process(command, args(path)));
  let ended = false;
  void process.ends().then(() => ended = true);
  for (const address of addresses) {
    await until(async () => !await refuses(address), {
      what: () => `${command} on ${address}: ${process.said}`,
      failed: () => ended,
    });
  }
  const all = stack.move();
  return { process, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

/** HAProxy with these sections; they are told where the files are. */
export async function haproxy(
  sections: (path: PathOf) => string,
  addresses: readonly string[],
  files: Readonly<Record<string, string>> = {},
): Promise<Running> {
  const defaults = "defaults\n  timeout client 20s\n  timeout server 20s\n  timeout connect 20s\n";
  return await start(
    "haproxy",
    (path) => defaults + sections(path),
    (path) => ["-db", "-f", path("config")],
    files,
    addresses,
  );
}

/** nginx with these servers in its `stream` block; it needs the module of that name. */
export async function nginx(servers: string, addresses: readonly string[]): Promise<Running> {
  const config = "load_module modules/ngx_stream_module.so;\ndaemon off;\nmaster_process off;\n" +
    `error_log stderr info;\nevents {}\nstream {\n${servers}\n}\n`;
  return await start(
    "nginx",
    () => config,
    (path) => ["-e", "stderr", "-c", path("config"), "-g", `pid ${path("pid")};`],
    {},
    addresses,
  );
}

/** Sends bytes, and gives all that comes back; empty where the connection is dropped. */
export async function exchange(address: string, ...sent: readonly Uint8Array[]): Promise<string> {
  using conn = await Deno.connect(split(address));
  conn.setNoDelay(true);
  try {
    for (const bytes of sent) await conn.write(bytes);
    let said = "";
    for await (const bytes of conn.readable) said += new TextDecoder().decode(bytes);
    return said;
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe) {
      return "";
    }
    throw error;
  }
}

/** A client that is connected, and where from. */
export type Client = { readonly port: number; readonly address: string } & AsyncDisposable;

async function held(socket: net.Socket, ready: string): Promise<Client> {
  socket.on("error", () => {});
  await once(socket, ready);
  const { localPort = 0, localAddress = "" } = socket;
  return {
    port: localPort,
    address: localAddress,
    async [Symbol.asyncDispose]() {
      if (socket.closed) return;
      const closed = once(socket, "close");
      socket.destroy();
      await closed;
    },
  };
}

/** Connects and stays. */
export function plainClient(address: string): Promise<Client> {
  const { hostname, port } = split(address);
  return held(net.connect({ host: hostname, port }), "connect");
}

/** Connects with TLS and stays; with the client's certificate or without. */
export async function tlsClient(
  address: string,
  pki: TestPki,
  options: tls.ConnectionOptions,
): Promise<Client> {
  const { hostname, port } = split(address);
  const socket = net.connect({ host: hostname, port });
  await once(socket, "connect");
  const secured = tls.connect({ socket, ca: pki.ca.pem, servername: "localhost", ...options });
  const { localPort = 0, localAddress = "" } = socket;
  const client = await held(secured, "secureConnect");
  return { ...client, port: localPort, address: localAddress };
}
