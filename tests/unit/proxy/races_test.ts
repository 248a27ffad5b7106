/**
 * The state changes in the very turn of the decision: the connection must be found all the same.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type AclConfig, parseRule, type Rule } from "../../../src/acl/rule.ts";
import type { Conn } from "../../../src/net/conn.ts";
import type { Mode, NonEmpty, Target } from "../../../src/config/config.ts";
import { lineLogger } from "../../support/log.ts";
import { allocateCounters, CounterReader, TunnelCounters } from "../../../src/metrics/counters.ts";
import { parseConfig } from "../../../src/config/load.ts";
import { KeyedLimiter } from "../../../src/proxy/limits.ts";
import type { End } from "../../../src/proxy/connection.ts";
import { ConnectionTable } from "../../../src/proxy/connection_table.ts";
import { carryConnection } from "../../../src/proxy/pipeline.ts";
import { ServerBackoff } from "../../../src/proxy/server_backoff.ts";
import { reauthorizePeer } from "../../../src/proxy/authorization.ts";
import { LoadBalancer } from "../../../src/proxy/load_balancer.ts";
import type { TlsClient } from "../../../src/tls/client.ts";
import type { Decide, Handshaken } from "../../../src/tls/handshake.ts";
import type { TlsServer } from "../../../src/tls/server.ts";
import { PeerVerifier } from "../../../src/tls/peer_verifier.ts";
import { parseCertificate } from "../../../src/x509/parse.ts";
import { NO_REVOCATION } from "../../../src/x509/revocation.ts";
import { limiterOf } from "./listener_support.ts";
import { echoBackend } from "../../support/peers.ts";
import { makeCa, makeLeaf } from "../../support/pki.ts";
import { FakeChannel } from "./fake_conn.ts";

const OPEN: AclConfig = { allow: [], deny: [], mode: "enforce", allowAnonymous: false };

const parsed = parseConfig(
  "mode: server\nlisten: 127.0.0.1:1\ntarget: 127.0.0.1:2\n" +
    "tls: { ca: ca.pem, cert: cert.pem, key: key.pem }\nacl: { allow_cn: [x] }\n",
  "races.yaml",
);
assert.ok(parsed.ok);
const { tls: TLS, proxy: PROXY } = parsed.config.tunnels[0];

const pattern = parseRule("cn", "nobody");
assert.ok(pattern.ok);
const rule: Rule = { side: "allow", dimension: "cn", text: "nobody", pattern: pattern.value };

/** What a handshake makes of a transport, which it owns from then on. */
class Shaken extends FakeChannel {
  readonly #below: Conn;

  constructor(below: Conn) {
    super();
    this.#below = below;
  }

  override close(): void {
    super.close();
    this.#below.close();
  }
}

/** What decides about the peer of one end. */
function endState() {
  const ca = makeCa();
  const peer = makeLeaf({ subject: "late" }, ca);
  const state = { acl: OPEN, anchors: [parseCertificate(ca.der)] };
  const verify = (chain: readonly Uint8Array[]) =>
    new PeerVerifier({
      revocation: NO_REVOCATION,
      anchors: state.anchors,
      purpose: "client",
      now: Date.now,
    }).verifyNow(chain);
  return { peer, state, verify };
}

