/**
 * Lists of open connections, with peers that are told by a name, for their tests.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { AuthorizedPeer, Connection } from "../../../src/proxy/connection.ts";
import {
  ConnectionTable,
  type ConnectionTableOptions,
  type Pass,
} from "../../../src/proxy/connection_table.ts";
import type { VerifiedPeer } from "../../../src/tls/peer_verifier.ts";
import { parseCertificate } from "../../../src/x509/parse.ts";
import { memoryLog } from "./listener_support.ts";
import { makeCa, makeLeaf } from "../../support/pki.ts";
import { FakeClock } from "../../support/fake_clock.ts";

/** Milliseconds. */
export const YEARS = 10 * 365 * 86_400_000;

const ca = makeCa();
const leaf = makeLeaf({}, ca);
const parsed = parseCertificate(leaf.der);

/** A peer; `name` is what `judge` of a test tells it by. */
export function peerOf(name: string, validUntil = Infinity): VerifiedPeer {
  return { certificate: parsed, spki: name, chain: [leaf.der], validUntil };
}

/** A downstream peer. */
export function client(peer: VerifiedPeer | undefined): AuthorizedPeer {
  return { end: "downstream", peer };
}

/** The network that the connections of tests come from. */
export const SOURCE = "192.0.2.1";

/** Registers an authorized client in one turn, as the pipeline does. */
export function admit(
  connections: ConnectionTable,
  connection: Connection,
  peer: VerifiedPeer | undefined,
): Promise<boolean> {
  const established = connections.establish(connection);
  connections.register(connection, client(peer));
  return established;
}

/** What {@linkcode start} makes. */
export type Started = {
  readonly clock: FakeClock;
  readonly connections: ConnectionTable;
  /** What came of each pass over all. */
  readonly passes: readonly Pass[];
  /** A connection whose client was admitted. */
  readonly admit: (peer: VerifiedPeer | undefined) => Promise<Connection>;
};

/** A list with a clock that the test moves. */
export function start(options: Partial<ConnectionTableOptions> = {}): Started {
  const clock = new FakeClock();
  const passes: Pass[] = [];
  let conns = 0;
  const { now, setTimer } = clock;
  const connections = new ConnectionTable({
    maxConnections: 0,
    maxHandshakes: 100,
    reauthorize: ({ peer }) => ({ authorized: true, peer }),
    maxLifetime: 0,
    logger: memoryLog().logger,
    nextConn: () => ++conns,
    onPass: (pass) => void passes.push(pass),
    now,
    monotonic: now,
    setTimer,
    ...options,
  });
  const admitOne = async (peer: VerifiedPeer | undefined): Promise<Connection> => {
    const connection = connections.open(SOURCE);
    assert.equal(await admit(connections, connection, peer), true);
    return connection;
  };
  return { clock, connections, passes, admit: admitOne };
}
