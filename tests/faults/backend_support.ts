/**
 * Backends for the rows about failing ones: in client mode they speak TLS, otherwise plain TCP.
 *
 * @module
 */

import { readToEnd } from "../support/conns.ts";
import { plainServer } from "../support/plain_tls.ts";
import { baseline, settled, waitForDescriptors } from "../support/process.ts";
import type { Path, PathKind } from "../support/paths.ts";
import type { TestBed } from "../support/testbed.ts";
import { PeerServer, Relay } from "../support/sockets.ts";
import { timed, until } from "../support/wait.ts";

/** How soon a caller has to hear of a fault, in milliseconds. */
export const SOON = 1000;

/** What a backend does to a connection once a caller has said something on it. */
export type Behaviour = {
  readonly says: string;
  /** `fin`: TLS or not, FIN and nothing else. `close`: in good order, over TLS too. */
  readonly then: "close" | "fin" | "rst";
  /** Do not wait for the caller to say something. */
  readonly first?: boolean;
};

/** A backend behind a relay, which cuts what a backend in good order would not. */
export type Misbehaving = {
  /** For the daemon. */
  readonly address: string;
  /** From now on. */
  behave(behaviour: Behaviour): void;
};

/** A backend that serves each connection as the row sets. */
export async function misbehaving(testBed: TestBed, subject: PathKind): Promise<Misbehaving> {
  let current: Behaviour = { says: "", then: "close" };
  const serve = async (
    { says, then }: Behaviour,
    number: number,
    send: (text: string) => Promise<void>,
    end: () => void,
  ): Promise<void> => {
    await send(says);
    if (then === "close") return end();
    const { downstream, upstream } = await relay.link(number);
    if (then === "rst") return downstream.reset();
    // What the relay has not passed on yet would not arrive.
    await until(() => upstream.received >= says.length);
    await settled(() => upstream.received, 50);
    downstream.end();
  };
  let count = 0;
  const port = subject === "client"
    ? testBed.use(
      await plainServer({ ...keys(testBed), allowHalfOpen: true }, (socket) => {
        const [number, behaviour] = [count++, current];
        const send = (text: string) =>
          new Promise<void>((done) => socket.write(text, () => done()));
        const go = () => void serve(behaviour, number, send, () => void socket.end());
        socket.resume();
        if (behaviour.first) go();
        else socket.once("data", go);
      }),
    ).port
    : testBed.use(
      await PeerServer.listen((peer) => {
        const [number, behaviour] = [count++, current];
        const go = () => {
          peer.onBytes = () => {};
          void serve(behaviour, number, (text) => peer.send(text), () => peer.end());
        };
        if (behaviour.first) go();
        else peer.onBytes = go;
      }),
    ).port;
  const relay = testBed.use(await Relay.to(port));
  return { address: relay.address, behave: (behaviour) => current = behaviour };
}

function keys({ pki }: TestBed): { cert: string; key: string; ca: string; requestCert: true } {
  return { cert: pki.server.pem, key: pki.server.keyPem, ca: pki.ca.pem, requestCert: true };
}

/** What a caller hears that says something, and how long that took from its connection on. */
export type Call = {
  readonly text: string;
  readonly end: "clean" | "broken";
  readonly took: number;
};

/** Calls, says something, hears it out and hangs up; fails when that takes over `limit` ms. */
export async function call({ connect }: Path, limit: number): Promise<Call> {
  const start = performance.now();
  const caller = await connect();
  try {
    // A backend that refuses may have ended it by now.
    const hearing = readToEnd(caller);
    const asking = Promise.resolve(caller.write(new TextEncoder().encode("request")));
    asking.catch(() => {});
    await timed(limit, hearing, "the end of a caller");
    const { text, end } = await hearing;
    if (end === "clean") await caller.closeWrite().catch(() => {});
    return { text, end, took: performance.now() - start };
  } finally {
    caller.close();
  }
}

/** Remembers how many descriptors each daemon has; the answer waits until that is so again. */
export async function resting({ daemons }: Path): Promise<() => Promise<void>> {
  const bases: number[] = [];
  for (const daemon of daemons) {
    // Probes leave a connection behind, as metrics do.
    await daemon.probe("/healthz");
    bases.push(await baseline(daemon));
  }
  return async () => {
    for (const [index, daemon] of daemons.entries()) {
      await daemon.waitForMetric("mtlsd_active_connections", 0);
      await waitForDescriptors(daemon.pid, bases[index] ?? 0);
    }
  };
}
