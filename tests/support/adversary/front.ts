/**
 * Client mode among adversaries: a daemon, whoever it dials, and a caller with a secret. A row's server
 * does not hear one byte of the caller's; its control, the same server without the defect, is used.
 *
 * @module
 */

import assert from "node:assert/strict";
import { counter, counters, increase, type Refused, VERSIONS } from "./arena.ts";
import type { Version } from "./hello.ts";
import { type Betrayed, playServer, type ServerPlay } from "./server.ts";
import type { LogLine, TestDaemon } from "../daemon.ts";
import { Peer, type PeerServer } from "../sockets.ts";
import { until } from "../wait.ts";

/** One hostile server. */
export type ServerRow = {
  readonly name: string;
  readonly server: ServerPlay;
  readonly refused: Refused;
  /** The same server without its one defect. */
  readonly control: ServerPlay;
  /** By default both. */
  readonly versions?: readonly Version[];
};

/** What the caller has to say. */
export const SECRET = "the caller's secret";
const WELCOME = "welcome";

/** A daemon in client mode whose target the test plays. */
export class Front {
  readonly #daemon: TestDaemon;
  readonly #target: PeerServer;
  readonly #good: ServerPlay;

  /** `good` is a server that the daemon takes whatever happens. */
  constructor(daemon: TestDaemon, target: PeerServer, good: ServerPlay) {
    this.#daemon = daemon;
    this.#target = target;
    this.#good = good;
  }

  /** A row in each of its versions: refused, then the right server, then the control. */
  async play(row: ServerRow): Promise<void> {
    for (const version of row.versions ?? VERSIONS) {
      await this.refuses(version, row.server, row.refused);
      await this.uses(version, this.#good);
      await this.uses(version, row.control);
    }
  }

  /** Calls, with the server playing its part. */
  async #call(version: Version, play: ServerPlay): Promise<{
    readonly heard: string;
    readonly betrayed: Betrayed;
    readonly lines: readonly LogLine[];
  }> {
    const index = this.#target.peers.length;
    const from = this.#daemon.lines.length;
    await using caller = await Peer.connect(this.#daemon.port);
    const port = caller.localPort;
    await caller.send(SECRET);
    caller.end();
    const betrayed = await playServer(await this.#target.peer(index), version, play);
    await caller.ended();
    const about = (): LogLine[] =>
      this.#daemon.lines.slice(from).filter(({ fields }) => fields.remote === `127.0.0.1:${port}`);
    const lines = await until(() => {
      const lines = about();
      return lines.at(-1)?.fields.msg === "dialer: connection closed" ? lines : undefined;
    }, { every: 1, what: () => `the end of the connection from ${port} in:\n${this.#daemon.log}` });
    return { heard: caller.text, betrayed, lines };
  }

  /** Plays a server that must not be used. */
  async refuses(version: Version, play: ServerPlay, refused: Refused): Promise<void> {
    const before = await counters(this.#daemon);
    const { heard, betrayed, lines } = await this.#call(version, { ...play, welcome: WELCOME });
    const raw = lines.map((line) => line.raw).join("\n");
    assert.equal(heard, "", "the caller heard the server");
    assert.equal(betrayed.text, "", "the server heard the caller");
    assert.ok(!betrayed.octets.includes(SECRET));
    // Under TLS 1.2 the client's certificate and Finished leave before the server can be judged.
    if (version === "TLS1.3") {
      assert.equal(betrayed.finished, false, raw);
      assert.equal(betrayed.certificates, 0, raw);
    }
    assert.equal(lines.length, 2, raw);
    const fields = lines[0]?.fields ?? {};
    const close = "denied" in refused ? "denied" : "dial_failed";
    if ("denied" in refused) {
      assert.equal(fields.msg, "dialer: denied connection", raw);
      assert.match(fields.rule ?? "", refused.denied, raw);
    } else {
      assert.equal(fields.msg, "dialer: handshake failed", raw);
      assert.equal(fields.reason, refused.handshake, raw);
      assert.match(fields.error ?? "", refused.error, raw);
    }
    assert.equal(lines[1]?.fields.reason, close, raw);
    assert.deepEqual(increase(before, await counters(this.#daemon)), {
      [counter.accepted]: 1,
      [counter.closed(close)]: 1,
      ..."denied" in refused
        ? { [counter.acl("denied")]: 1 }
        : { [counter.handshake(refused.handshake)]: 1 },
    });
  }

  /** Plays a server that must be used. */
  async uses(version: Version, play: ServerPlay): Promise<void> {
    const { heard, betrayed, lines } = await this.#call(version, { ...play, welcome: WELCOME });
    const raw = lines.map((line) => line.raw).join("\n");
    assert.equal(betrayed.text, SECRET, raw);
    assert.equal(betrayed.finished, true, raw);
    assert.equal(betrayed.certificates, play.incurious === true ? 0 : 1, raw);
    assert.equal(heard, WELCOME, raw);
  }
}
