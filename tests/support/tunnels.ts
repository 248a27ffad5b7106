/**
 * Several tunnels in one daemon, for the scenario tests.
 *
 * @module
 */

import assert from "node:assert/strict";
import { startDaemon, type TestDaemon } from "./daemon.ts";
import type { ClientOptions } from "./peers.ts";
import type { Scene } from "./scene.ts";
import { split } from "./tools.ts";

/** A free port of loopback. */
export const LISTEN = "127.0.0.1:0";

/** A block of a config. */
export type Block = Readonly<Record<string, unknown>>;

/** A `tls` block of the scene's server. */
export function tlsOf({ files: { ca, server: cert, serverKey: key } }: Scene): Block {
  return { cert, key, ca };
}

/** Server-mode tunnels over the scene's `tls` block. */
export async function startTunnels(
  scene: Scene,
  tunnels: readonly Block[],
  more: Block = {},
): Promise<TestDaemon> {
  const config = { mode: "server", tls: tlsOf(scene), ...more, tunnels };
  return scene.use(await startDaemon({ dir: scene.dir, config }));
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
export function clientOf(scene: Scene, daemon: TestDaemon, tunnel: string): ClientOptions {
  return { ...scene.as(daemon), port: portOf(daemon, tunnel) };
}
