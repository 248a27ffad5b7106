/**
 * The state changes in the very turn of the decision: the connection must be found all the same.
 *
 * @module
 */

import { NO_REVOCATION } from "../../src/x509/revocation.ts";
import assert from "node:assert/strict";
import { parseRule, type Rule } from "../../src/acl/rule.ts";
import type { AclConfig } from "../../src/config/config.ts";
import { createLogger } from "../../src/logging.ts";
import { createMetrics } from "../../src/metrics.ts";
import { ClientWay } from "../../src/proxy/client_way.ts";
import { Quota } from "../../src/proxy/limits.ts";
import { Lives } from "../../src/proxy/lives.ts";
import { ServerWay } from "../../src/proxy/server_way.ts";
import { runSession } from "../../src/proxy/session.ts";
import { standingOf } from "../../src/proxy/standing.ts";
import type { TlsClient } from "../../src/tls/client.ts";
import type { Decide, Handshaken } from "../../src/tls/handshake.ts";
import type { TlsServer } from "../../src/tls/server.ts";
import { PeerVerifier } from "../../src/tls/verdict.ts";
import { parseCertificate } from "../../src/x509/parse.ts";
import { echoBackend } from "../support/peers.ts";
import { makeCa, makeLeaf } from "../support/pki.ts";
import { FakeChannel } from "./fake_channel.ts";

const OPEN: AclConfig = { allow: [], deny: [], mode: "enforce", allowAnonymous: false };

const pattern = parseRule("cn", "nobody");
assert.ok(pattern.ok);
const rule: Rule = { side: "allow", dimension: "cn", text: "nobody", pattern: pattern.value };

/** One tunnel's parts, with an engine that shakes hands at once and tells when it has. */
function start(afterDecision: () => void) {
  const lines: string[] = [];
  const channels: FakeChannel[] = [];
  const ca = makeCa();
  const peer = makeLeaf({ subject: "late" }, ca);
  const logger = createLogger({
    level: "debug",
    format: "text",
    write: (line) => void lines.push(line),
  });
  const metrics = createMetrics({ version: "test" });
  const state = { acl: OPEN, anchors: [parseCertificate(ca.der)] };
  const verify = (chain: readonly Uint8Array[]) =>
    new PeerVerifier({
      revocation: NO_REVOCATION,
      anchors: state.anchors,
      purpose: "client",
      now: Date.now,
    }).verify(chain);
  const lives = new Lives({
    judge: (peer) => standingOf(peer, verify, state.acl),
    maxLifetime: 0,
    now: Date.now,
    monotonic: () => performance.now(),
  });
  const shake = <T>(_transport: unknown, decide: Decide<T>): Promise<Handshaken<T>> => {
    const verdict = verify([peer.der]);
    assert.ok(verdict.ok);
    const { value, admit } = decide(verdict.peer);
    assert.ok(admit);
    afterDecision();
    const channel = new FakeChannel();
    channels.push(channel);
    return Promise.resolve({
      value,
      peer: verdict.peer,
      protocol: "TLSv1.3",
      resumed: false,
      channel: channel as never,
    });
  };
  const monotonic = () => performance.now();
  const deps = { logger, metrics, monotonic, acl: () => state.acl, dialTimeout: 10_000 };
  const place = { onYield: () => {}, establish: () => Promise.resolve(true) };
  const proxy = { idleTimeout: 0, closeTimeout: 0 };
  return { channels, lines, state, lives, shake, deps, place, proxy, metrics };
}

for (const mode of ["server", "client"] as const) {
  for (const change of ["rules", "bundle"] as const) {
    Deno.test(`races: ${mode} mode, another ${change} in the turn of the decision`, async () => {
      await using target = echoBackend();
      const parts = start(() => {
        if (change === "rules") {
          parts.state.acl = { ...OPEN, allow: [rule] };
        } else parts.state.anchors = [];
        parts.lives.rejudge();
      });
      const address = { host: "127.0.0.1", port: target.port };
      const { deps, shake, lives, place, proxy, metrics } = parts;
      const way = mode === "server"
        ? new ServerWay({
          ...deps,
          tls: () => ({ accept: shake }) as unknown as TlsServer,
          quota: new Quota(1),
          target: address,
          handshakeTimeout: 10_000,
        })
        : new ClientWay({
          ...deps,
          tls: () => ({ connect: shake }) as unknown as TlsClient,
          target: address,
        });
      const accepted = new FakeChannel();
      parts.channels.push(accepted);
      // Should nobody end it.
      const end = setTimeout(() => parts.channels.forEach((channel) => channel.end()), 2000);
      await runSession(accepted, way as never, { ...deps, proxy }, lives.open(place));
      clearTimeout(end);
      const reason = change === "rules" ? "denied" : "untrusted";
      assert.match(parts.lines.at(-1) ?? "", new RegExp(`connection closed.* reason=${reason} `));
      assert.equal(lives.size, 0);
      assert.equal(metrics.activeConnections, 0);
      assert.equal(target.received, 0);
    });
  }
}
