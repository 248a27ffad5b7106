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
import { until } from "./wait.ts";
import { type ClientOptions, refuses, split } from "./peers.ts";
import { parseHeader } from "../../src/proxy_protocol/parse.ts";
import type { TestDaemon } from "./daemon.ts";
import type { DaemonOptions, TestBed } from "./testbed.ts";
import { type Peer, PeerServer, Relay } from "./sockets.ts";
import { Buffer } from "node:buffer";

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

/** The header that a target has heard, and what came behind it. */
export async function heard(peer: Peer): Promise<{
  readonly header: Uint8Array;
  readonly source: string;
  readonly destination: string;
  readonly rest: () => string;
}> {
  const header = await until(() => {
    const parsed = parseHeader(peer.bytes);
    assert.ok(parsed.kind === "more" || parsed.kind === "header", peer.bytes.toString("hex"));
    return parsed.kind === "header" ? parsed : undefined;
  }, { what: () => `a header, have ${peer.bytes.toString("hex")}` });
  const { length, proxied } = header;
  assert.ok(proxied !== undefined);
  return {
    header: Uint8Array.from(peer.bytes.subarray(0, length)),
    source: `${proxied.source.host}:${proxied.source.port}`,
    destination: `${proxied.destination.host}:${proxied.destination.port}`,
    rest: () => peer.bytes.subarray(length).toString(),
  };
}

/** A daemon in front of a target that the test plays. */
export async function inFrontOf(
  testBed: TestBed,
  version: string,
  options: DaemonOptions = {},
): Promise<{ readonly target: PeerServer; readonly server: TestDaemon }> {
  const target = testBed.use(await PeerServer.listen());
  const server = await testBed.server(target.address, {
    ...options,
    proxy: { proxy_protocol: version, ...options.proxy },
  });
  return { target, server };
}

/** The networks of the tests. */
export const TRUSTED = ["127.0.0.0/8"];

/** The client that {@linkcode line} names unless told otherwise. */
export const CLIENT = "198.51.100.9:56324";

/** A header that names a client, of the same network as {@linkcode CLIENT}. */
export function line(port = 56324, host = 9): string {
  return `PROXY TCP4 198.51.100.${host} 203.0.113.1 ${port} 443\r\n`;
}

/** How a balancer sends its header and what comes with it. */
export type Manner = (header: Uint8Array, first: Uint8Array, to: Peer) => Promise<void>;

/** In one segment. */
export const TOGETHER: Manner = (header: Uint8Array, first: Uint8Array, to: Peer): Promise<void> =>
  to.send(Buffer.concat([header, first]));

/** A balancer in front of a port: connections get a header, one after the other from these. */
export async function balancer(
  testBed: TestBed,
  port: number,
  headers: readonly Uint8Array[],
  manner: Manner = TOGETHER,
): Promise<Relay> {
  const known = new Set<Peer>();
  let next = 0;
  return testBed.use(
    await Relay.to(port, {
      send: async (bytes, to) => {
        // A TLS client speaks first; what comes back is not for us to touch.
        if (known.has(to) || bytes[0] !== 22 || bytes[5] !== 1) return await to.send(bytes);
        known.add(to);
        const header = headers[next++ % headers.length] ?? new Uint8Array();
        await manner(header, bytes, to);
      },
    }),
  );
}

/** Server mode that expects headers. */
export function behind(
  testBed: TestBed,
  target: string,
  { proxy, ...options }: DaemonOptions = {},
): Promise<TestDaemon> {
  return testBed.server(target, {
    ...options,
    proxy: { accept_proxy_protocol: TRUSTED, ...proxy },
  });
}

/** A client of the test bed that comes by way of a balancer. */
export function through(testBed: TestBed, relay: Relay): ClientOptions {
  return { port: relay.port, ca: testBed.pki.ca.pem, identity: testBed.pki.client };
}
