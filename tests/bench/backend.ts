/**
 * The backend behind every subject, a process of its own: an echo, an echo that says one byte and
 * ends, a sink and a source. Prints their ports as one line of JSON, then serves until it is ended.
 *
 * @module
 */

import { connectionsOf } from "../support/peers.ts";
import { REQUEST_BYTES } from "./load_protocol.ts";

/** The ports of 127.0.0.1 that it serves. */
export type BackendPorts = Readonly<Record<"echo" | "once" | "sink" | "source", number>>;

type Serve = (conn: Deno.TcpConn) => Promise<void>;

const CHUNK = 256 * 1024;

async function writeAll(conn: Deno.Conn, data: Uint8Array): Promise<void> {
  for (let rest = data; rest.length > 0;) rest = rest.subarray(await conn.write(rest));
}

async function echo(conn: Deno.TcpConn): Promise<void> {
  const buffer = new Uint8Array(16_384);
  for (let n = await conn.read(buffer); n !== null; n = await conn.read(buffer)) {
    await writeAll(conn, buffer.subarray(0, n));
  }
}

async function once(conn: Deno.TcpConn): Promise<void> {
  const buffer = new Uint8Array(4096);
  if (await conn.read(buffer) === null) return;
  await writeAll(conn, buffer.subarray(0, 1));
  await conn.closeWrite();
  while (await conn.read(buffer) !== null);
}

/** The number that a client of the sink or the source begins with; `undefined` where it left. */
async function announced(conn: Deno.TcpConn): Promise<number | undefined> {
  const request = new Uint8Array(REQUEST_BYTES);
  for (let have = 0; have < request.length;) {
    const n = await conn.read(request.subarray(have));
    if (n === null) return undefined;
    have += n;
  }
  return Number(new DataView(request.buffer).getBigUint64(0));
}

/** Answers with one byte when it has everything: not every subject passes half a close on. */
async function sink(conn: Deno.TcpConn): Promise<void> {
  let left = await announced(conn) ?? 0;
  const buffer = new Uint8Array(CHUNK);
  while (left > 0) {
    const n = await conn.read(buffer);
    if (n === null) return;
    left -= n;
  }
  await writeAll(conn, Uint8Array.of(1));
}

async function source(conn: Deno.TcpConn): Promise<void> {
  const chunk = new Uint8Array(CHUNK);
  let left = await announced(conn) ?? 0;
  for (; left > 0; left -= CHUNK) await writeAll(conn, chunk.subarray(0, Math.min(CHUNK, left)));
}

function listen(serve: Serve): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 4096 });
  void accept(listener, serve);
  return listener.addr.port;
}

async function accept(listener: Deno.TcpListener, serve: Serve): Promise<void> {
  for await (const conn of connectionsOf(listener)) {
    conn.setNoDelay(true);
    // A subject that is ended cuts its connections; the next one finds the backend as it was.
    serve(conn).catch(() => {}).finally(() => conn.close());
  }
}

if (import.meta.main) {
  const ports = {
    echo: listen(echo),
    once: listen(once),
    sink: listen(sink),
    source: listen(source),
  } satisfies BackendPorts;
  await Deno.stdout.write(new TextEncoder().encode(`${JSON.stringify(ports)}\n`));
}
