/**
 * Load balancers that put a PROXY header in front of what their clients say, and daemons behind them.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { TestDaemon } from "./daemon.ts";
import type { ClientOptions } from "./peers.ts";
import type { DaemonOptions, TestBed } from "./testbed.ts";
import { type Peer, Relay } from "./sockets.ts";

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