/** One tunnel's parts, with handshakes that succeed at once and call back when they have. */
function start(port: number, afterDecision: (end: End) => void) {
  const lines: string[] = [];
  const conns: FakeChannel[] = [];
  const ends = { downstream: endState(), upstream: endState() };
  const logger = lineLogger({
    level: "debug",
    format: "text",
    write: (line) => void lines.push(line),
  });
  const counters = allocateCounters(1);
  const metrics = new TunnelCounters(counters);
  const connections = new ConnectionTable({
    reauthorize: ({ end, peer }) =>
      reauthorizePeer(peer, { verifyNow: ends[end].verify }, ends[end].state.acl),
    maxConnections: 0,
    maxHandshakes: 10,
    maxLifetime: 0,
    logger,
    nextConn: () => 1,
    now: Date.now,
    monotonic: () => performance.now(),
  });
  const shake = (end: End) => <T>(below: Conn, decide: Decide<T>): Promise<Handshaken<T>> => {
    const { peer, verify } = ends[end];
    const verified = verify([peer.der]);
    assert.ok(verified.ok);
    const { value, admit } = decide(verified.peer);
    assert.ok(admit);
    afterDecision(end);
    const conn = new Shaken(below);
    conns.push(conn);
    return Promise.resolve({
      value,
      peer: verified.peer,
      protocol: "TLSv1.3",
      resumed: false,
      alpn: undefined,
      cipher: undefined,
      serverName: undefined,
      conn,
    });
  };
  const monotonic = () => performance.now();
  const address = { kind: "tcp", host: "127.0.0.1", port } as const;
  const targets: NonEmpty<Target> = [{ address, serverName: "localhost" }];
  const balancer = new LoadBalancer({
    targets,
    balance: "failover",
    dialTimeout: 10_000,
    resolver: { resolve: () => Promise.resolve([address]) },
    metrics,
    monotonic,
    random: () => 0,
  });
  // A verifier is not used for new peers: the handshake above verifies.
  const verifier = undefined as unknown as PeerVerifier;
  const tls = {
    get downstream() {
      const server = { accept: shake("downstream") } as unknown as TlsServer;
      return { tls: server, acl: ends.downstream.state.acl, verifier };
    },
    get upstreamAcl() {
      return ends.upstream.state.acl;
    },
    upstream: () => ({ tls: { connect: shake("upstream") } as unknown as TlsClient, verifier }),
  };
  const run = async (mode: Mode): Promise<void> => {
    const accepted = new FakeChannel();
    conns.push(accepted);
    // No handshake begins before the peer has sent a byte.
    accepted.push("x");
    // In case nothing else ends it.
    const end = setTimeout(() => conns.forEach((conn) => conn.end()), 2000);
    await carryConnection(accepted, connections.open("192.0.2.1"), {
      config: {
        mode,
        targets,
        tls: { ...TLS, handshakeTimeout: 10_000 },
        proxy: { ...PROXY, idleTimeout: 0, closeTimeout: 0 },
      },
      name: "listener",
      connections,
      tls,
      balancer,
      perPeer: new KeyedLimiter(1),
      backoff: new ServerBackoff(monotonic),
      limiter: limiterOf(logger),
      metrics,
      monotonic,
      adopt: undefined,
    });
    clearTimeout(end);
  };
  return { conns, lines, ends, connections, run, counted: new CounterReader(counters) };
}

/** Whose state changes, and after whose decision. */
const CASES: readonly { readonly mode: Mode; readonly changes: End; readonly after: End }[] = [
  { mode: "server", changes: "downstream", after: "downstream" },
  { mode: "client", changes: "upstream", after: "upstream" },
  { mode: "bridge", changes: "downstream", after: "downstream" },
  { mode: "bridge", changes: "downstream", after: "upstream" },
  { mode: "bridge", changes: "upstream", after: "upstream" },
];

for (const { mode, changes, after } of CASES) {
  for (const change of ["rules", "bundle"] as const) {
    const when = `another ${change} of the ${changes} end in the turn of the ${after} decision`;
    Deno.test(`races: ${mode} mode, ${when}`, async () => {
      await using target = echoBackend();
      const { lines, ends, connections, run, counted } = start(target.port, (end) => {
        if (end !== after) return;
        const { state } = ends[changes];
        if (change === "rules") state.acl = { ...OPEN, allow: [rule] };
        else state.anchors = [];
        connections.reauthorize();
      });
      await run(mode);
      const reason = change === "rules" ? "denied" : "untrusted";
      assert.match(lines.at(-1) ?? "", new RegExp(`connection closed.* reason=${reason} `));
      assert.equal(connections.size, 0);
      assert.equal(counted.active, 0);
      assert.equal(target.received, 0);
    });
  }
}
