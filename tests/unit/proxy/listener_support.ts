/**
 * Listeners over a socket whose every answer a test decides.
 *
 * @module
 */

import { type Conn, pipeByReading, type Sink } from "../../../src/net/conn.ts";
import { Listener, type ListenerOptions } from "../../../src/proxy/listener.ts";
import { ConnectionTable } from "../../../src/proxy/connection_table.ts";
import type { Logger } from "../../../src/log/mod.ts";
import { lineLogger } from "../../support/log.ts";
import { LogLimiter } from "../../../src/log/limiter.ts";
import { AcceptError, type SocketListener } from "../../../src/net/mod.ts";

/** What bounds lines about strangers, with a report only when one is asked for. */
export function limiterOf(logger: Logger): LogLimiter {
  return new LogLimiter({
    logger,
    count: () => {},
    monotonic: () => performance.now(),
    setTimer: () => () => {},
  });
}

/** A logger and what was written to it, as lines of text. */
export function memoryLog(): { logger: Logger; limiter: LogLimiter; lines: string[] } {
  const lines: string[] = [];
  const logger = lineLogger({
    level: "debug",
    format: "text",
    write: (line) => void lines.push(line),
  });
  return { logger, limiter: limiterOf(logger), lines };
}

/** A connection that does nothing but remember that it was closed. */
export class Stub implements Conn {
  /** See {@linkcode Conn}. */
  readonly remote = "192.0.2.7:1234";
  /** See {@linkcode Conn}. */
  readonly local = "192.0.2.1:443";
  /** Whether it was. */
  closed = false;

  /** An end. */
  read(): Promise<null> {
    return Promise.resolve(null);
  }

  /** An end. */
  pipeTo(take: Sink): Promise<void> {
    return pipeByReading(this, take);
  }

  /** Takes everything. */
  write(): Promise<void> {
    return Promise.resolve();
  }

  /** Does nothing. */
  closeWrite(): Promise<void> {
    return Promise.resolve();
  }

  /** Remembers it. */
  close(): void {
    this.closed = true;
  }

  /** The same. */
  reset(): void {
    this.close();
  }
}

/** A listening socket whose every answer a test decides. */
export class FakeSocket implements SocketListener {
  /** See {@linkcode SocketListener}. */
  readonly address = "127.0.0.1:1";
  /** How often it was asked. */
  accepts = 0;
  /** Whether it was. */
  closed = false;
  /** What the next calls of `accept` give; when it is empty they wait. */
  readonly answers: (Conn | Error)[] = [];
  /** Given to every call while set. */
  always: Error | undefined;
  #waiting: { resolve: (c: Conn) => void; reject: (e: Error) => void } | undefined;

  /** The next answer. */
  accept(): Promise<Conn> {
    this.accepts++;
    if (this.closed) return Promise.reject(new Error("closed"));
    const answer = this.always ?? this.answers.shift();
    if (answer instanceof Error) return Promise.reject(answer);
    if (answer !== undefined) return Promise.resolve(answer);
    return new Promise((resolve, reject) => (this.#waiting = { resolve, reject }));
  }

  /** Answers the call that waits, or the next. */
  give(answer: Conn): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) this.answers.push(answer);
    else waiting.resolve(answer);
  }

  /** Rejects the call that waits. */
  close(): void {
    this.closed = true;
    this.#waiting?.reject(new Error("closed"));
  }
}

/** A listener, its socket, what it has logged, and what ends its connections. */
export type Started = {
  readonly socket: FakeSocket;
  readonly listener: Listener;
  readonly ends: (() => void)[];
  readonly lines: string[];
};

/** A table of connections with these limits, whose peers all stay authorized. */
export function tableOf(
  logger: Logger,
  { maxConnections = 0, maxHandshakes = 0 }: Limits = {},
): ConnectionTable {
  return new ConnectionTable({
    maxConnections,
    maxHandshakes,
    maxLifetime: 0,
    reauthorize: ({ peer }) => ({ authorized: true, peer }),
    logger,
    nextConn: () => 1,
    now: Date.now,
    monotonic: () => performance.now(),
  });
}

/** Limits of a listener's connections; 0 = none. */
export type Limits = { readonly maxConnections?: number; readonly maxHandshakes?: number };

/** A listener whose connections last until a test ends them. */
export function start(
  { maxConnections, maxHandshakes, ...options }: Partial<ListenerOptions> & Limits = {},
): Started {
  const socket = new FakeSocket();
  const log = memoryLog();
  const ends: (() => void)[] = [];
  const onConnection = () => new Promise<void>((end) => ends.push(end));
  const { logger, limiter } = log;
  const limits = { maxConnections: maxConnections ?? 0, maxHandshakes: maxHandshakes ?? 0 };
  const connections = tableOf(logger, limits);
  const listener = new Listener({ socket, connections, onConnection, logger, limiter, ...options });
  return { socket, listener, ends, lines: log.lines };
}

/** What accepting says when descriptors have run out. */
export const EMFILE: AcceptError = new AcceptError(new Error("Too many open files (os error 24)"));
