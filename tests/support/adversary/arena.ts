/**
 * What the adversary's tables are made of, and how a row is played against a daemon: the peer does not
 * get in, the backend notices nothing, the daemon counts and logs the one right reason; its control,
 * the same peer without the defect, gets in; and so does an honest client at any time.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type CloseReason, closeReasonOf, type HandshakeReason } from "../../../src/outcome.ts";
import { type ClientPlay, EARLY, playClient, type Seen } from "./client.ts";
import type { Version } from "./hello.ts";
import type { LogLine, TestDaemon } from "../daemon.ts";
import type { Backend } from "../peers.ts";
import { type Issued, pathOf } from "../pki.ts";
import { until } from "../wait.ts";

/** How a peer is to be refused. */
export type Refused =
  /** By its certificate, or by what it says: counted as a failed handshake. */
  | { readonly handshake: HandshakeReason; readonly error: RegExp }
  /** By the rules: `rule` is what decided, `nearest` the near miss that the log tells. */
  | { readonly denied: RegExp; readonly nearest?: RegExp; readonly shown?: string };

/** One hostile peer of server mode. */
export type Row = {
  readonly name: string;
  readonly peer: ClientPlay;
  readonly refused: Refused;
  /** The same peer without its one defect. */
  readonly control: ClientPlay;
  /** The rule that lets the control in. */
  readonly rule?: string;
  /** By default both. */
  readonly versions?: readonly Version[];
};

/** Both versions. */
export const VERSIONS = ["TLS1.2", "TLS1.3"] as const satisfies readonly Version[];

/** Shows a certificate with those above it, as its holder. */
export function holder(leaf: Issued, ...more: readonly Issued[]): ClientPlay {
  return { chain: [...pathOf(leaf), ...more].map(({ der }) => der), key: leaf.key };
}

const COUNTED =
  /^mtlsd_(tls_handshake_errors|connections_closed|acl_decisions|connections|dial_errors|bytes_proxied|peers_without_certificate)_total/;

/** The counters that an attempt may move. */
export async function counters(daemon: TestDaemon): Promise<ReadonlyMap<string, number>> {
  const series = await daemon.metrics();
  return new Map([...series].filter(([name]) => COUNTED.test(name)));
}

/** What has changed, without what has not. */
export function increase(
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
): Record<string, number> {
  const changes = [...after].map(([name, value]) => [name, value - (before.get(name) ?? 0)]);
  return Object.fromEntries(changes.filter(([, by]) => by !== 0));
}

/** Counters as they are named when they move. */
export const counter = {
  accepted: "mtlsd_connections_total",
  handshake: (reason: HandshakeReason) => `mtlsd_tls_handshake_errors_total{reason="${reason}"}`,
  closed: (reason: CloseReason) => `mtlsd_connections_closed_total{reason="${reason}"}`,
  acl: (result: string) => `mtlsd_acl_decisions_total{result="${result}"}`,
  nameless: "mtlsd_peers_without_certificate_total",
} as const;

/** Settings of an {@linkcode Arena}. */
export type ArenaOptions = {
  readonly daemon: TestDaemon;
  readonly backend: Backend;
  /** A client that is let in whatever happens. */
  readonly good: ClientPlay;
  /** How the decision on those that are let in is counted; default `allowed`. */
  readonly admission?: "allowed" | "would_deny";
};

/** A daemon in server mode with its backend. */
export class Arena {
  readonly #options: ArenaOptions;
  #last: ReadonlyMap<string, number> | undefined;

  /** The backend echoes and has nobody else's connections. */
  constructor(options: ArenaOptions) {
    this.#options = options;
  }

