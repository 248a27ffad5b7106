/**
 * The state changes in the very turn of the decision: the connection must be found all the same.
 *
 * @module
 */

import assert from "node:assert/strict";
import { parseRule, type Rule } from "../../../src/acl/rule.ts";
import type { Conn } from "../../../src/net/conn.ts";
import type { AclConfig, Mode, NonEmpty, Target } from "../../../src/config/config.ts";
import { lineLogger } from "../../support/log.ts";
import { allocateCounters, CounterReader, TunnelCounters } from "../../../src/metrics/counters.ts";
import { PlainFar } from "../../../src/proxy/upstream_plain.ts";
import { TlsFar } from "../../../src/proxy/upstream.ts";
import { KeyedLimiter } from "../../../src/proxy/limits.ts";
import { ConnectionTable, type End } from "../../../src/proxy/connection_table.ts";
import { PlainNear } from "../../../src/proxy/downstream_plain.ts";
import { TlsNear } from "../../../src/proxy/downstream.ts";
import { type Near, runSession, type Way } from "../../../src/proxy/pipeline.ts";
import { reauthorizePeer } from "../../../src/proxy/reauthorization.ts";
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

/** What decides about one side. */
function sideState() {
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

/** One tunnel's parts, with engines that shake hands at once and tell when they have. */
function start(port: number, afterDecision: (side: End) => void) {
  const lines: string[] = [];
  const conns: FakeChannel[] = [];
  const sides = { near: sideState(), far: sideState() };
  const logger = lineLogger({
    level: "debug",
    format: "text",
    write: (line) => void lines.push(line),
  });
  const counters = allocateCounters(1);
  const metrics = new TunnelCounters(counters);
  const connections = new ConnectionTable({
    reauthorize: ({ end: side, peer }) =>
      reauthorizePeer(peer, { verifyNow: sides[side].verify }, sides[side].state.acl),
    maxLifetime: 0,
    logger,
    nextConn: () => 1,
    now: Date.now,
    monotonic: () => performance.now(),
  });
  const shake = (side: End) => <T>(below: Conn, decide: Decide<T>): Promise<Handshaken<T>> => {
    const { peer, verify } = sides[side];
    const verdict = verify([peer.der]);
    assert.ok(verdict.ok);
    const { value, admit } = decide(verdict.peer);
    assert.ok(admit);
    afterDecision(side);
    const conn = new Shaken(below);
    conns.push(conn);
    return Promise.resolve({
      value,
      peer: verdict.peer,
      protocol: "TLSv1.3",
      resumed: false,
      alpn: undefined,
      cipher: undefined,
      serverName: undefined,
      conn,
    });
  };
  const monotonic = () => performance.now();
  const deps = { logger, limiter: limiterOf(logger), metrics, monotonic, native: undefined };
  const address = { kind: "tcp", host: "127.0.0.1", port } as const;
  const list: NonEmpty<Target> = [{ address, serverName: "localhost" }];
  const targets = new LoadBalancer({
    ...deps,
    targets: list,
    balance: "failover",
    dialTimeout: 10_000,
    resolver: { resolve: () => Promise.resolve([address]) },
    random: () => 0,
  });
  const reach = { ...deps, targets, several: false };
  const tlsNear = new TlsNear({
    ...deps,
    tls: () => ({ accept: shake("near") }) as unknown as TlsServer,
    acl: () => sides.near.state.acl,
    quota: new KeyedLimiter(1),
    header: undefined,
    tellsTls: false,
    handshakeTimeout: 10_000,
  });
  const tlsFar = new TlsFar({
    handshakeTimeout: Infinity,
    ...reach,
    tls: () => ({ connect: shake("far") }) as unknown as TlsClient,
    acl: () => sides.far.state.acl,
  });
  const place = { onEvict: () => {}, moveTo: () => {}, establish: () => Promise.resolve(true) };
  const run = async (mode: Mode): Promise<void> => {
    const accepted = new FakeChannel();
    conns.push(accepted);
    // No handshake begins before the peer has said something.
    accepted.push("x");
    // Should nobody end it.
    const end = setTimeout(() => conns.forEach((conn) => conn.end()), 2000);
    const session = { ...deps, proxy: { idleTimeout: 0, closeTimeout: 0 } };
    const go = <N extends Near>(way: Pick<Way<N>, "near" | "far">) =>
      runSession(accepted, { name: "listener", ...way }, session, connections.open(place));
    switch (mode) {
      case "server":
        await go({ near: tlsNear, far: new PlainFar({ ...reach, proxyProtocol: "off" }) });
        break;
      case "client":
        await go({ near: new PlainNear({ header: undefined, headerTimeout: 1 }), far: tlsFar });
        break;
      case "bridge":
        await go({ near: tlsNear, far: tlsFar });
        break;
      default:
        mode satisfies never;
    }
    clearTimeout(end);
  };
  return { conns, lines, sides, connections, run, counted: new CounterReader(counters) };
}

/** Whose state changes, and after whose decision. */
const CASES: readonly { readonly mode: Mode; readonly changes: End; readonly after: End }[] = [
  { mode: "server", changes: "near", after: "near" },
  { mode: "client", changes: "far", after: "far" },
  { mode: "bridge", changes: "near", after: "near" },
  { mode: "bridge", changes: "near", after: "far" },
  { mode: "bridge", changes: "far", after: "far" },
];

for (const { mode, changes, after } of CASES) {
  for (const change of ["rules", "bundle"] as const) {
    const when = `another ${change} of the ${changes} side in the turn of the ${after} decision`;
    Deno.test(`races: ${mode} mode, ${when}`, async () => {
      await using target = echoBackend();
      const { lines, sides, connections, run, counted } = start(target.port, (side) => {
        if (side !== after) return;
        const { state } = sides[changes];
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
