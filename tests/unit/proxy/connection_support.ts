/**
 * Lists of open connections, with peers that are told by a name, for their tests.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Place } from "../../../src/proxy/admission.ts";
import {
  type AuthorizedPeer,
  type Connection,
  ConnectionTable,
  type ConnectionTableOptions,
  type Pass,
} from "../../../src/proxy/connection_table.ts";
import type { VerifiedPeer } from "../../../src/tls/peer_verifier.ts";
import { parseCertificate } from "../../../src/x509/parse.ts";
import { memoryLog } from "./listener_support.ts";
import { makeCa, makeLeaf } from "../../support/pki.ts";
import { FakeClock } from "./fake_clock.ts";

/** Milliseconds. */
export const YEARS = 10 * 365 * 86_400_000;

const ca = makeCa();
const leaf = makeLeaf({}, ca);
const parsed = parseCertificate(leaf.der);

/** A peer; `name` is what `judge` of a test tells it by. */
export function peerOf(name: string, validUntil = Infinity): VerifiedPeer {
  return { certificate: parsed, spki: name, chain: [leaf.der], validUntil };
}

/** Who connects. */
export function near(peer: VerifiedPeer | undefined): AuthorizedPeer {
  return { end: "near", peer };
}

/** A place that is there at once, unless it is told to wait. */
export function place(wait: Promise<boolean> = Promise.resolve(true)): Place {
  return { onEvict: () => {}, moveTo: () => {}, establish: () => wait };
}

/** What {@linkcode start} makes. */
export type Started = {
  readonly clock: FakeClock;
  readonly connections: ConnectionTable;
  /** What came of each pass over all. */
  readonly passes: readonly Pass[];
  /** A connection whose near peer was let in. */
  readonly admit: (peer: VerifiedPeer | undefined) => Promise<Connection>;
};

/** A list with a clock that the test moves. */
export function start(options: Partial<ConnectionTableOptions> = {}): Started {
  const clock = new FakeClock();
  const passes: Pass[] = [];
  let conns = 0;
  const { now, setTimer } = clock;
  const connections = new ConnectionTable({
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
  const admit = async (peer: VerifiedPeer | undefined): Promise<Connection> => {
    const connection = connections.open(place());
    assert.equal(await connection.admit(near(peer)), true);
    return connection;
  };
  return { clock, connections, passes, admit };
}
