/**
 * A listener that makes TLS of ours of what comes.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Conn } from "../../../src/net/conn.ts";
import { type AdoptTcp, listenTcp } from "../../../src/net/mod.ts";
import type { Decide, Handshaken } from "../../../src/tls/handshake.ts";
import { TlsServer } from "../../../src/tls/server.ts";
import type { VerifiedPeer } from "../../../src/tls/peer_verifier.ts";
import { admit, limits, text } from "./ends.ts";

/** What came of one connection to {@linkcode listen}. */
export type Accepted = Handshaken<VerifiedPeer | undefined> | Error;

/** Listens on TCP and makes TLS of what comes. */
export type Listening = {
  readonly port: number;
  /** What came of the connections, in the order in which their handshakes ended. */
  readonly results: Accepted[];
  /** Waits for the next result that nobody has waited for yet. */
  next(): Promise<Accepted>;
} & AsyncDisposable;

/** Greets, and then answers with what it receives until the peer has ended its half. */
export async function greetAndEcho(conn: Conn): Promise<void> {
  await conn.write(text("welcome\n"));
  for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) {
    await conn.write(bytes);
  }
  await conn.closeWrite();
}

/** Greets and ends. */
export async function greet(conn: Conn): Promise<void> {
  await conn.write(text("welcome\n"));
  await conn.closeWrite();
}

/** Serves `server()`, asked anew for each connection, on a free port. */
export function listen(
  server: () => TlsServer,
  serve: (conn: Conn) => Promise<void> = greet,
  decide: Decide<VerifiedPeer | undefined> = admit,
  adopt?: AdoptTcp,
): Listening {
  const listener = listenTcp({ host: "127.0.0.1", port: 0 }, { adopt });
  const results: Accepted[] = [];
  const stop = new AbortController();
  const open = new Set<Promise<void>>();
  let seen = 0;
  let wake = (): void => {};
  const one = async (transport: Conn): Promise<void> => {
    let result: Accepted;
    try {
      result = await server().accept(transport, decide, limits(5_000, stop.signal));
    } catch (error) {
      result = error instanceof Error ? error : new Error(String(error));
    }
    results.push(result);
    wake();
    if (result instanceof Error || result.conn === undefined) return;
    const { conn } = result;
    const cut = (): void => conn.close();
    stop.signal.addEventListener("abort", cut);
    try {
      await serve(conn);
    } catch {
      // The peer has left: the test looks at what the peer saw.
    } finally {
      stop.signal.removeEventListener("abort", cut);
      conn.close();
    }
  };
  const accepting = (async () => {
    while (!stop.signal.aborted) {
      try {
        const transport = await listener.accept();
        const done = one(transport).finally(() => open.delete(done));
        open.add(done);
      } catch (error) {
        if (!stop.signal.aborted) throw error;
      }
    }
  })();
  return {
    port: listener.port,
    results,
    async next() {
      while (results.length <= seen) await new Promise<void>((done) => wake = done);
      const result = results[seen++];
      assert(result !== undefined);
      return result;
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      listener.close();
      await accepting;
      await Promise.all(open);
    },
  };
}
