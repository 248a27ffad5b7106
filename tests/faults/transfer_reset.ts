/**
 * Connections that are reset while bytes move both ways: the other end learns of it at
 * once, and nothing stays open.
 *
 * @module
 */

import type { Conn } from "../../src/net/conn.ts";
import { baseline, waitForDescriptors } from "../support/process.ts";
import {
  openBothEnds,
  PATH_KINDS,
  type PathKind,
  startPath,
  type TargetPath,
} from "../support/paths.ts";
import { TestBed } from "../support/testbed.ts";
import type { Link, Peer } from "../support/sockets.ts";
import { timed, until } from "../support/wait.ts";
import type { Row } from "./row.ts";

/** How soon the other end has to hear of it, in milliseconds. */
const SOON = 1000;

type Culprit = "the client" | "the target" | "the network between";

/** Where RST is sent, towards the daemons, and who has to hear of it. */
type Cut = { readonly reset: readonly Peer[]; readonly told: readonly Peer[] };

async function cutOf(way: TargetPath, number: number, culprit: Culprit): Promise<Cut> {
  const links: Link[] = [];
  for (const relay of way.relays) links.push(await relay.link(number));
  const [first] = links;
  const last = links.at(-1);
  if (first === undefined || last === undefined) throw new Error("no relays on the way");
  switch (culprit) {
    case "the client":
      return { reset: [first.upstream, first.downstream], told: [last.downstream] };
    case "the target":
      return { reset: [last.downstream, last.upstream], told: [first.upstream] };
    case "the network between": {
      const between = links[1];
      if (between === undefined) throw new Error("no relay between");
      return {
        reset: [between.downstream, between.upstream],
        told: [first.upstream, last.downstream],
      };
    }
    default:
      return culprit satisfies never;
  }
}

/** Sends and reads until it breaks; how many bytes came. */
class Busy {
  received = 0;
  readonly over: Promise<unknown>;

  constructor(conn: Conn) {
    this.over = Promise.allSettled([this.#send(conn), this.#read(conn)]);
  }

  async #send(conn: Conn): Promise<void> {
    const block = new Uint8Array(65_536);
    for (;;) {
      await conn.write(block);
      // The relays know no flow control.
      await new Promise((done) => setTimeout(done, 1));
    }
  }

  async #read(conn: Conn): Promise<void> {
    for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) {
      this.received += bytes.length;
    }
  }
}

async function run(subject: PathKind, culprit: Culprit, rounds: number): Promise<string> {
  await using testBed = await TestBed.create();
  const way = await startPath(testBed, subject, { relay: () => ({}) });
  const bases = await Promise.all(way.daemons.map(baseline));
  let worst = 0;
  for (let number = 0; number < rounds; number++) {
    const { downstream, upstream } = await openBothEnds(way);
    const { reset, told } = await cutOf(way, number, culprit);
    const ends = [new Busy(downstream), new Busy(upstream)];
    await until(() => ends.every(({ received }) => received > 500_000), {
      what: () => `both ends to receive, have ${ends.map(({ received }) => received)}`,
    });
    for (const peer of reset) peer.reset();
    const hearing = Promise.all(told.map((peer) => peer.ended()));
    worst = Math.max(worst, await timed(SOON, hearing, "hearing of a reset"));
    downstream.close();
    upstream.close();
    await Promise.all(ends.map(({ over }) => over));
  }
  for (const [index, daemon] of way.daemons.entries()) {
    await daemon.waitForMetric("mtlsd_active_connections", 0);
    await waitForDescriptors(daemon.pid, bases[index] ?? 0);
  }
  return `${rounds} times, the other end after ${Math.ceil(worst)} ms at most`;
}

function row(subject: PathKind, culprit: Culprit): Row {
  return {
    subject,
    fault: `RST from ${culprit} in mid-transfer`,
    holds: "the other end ends within 1 s, descriptors back to the baseline",
    run: (scale) => run(subject, culprit, scale === "full" ? 50 : 5),
  };
}

/** The rows. */
export const rows: readonly Row[] = [
  ...PATH_KINDS.flatMap((subject) => [row(subject, "the client"), row(subject, "the target")]),
  row("tunnel", "the network between"),
];
