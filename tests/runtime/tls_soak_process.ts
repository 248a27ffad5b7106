/**
 * Run as a process of its own: makes hundreds of connections that end in every way there is, and says
 * what they have left behind. Needs `--v8-flags=--expose-gc`; with `native` for an argument connections
 * are carried by the runtime's own handles. Its last line is JSON.
 *
 * @module
 */

import type { Conn } from "../../src/net/conn.ts";
import { admit, client, connected, limits, server, text } from "../support/tls/ends.ts";
import { requireNativeTcp, tcpPair } from "../support/tls/tcp_backends.ts";
import { type MemoryConn, memoryPair } from "../support/tls/memory_conn.ts";
import { nativeBackend } from "../support/tls/backends.ts";

/** What is left after all connections have ended. */
export type Leftovers = {
  readonly connections: number;
  /** Descriptors now and at the beginning. */
  readonly descriptors: number;
  readonly descriptorsBefore: number;
  /** Bytes that the heap and the process have grown by. */
  readonly heapGrown: number;
  readonly grown: number;
  /** Outcomes that should not have been. */
  readonly odd: readonly string[];
};

const native = Deno.args.includes("native");
const tcp = native ? requireNativeTcp() : undefined;
const tls = native ? nativeBackend() : undefined;
const accepting = server({ backend: tls });
const dialling = client({ backend: tls });

/** A handshake that is spoilt by what the other end does; gives the reason. */
async function spoilt(
  role: "server" | "client",
  pair: readonly [Conn, Conn],
  spoil: (peer: Conn) => Promise<void>,
): Promise<string> {
  const [peer, own] = pair;
  const bounds = limits(spoil === silent ? 150 : 10_000);
  const running = role === "server"
    ? accepting.accept(own, admit, bounds)
    : dialling.connect(own, admit, bounds);
  const outcome = running.then((shaken) => {
    shaken.conn?.close();
    return "let in";
  }, (error: unknown) => String(Reflect.get(Object(error), "reason")));
  await spoil(peer);
  const reason = await outcome;
  peer.close();
  return reason;
}

const silent = (): Promise<void> => Promise.resolve();
const garbage = async (peer: Conn): Promise<void> => {
  await peer.write(text("GET / HTTP/1.1\r\n\r\n"));
  peer.close();
};
const leave = (peer: Conn): Promise<void> => {
  peer.close();
  return Promise.resolve();
};
const reset = (peer: Conn): Promise<void> => {
  (peer as MemoryConn).reset();
  return Promise.resolve();
};

/** Both ends come together and part. */
async function good(pair: readonly [Conn, Conn], politely: boolean): Promise<string> {
  const ends = await connected({ pair, client: dialling, server: accepting });
  if (politely) {
    await Promise.all([ends.client.write(text("hello")), ends.server.read()]);
    await ends.client.closeWrite();
    await ends.server.closeWrite();
    await Promise.all([ends.client.read(), ends.server.read()]);
  }
  ends.client.close();
  ends.server.close();
  return "let in";
}

/** One end does not admit the other. */
async function denied(role: "server" | "client"): Promise<string> {
  const [clientEnd, serverEnd] = memoryPair();
  const deny = (): { admit: boolean; value: undefined } => ({ admit: false, value: undefined });
  const [a, b] = await Promise.all([
    dialling.connect(clientEnd, role === "client" ? deny : admit, limits()).catch(() => undefined),
    accepting.accept(serverEnd, role === "server" ? deny : admit, limits()).catch(() => undefined),
  ]);
  a?.conn?.close();
  b?.conn?.close();
  return (role === "client" ? a : b)?.conn === undefined ? "denied" : "let in";
}

const KINDS: readonly (readonly [string, string, () => Promise<string>])[] = [
  ...(["server", "client"] as const).flatMap((role) =>
    [
      [`${role}: silent`, "timeout", () => spoilt(role, memoryPair(), silent)],
      [`${role}: garbage`, "protocol", () => spoilt(role, memoryPair(), garbage)],
      [`${role}: left`, "reset", () => spoilt(role, memoryPair(), leave)],
      [`${role}: reset`, "reset", () => spoilt(role, memoryPair(), reset)],
      [`${role}: denied`, "denied", () => denied(role)],
      [`${role}: silent, TCP`, "timeout", async () => spoilt(role, await tcpPair(tcp), silent)],
    ] as const
  ),
  ["closed", "let in", () => good(memoryPair(), false)],
  ["ended", "let in", () => good(memoryPair(), true)],
  ["closed, TCP", "let in", async () => good(await tcpPair(tcp), false)],
  ["ended, TCP", "let in", async () => good(await tcpPair(tcp), true)],
];

/** All kinds at once, some of each. */
async function round(odd: string[]): Promise<number> {
  const each = 25;
  await Promise.all(KINDS.map(async ([name, expected, make]) => {
    const outcomes = await Promise.all(Array.from({ length: each }, make));
    const wrong = outcomes.filter((outcome) => outcome !== expected);
    if (wrong.length > 0) odd.push(`${name}: ${wrong.length} times ${wrong[0]}`);
  }));
  await collect();
  return KINDS.length * each;
}

async function collect(): Promise<void> {
  const gc: unknown = Reflect.get(globalThis, "gc");
  if (typeof gc !== "function") throw new Error("run with --v8-flags=--expose-gc");
  for (let i = 0; i < 3; i++) {
    gc();
    await new Promise((later) => setTimeout(later, 20));
  }
}

if (import.meta.main) {
  const descriptors = (): number => [...Deno.readDirSync("/proc/self/fd")].length;
  const odd: string[] = [];
  // The first rounds find out how much memory this number at once takes.
  for (let i = 0; i < 3; i++) await round(odd);
  const [before, open] = [Deno.memoryUsage(), descriptors()];
  let connections = 0;
  for (let i = 0; i < 6; i++) connections += await round(odd);
  const after = Deno.memoryUsage();
  const leftovers: Leftovers = {
    connections,
    descriptors: descriptors(),
    descriptorsBefore: open,
    heapGrown: after.heapUsed - before.heapUsed,
    grown: after.rss - before.rss,
    odd,
  };
  await Deno.stdout.write(text(`${JSON.stringify(leftovers)}\n`));
}
