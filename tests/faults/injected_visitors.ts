/**
 * Who connects while faults are injected: visitors who may suffer, and company that must not.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type ClientOptions, connectTls } from "../support/peers.ts";
import { Peer } from "../support/sockets.ts";
import { until } from "../support/wait.ts";

/** How to reach the daemon, behind which there is an echo. */
export type Connect = { readonly tls: ClientOptions } | { readonly plain: number };

async function open(connect: Connect): Promise<Peer> {
  return "tls" in connect ? new Peer(await connectTls(connect.tls)) : Peer.connect(connect.plain);
}

/** `undefined` when it was cut in the handshake. */
async function enter(connect: Connect): Promise<Peer | undefined> {
  const opening = open(connect).then((peer) => ({ peer }), () => ({ peer: undefined }));
  let outcome: { readonly peer: Peer | undefined } | undefined;
  void opening.then((opened) => outcome = opened);
  const { peer } = await until(() => outcome, { what: () => "a handshake", within: 5000 });
  return peer;
}

/**
 * Comes in, has two messages echoed and leaves in good order, or waits to be shown out when `quiet`.
 * Whether it was served; false when it was cut before.
 *
 * @throws {Error} when it was neither served nor cut.
 */
export async function visit(
  connect: Connect,
  { quiet }: { readonly quiet: boolean },
): Promise<boolean> {
  await using visitor = await enter(connect);
  if (visitor === undefined) return false;
  for (const said of ["ping.", "ping.pong."]) {
    void visitor.send(said.slice(-5));
    await until(() => visitor.text === said || visitor.ending !== "open", {
      what: () => `an echo or an end, having received "${visitor.text}"`,
      within: 5000,
    });
    if (visitor.text !== said) return false;
  }
  if (!quiet) visitor.end();
  await visitor.ended(5000);
  return true;
}

/** Connections that are used all the time. */
export class Company implements AsyncDisposable {
  readonly #peers: readonly Peer[];
  readonly #loop: Promise<void>;
  #rounds = 0;
  #leaving = false;
  #fault: unknown;

  private constructor(peers: readonly Peer[]) {
    this.#peers = peers;
    this.#loop = this.#talk().catch((error) => this.#fault = error);
  }

  /** Connects each, one after the other. */
  static async join(...connects: readonly Connect[]): Promise<Company> {
    const peers: Peer[] = [];
    for (const connect of connects) {
      const peer = await open(connect);
      await peer.send("hello");
      await peer.receives("hello");
      peers.push(peer);
    }
    return new Company(peers);
  }

  async #talk(): Promise<void> {
    while (!this.#leaving) {
      const expected = this.#peers.map((peer) => peer.received + 5);
      for (const peer of this.#peers) void peer.send("still");
      for (const [index, peer] of this.#peers.entries()) {
        await until(() => peer.received === expected[index], {
          what: () => "the echo of a connection that no fault was meant for",
          failed: () => peer.ending !== "open",
          within: 5000,
        });
      }
      this.#rounds++;
      await new Promise((done) => setTimeout(done, 10));
    }
  }

  /** @throws when one of them was not served. */
  check(): void {
    if (this.#fault !== undefined) throw this.#fault;
  }

  /** Says goodbye; how many echoes there were. */
  async leave(): Promise<number> {
    this.#leaving = true;
    await this.#loop;
    this.check();
    for (const peer of this.#peers) peer.end();
    for (const peer of this.#peers) assert.equal(await peer.ended(5000), "end");
    return this.#rounds * this.#peers.length;
  }

  /** Cuts what is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#leaving = true;
    await this.#loop;
    for (const peer of this.#peers) await peer[Symbol.asyncDispose]();
  }
}
