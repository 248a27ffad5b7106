/**
 * Several tunnels in one daemon, for the scenario tests.
 *
 * @module
 */

import assert from "node:assert/strict";
import { startDaemon, type TestDaemon } from "./daemon.ts";
import type { ClientOptions } from "./peers.ts";
import type { TestBed } from "./testbed.ts";
import { split } from "./tools.ts";

/** A free port of loopback. */
export const LISTEN = "127.0.0.1:0";

/** A block of a config. */
export type Block = Readonly<Record<string, unknown>>;

/** A `tls` block of the test bed's server. */
export function tlsOf({ files: { ca, server: cert, serverKey: key } }: TestBed): Block {
  return { cert, key, ca };
}

/** Server-mode tunnels over the test bed's `tls` block. */
export async function startTunnels(
  testBed: TestBed,
  tunnels: readonly Block[],
  more: Block = {},
): Promise<TestDaemon> {
  const config = { mode: "server", tls: tlsOf(testBed), ...more, tunnels };
  return testBed.use(await startDaemon({ dir: testBed.dir, config }));
}

/** Where a tunnel listens. */
export function portOf(daemon: TestDaemon, tunnel: string): number {
  const line = daemon.lines.find(({ fields }) =>
    fields.tunnel === tunnel && fields.listen !== undefined
  );
  assert.ok(line, daemon.log);
  return split(line.fields.listen ?? "").port;
}

/** A client that the tunnel lets in. */
export function clientOf(testBed: TestBed, daemon: TestDaemon, tunnel: string): ClientOptions {
  return { ...testBed.as(daemon), port: portOf(daemon, tunnel) };
}
