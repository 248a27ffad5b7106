/**
 * What a scenario between two hosts is, and what several of them need.
 *
 * @module
 */

import type { Conn } from "../../src/net/conn.ts";
import { dialTcp, listenTcp, type TcpListener } from "../../src/net/mod.ts";
import type { TestDaemon } from "../support/daemon.ts";
import { until } from "../support/wait.ts";
import type { Scale } from "./row.ts";
import type { Hosts } from "./support_netns.ts";
import { readHash, Sending } from "../support/conns.ts";
import { split } from "../support/peers.ts";

/** One scenario. */
export type Scenario = {
  readonly name: string;
  readonly fault: string;
  readonly holds: string;
  /** Does it; the figure. */
  readonly run: (hosts: Hosts, scale: Scale) => Promise<string>;
};

/** A backend whose connections the scenario serves itself. */
export function backendOn(hosts: Hosts): TcpListener & Disposable {
  const listener = listenTcp({ host: hosts.backendHost, port: 0 });
  return Object.assign(listener, { [Symbol.dispose]: () => listener.close() });
}

/** A user of the client daemon. */
export function userOf(client: TestDaemon): Promise<Conn> {
  const { hostname: host, port } = split(client.listen);
  return dialTcp({ host, port }, { timeout: 10_000 });
}

/** Both ends of one connection through the tunnel. */
export type Ends = { readonly user: Conn; readonly backend: Conn };

/** Connects a user, and gives the backend's end of it. */
export async function connectEnds(client: TestDaemon, listener: TcpListener): Promise<Ends> {
  const user = await userOf(client);
  let backend: Conn | undefined;
  const accepting = listener.accept().then((accepted) => backend = accepted);
  accepting.catch(() => {}); // The scenario is over by then.
  return {
    user,
    backend: await until(() => backend, {
      what: () => `a connection to the backend in:\n${client.log}`,
    }),
  };
}

/** A transfer both ways at once. */
export class BothWays {
  /** Resolves when all has arrived, byte for byte; rejects when it has not. */
  readonly done: Promise<void>;
  readonly #up: Sending;
  readonly #down: Sending;

  /** Starts at once; `size` bytes each way. */
  constructor({ user, backend }: Ends, size: number) {
    this.#up = new Sending(user, size);
    this.#down = new Sending(backend, size);
    this.done = this.#check(user, backend, size);
    this.done.catch(() => {}); // Awaited by those who get that far.
  }

  /** Bytes that have left both senders. */
  get sent(): number {
    return this.#up.sent + this.#down.sent;
  }

  async #check(user: Conn, backend: Conn, size: number): Promise<void> {
    const [atBackend, atUser] = await Promise.all([readHash(backend), readHash(user)]);
    const wanted = [await this.#up.hash, await this.#down.hash];
    if (atBackend.hash !== wanted[0] || atUser.hash !== wanted[1]) {
      throw new Error(`of ${size} bytes each way ${atBackend.size} and ${atUser.size} arrived`);
    }
  }
}

/** Seconds from `start` to `end`, with one decimal. */
export function since(start: number, end: number = performance.now()): string {
  return ((end - start) / 1000).toFixed(1);
}

/** Waits until a connection of the daemon has ended for this reason, in the log; when that was. */
export async function closedAs(
  daemon: TestDaemon,
  reason: string,
  within = 20_000,
): Promise<number> {
  const match = () =>
    daemon.lines.some(({ fields }) =>
      fields.msg?.endsWith("connection closed") && fields.reason === reason
    );
  await until(match, { what: () => `an end by ${reason} in:\n${daemon.log}`, within });
  return performance.now();
}
