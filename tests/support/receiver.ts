/**
 * Targets that are told who called, and the daemons that tell them.
 *
 * @module
 */

import assert from "node:assert/strict";
import { parseHeader } from "../../src/proxy_protocol/parse.ts";
import type { TestDaemon } from "./daemon.ts";
import type { DaemonOptions, TestBed } from "./testbed.ts";
import { type Peer, PeerServer } from "./sockets.ts";
import { until } from "./wait.ts";

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