  /** A row in each of its versions: refused, then the honest client, then the control. */
  async play(row: Row, versions: readonly Version[] = row.versions ?? VERSIONS): Promise<void> {
    const accepted = () => this.#options.daemon.waitForMetric("mtlsd_active_connections", 1);
    for (const version of versions) {
      await this.refuses((port) => playClient(port, version, row.peer, accepted), row.refused);
      await this.admits(version, this.#options.good);
      await this.admits(version, row.control, row.rule);
    }
  }

  /** Plays a peer that must not get in. */
  async refuses(attack: (port: number) => Promise<Seen>, refused: Refused): Promise<void> {
    const { daemon, backend } = this.#options;
    const connections = backend.connections;
    const received = backend.received;
    const before = await this.#before();
    const from = daemon.lines.length;
    const { text, tickets, port } = await attack(daemon.port);
    const [first, ...others] = await this.#linesAbout(port, from);
    assert.ok(first !== undefined && others.length === 1, daemon.log);
    assert.equal(text, "");
    assert.equal(tickets, 0, "it was given a ticket");
    assert.equal(backend.connections, connections, "the backend saw a connection");
    assert.equal(backend.received, received);
    const close = "denied" in refused ? "denied" : closeReasonOf(refused.handshake);
    checkLines(first, others[0], refused, close);
    const after = await counters(daemon);
    const moved = increase(before, after);
    assert.deepEqual(moved, {
      [counter.accepted]: 1,
      [counter.closed(close)]: 1,
      ..."denied" in refused
        ? { [counter.acl("denied")]: 1 }
        : { [counter.handshake(refused.handshake)]: 1 },
      ...moved[counter.nameless] === 1 && "denied" in refused ? { [counter.nameless]: 1 } : {},
    });
    this.#last = after;
  }

  /** Plays a peer that must get in; what it says comes back. */
  async admits(version: Version, play: ClientPlay, rule?: string): Promise<void> {
    const { daemon, backend, admission = "allowed" } = this.#options;
    const { connections, received } = backend;
    const before = await this.#before();
    const from = daemon.lines.length;
    const { text, port } = await playClient(daemon.port, version, play);
    const lines = await this.#linesAbout(port, from);
    assert.equal(text, EARLY, lines.map(({ raw }) => raw).join("\n"));
    const accepted = lines.find(({ fields }) => fields.msg === "listener: accepted connection");
    if (rule !== undefined) assert.equal(accepted?.fields.rule, rule);
    assert.equal(backend.connections, connections + 1);
    assert.equal(backend.received, received + EARLY.length);
    const after = await counters(daemon);
    const moved = increase(before, after);
    assert.equal(moved[counter.acl(admission)], 1);
    assert.equal(moved[counter.closed("completed")], 1);
    this.#last = after;
  }

  /** What the last attempt has left, unless it was not what was expected. */
  async #before(): Promise<ReadonlyMap<string, number>> {
    const last = this.#last ?? await counters(this.#options.daemon);
    this.#last = undefined;
    return last;
  }

  /** The log lines about the peer at this port, up to that which says that it is gone. */
  async #linesAbout(port: number, from: number): Promise<readonly LogLine[]> {
    const { daemon } = this.#options;
    const about = (): LogLine[] =>
      daemon.lines.slice(from).filter(({ fields }) => fields.remote === `127.0.0.1:${port}`);
    return await until(() => {
      const lines = about();
      const over = lines.at(-1)?.fields.msg === "listener: connection closed";
      return over ? lines : undefined;
    }, { every: 1, what: () => `the end of the connection from ${port} in:\n${daemon.log}` });
  }
}

function checkLines(
  warning: LogLine,
  closing: LogLine | undefined,
  refused: Refused,
  close: CloseReason,
): void {
  const { fields, raw } = warning;
  assert.equal(fields.level, "WARN", raw);
  if ("denied" in refused) {
    assert.equal(fields.msg, "listener: denied connection", raw);
    assert.match(fields.rule ?? "", refused.denied, raw);
    if (refused.nearest !== undefined) assert.match(fields.nearest ?? "", refused.nearest, raw);
    if (refused.shown !== undefined) assert.equal(fields.shown, refused.shown, raw);
  } else {
    assert.equal(fields.msg, "listener: handshake failed", raw);
    assert.equal(fields.reason, refused.handshake, raw);
    assert.match(fields.error ?? "", refused.error, raw);
  }
  assert.equal(closing?.fields.reason, close, closing?.raw);
}

/** Whatever peers called themselves: every line of the log is one of the daemon's own. */
export function assertWholeLines({ lines }: TestDaemon): void {
  for (const { raw } of lines) {
    assert.match(raw, /^time=\S+ level=(DEBUG|INFO|WARN|ERROR) msg=/);
    assert.doesNotMatch(raw, /[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}]/u);
  }
}
