/**
 * The ways through mtlsd that tests compare: server mode, client mode, and both in a row.
 *
 * @module
 */

import type { TestDaemon } from "./daemon.ts";
import { type End, plainEnd, plainTarget, type Target, tlsEnd, tlsTarget } from "./conns.ts";
import { echoBackend } from "./peers.ts";
import { plainServer } from "./plain_tls.ts";
import type { DaemonOptions, TestBed } from "./testbed.ts";
import { Relay, type RelayOptions } from "./sockets.ts";

/** Which daemons are on the way. */
export type PathKind = "server" | "client" | "tunnel";

/** All of them. */
export const PATH_KINDS: readonly PathKind[] = ["server", "client", "tunnel"];

/** What a wire carries. */
export type Wire = "plain" | "tls";

/** Settings of every daemon on the way, and of one kind. */
export type PathOptions = DaemonOptions & {
  /** Of the server daemon besides. */
  readonly server?: DaemonOptions;
  /** Of the client daemon besides. */
  readonly client?: DaemonOptions;
  /** Puts a relay into the wires, before, between and behind the daemons, for which this gives one. */
  readonly relay?: (wire: Wire) => RelayOptions | undefined;
};

/** From whoever connects to the target's address. */
export type Path = {
  /** In the order of the way. */
  readonly daemons: readonly TestDaemon[];
  /** The daemon that dials the target. */
  readonly last: TestDaemon;
  /** A new connection to the first one. */
  readonly connect: () => Promise<End>;
  /** In the order of the way, where they were asked for. */
  readonly relays: readonly Relay[];
};

/** A path to a target whose connections the test serves itself. */
export type TargetPath = Path & {
  readonly target: Target;
};

/** Starts the daemons that lead to `address`. */
export async function startPathTo(
  testBed: TestBed,
  subject: PathKind,
  address: string,
  options: PathOptions = {},
): Promise<Path> {
  const { server: ofServer, client: ofClient, relay, ...all } = options;
  const relays: Relay[] = [];
  const through = async (to: string, wire: Wire): Promise<string> => {
    const settings = relay?.(wire);
    if (settings === undefined) return to;
    const one = testBed.use(await Relay.to(portOf(to), settings));
    relays.unshift(one);
    return one.address;
  };
  const daemons: TestDaemon[] = [];
  let next = await through(address, subject === "client" ? "tls" : "plain");
  if (subject !== "client") {
    const server = await testBed.server(next, { ...all, ...ofServer });
    daemons.unshift(server);
    next = await through(server.listen, "tls");
  }
  if (subject !== "server") {
    const client = await testBed.client(next, { ...all, ...ofClient });
    daemons.unshift(client);
    next = await through(client.listen, "plain");
  }
  const last = daemons.at(-1);
  if (last === undefined) throw new Error("no daemon on the way");
  const port = portOf(next);
  const connect = () => subject === "server" ? tlsEnd(port, testBed.pki, PATIENCE) : plainEnd(port);
  return { daemons, last, connect, relays };
}

/** How long the ends wait for a handshake, which some tests hold up, in milliseconds. */
const PATIENCE = 60_000;

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(":") + 1));
}

/** Starts the daemons and a target for them, with TLS where it is the daemon's to speak it. */
export async function startPath(
  testBed: TestBed,
  subject: PathKind,
  options: PathOptions = {},
): Promise<TargetPath> {
  const target = testBed.use(
    subject === "client" ? tlsTarget(testBed.pki, PATIENCE) : plainTarget(),
  );
  return { ...await startPathTo(testBed, subject, target.address, options), target };
}

/** The two ends of a new connection. */
export async function openBothEnds(
  { connect, target }: TargetPath,
): Promise<{ readonly downstream: End; readonly upstream: End }> {
  const [downstream, upstream] = await Promise.all([connect(), target.next()]);
  return { downstream, upstream };
}

/** The port of a target that sends everything back, with TLS where the last daemon speaks it. */
export async function echoPort(testBed: TestBed, subject: PathKind): Promise<number> {
  if (subject !== "client") return testBed.use(echoBackend()).port;
  const { ca, server } = testBed.pki;
  const own = { cert: server.pem, key: server.keyPem, ca: ca.pem };
  const echo = await plainServer({ ...own, requestCert: true, allowHalfOpen: true }, (socket) => {
    socket.pipe(socket);
  });
  return testBed.use(echo).port;
}
