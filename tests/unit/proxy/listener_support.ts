/**
 * Listeners over a socket whose every answer a test decides.
 *
 * @module
 */

import { type Conn, pipeByReading, type Sink } from "../../../src/net/conn.ts";
import { type Acceptor, Listener, type ListenerOptions } from "../../../src/proxy/listener.ts";
import type { Logger } from "../../../src/log/mod.ts";
import { lineLogger } from "../../support/log.ts";
import { LogLimiter } from "../../../src/log/limiter.ts";
import { AcceptError } from "../../../src/net/mod.ts";

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
export class FakeSocket implements Acceptor {
  /** See {@linkcode Acceptor}. */
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

/** A listener whose connections last until they are told to end. */
export function start(options: Partial<ListenerOptions> = {}): Started {
  const socket = new FakeSocket();
  const log = memoryLog();
  const ends: (() => void)[] = [];
  const onConnection = () => new Promise<void>((end) => ends.push(end));
  const { logger, limiter } = log;
  const listener = new Listener({
    socket,
    maxConnections: 0,
    onConnection,
    logger,
    limiter,
    ...options,
  });
  return { socket, listener, ends, lines: log.lines };
}

/** What accepting says when descriptors have run out. */
export const EMFILE: AcceptError = new AcceptError(new Error("Too many open files (os error 24)"));
