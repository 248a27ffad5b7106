/**
 * Copies between two connections, with one loop for each direction.
 *
 * A loop reads from one side only after its last write to the other has finished. That is all the
 * flow control that is needed. When one half ends, the end is passed on as a half-close after the
 * last byte; copying is over when both halves have ended.
 *
 * When a side breaks:
 * - Reading from it fails: nothing more can come from it or go to it, so both sides are dropped.
 *   The other side is reset without `closeWrite`: plain TCP has no other way to distinguish a
 *   broken stream from a complete one, and over TLS many peers accept a FIN as an end as well. What
 *   the broken side had sent before gets a moment to arrive, since a reset overtakes it.
 * - Writing to it fails: bytes that it sent before may still be unread, such as the response of a
 *   server that refuses a request half-way (HTTP 413) and closes. That direction continues until it
 *   ends by itself, while the sender's bytes are read and dropped: closing a socket with unread
 *   bytes resets it, and the reset would discard the response that the sender has not read yet.
 *
 * When a limit is reached or the signal aborts, nothing broke: both sides see a clean end (over
 * TLS: close_notify), if they accept it within a moment. Bytes that still arrive are read and
 * dropped.
 *
 * The reason that is returned:
 * - `completed` when both directions ended, whatever happens to the connections after that. A
 *   failing `closeWrite` changes nothing: all bytes were written before.
 * - `peer_reset`, `target_reset`: the side that broke first, by a reset or by ending TLS without
 *   close_notify, before both directions had ended. So a client that received its whole response
 *   and then resets without ending its own half is a `peer_reset`: what it was still sending is
 *   lost.
 * - `idle_timeout`, `close_timeout`, or the reason of the abort signal.
 * - `error`: everything else, such as a TLS protocol error.
 *
 * @module
 */

import { onceAborted, onceElapsed } from "../util/abort.ts";
import { type Conn, ConnError } from "../net/conn.ts";
import { CLOSE_REASONS, type CloseReason, type Direction } from "../outcome.ts";
import { messageOf } from "../util/errors.ts";

/** Settings of {@linkcode copyBidirectional}; durations are milliseconds, at most 2^31 - 1. */
export type CopyOptions = {
  /** End when neither direction has moved a byte for this long; 0 = no limit. */
  readonly idleTimeout: number;
  /** After one direction has ended, the other may continue for at most this long; 0 = no limit. */
  readonly closeTimeout: number;
  /**
   * Called after each write with the number of bytes; must not throw, and is not called again if it
   * does.
   */
  readonly onBytes?: ((direction: Direction, count: number) => void) | undefined;
  /**
   * Ends both directions; its `reason` should be a {@linkcode CloseReason}, anything else is
   * `shutdown`.
   */
  readonly signal?: AbortSignal | undefined;
};

/** The result of copying. */
export type CopyResult = {
  readonly reason: CloseReason;
  /** Bytes written in each direction. */
  readonly bytes: Readonly<Record<Direction, number>>;
  /** The error, for the log. */
  readonly detail: string | undefined;
};

/** Milliseconds that a peer has to receive the end of a connection that we close. */
const CLOSE_GRACE = 250;

/** Milliseconds after a side broke, to read what it had sent before and to let its sender stop. */
const GRACE = 250;

/**
 * Milliseconds that a side which has received the whole response may go on sending data that the
 * other no longer accepts, and how long it may be silent in between. Its bytes are read and
 * dropped: a program that gets a broken pipe may exit without reading the response.
 */
const LINGER = 5000;
const LINGER_SILENCE = 1000;

/**
 * Copies both ways until both have ended, one breaks, a limit is reached or `signal` aborts.
 *
 * `client` is the downstream side, `target` the upstream one. Never rejects. When it resolves both
 * connections are closed and no operation is pending.
 */
export function copyBidirectional(
  client: Conn,
  target: Conn,
  options: CopyOptions,
): Promise<CopyResult> {
  return new BidirectionalCopy(client, target, options).run();
}

type CopyEnd = { readonly conn: Conn; readonly reset: "peer_reset" | "target_reset" };

type Flow = {
  readonly direction: Direction;
  readonly from: CopyEnd;
  readonly to: CopyEnd;
  bytes: number;
  /** Monotonic time of its last completed write. */
  movedAt: number;
  /** The pending write, or the last one. */
  writing: Promise<void> | undefined;
  /** Whether the end was passed on to the receiver, or is about to be. */
  passedEnd: boolean;
  /** `dropping`: the receiver broke; what still arrives is read and discarded. */
  state: "reading" | "writing" | "dropping" | "ended";
};

/** The receiver failed, not the sender. */
class CannotWrite extends Error {
  constructor(cause: unknown) {
    super("Cannot write", { cause });
  }
}

type EndReason = { readonly reason: CloseReason; readonly detail: string | undefined };

class BidirectionalCopy {
  readonly #options: CopyOptions;
  readonly #flows: readonly [Flow, Flow];
  #onBytes: CopyOptions["onBytes"];
  #endReason: EndReason | undefined;
  /** The first side that broke, and the time from which its remaining data is waited for. */
  #broken: CopyEnd | undefined;
  #graceFrom = 0;
  #droppedAt = 0;
  #movedAt = performance.now();
  #endedAt: number | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closingBoth = false;
  #closed = false;
  #onClosed = (): void => {};

  constructor(client: Conn, target: Conn, options: CopyOptions) {
    const downstream: CopyEnd = { conn: client, reset: "peer_reset" };
    const upstream: CopyEnd = { conn: target, reset: "target_reset" };
    const start = {
      ...{ bytes: 0, movedAt: -Infinity, writing: undefined, passedEnd: false },
      state: "reading",
    } as const;
    this.#flows = [
      { direction: "client_to_target", from: downstream, to: upstream, ...start },
      { direction: "target_to_client", from: upstream, to: downstream, ...start },
    ];
    this.#options = options;
    this.#onBytes = options.onBytes;
  }

  async run(): Promise<CopyResult> {
    const { signal } = this.#options;
    const [up, down] = this.#flows;
    using _abort = onceAborted(
      signal,
      () => this.#cut({ reason: reasonOf(signal), detail: undefined }),
    );
    try {
      this.#watch();
      await Promise.all([this.#copy(up, down), this.#copy(down, up)]);
      if (!this.#hasArrived()) await this.#untilClosed();
    } finally {
      this.#close();
    }
    const { reason, detail } = this.#endReason ?? { reason: "completed", detail: undefined };
    return {
      reason,
      bytes: { client_to_target: up.bytes, target_to_client: down.bytes },
      detail,
    };
  }

  /** Never rejects: every error of the connections becomes the result. */
  async #copy(flow: Flow, other: Flow): Promise<void> {
    const to = flow.to.conn;
    try {
      await flow.from.conn.pipeTo((data) => {
        if (this.#closingBoth) return undefined;
        flow.state = "writing";
        const written = to.write(data);
        if (written === undefined) return this.#moved(flow, data.length);
        this.#movedAt = performance.now();
        const count = data.length;
        flow.writing = written;
        return written.then(() => this.#moved(flow, count), (error) => {
          throw new CannotWrite(error);
        });
      });
    } catch (error) {
      if (error instanceof CannotWrite) return await this.#cannotWrite(flow, error.cause);
      return this.#cannotRead(flow, other, error);
    }
    await this.#passEnd(flow);
  }

  #moved(flow: Flow, count: number): undefined {
    this.#movedAt = performance.now();
    flow.movedAt = this.#movedAt;
    flow.writing = undefined;
    flow.state = "reading";
    flow.bytes += count;
    if (this.#broken !== undefined) this.#watch();
    try {
      this.#onBytes?.(flow.direction, count);
    } catch {
      // A failing counter does not affect the connection.
      this.#onBytes = undefined;
    }
  }

  async #passEnd(flow: Flow): Promise<void> {
    flow.state = "writing";
    this.#ending();
    await this.#tellEnd(flow);
    flow.state = "ended";
    this.#ending();
  }

  /** Never rejects. Once for each direction. */
  async #tellEnd(flow: Flow): Promise<void> {
    if (flow.passedEnd) return;
    flow.passedEnd = true;
    try {
      await flow.to.conn.closeWrite();
    } catch {
      // All bytes were written before. If the other direction is affected too, its read fails.
    }
  }

  #cannotRead(flow: Flow, other: Flow, error: unknown): void {
    flow.state = "ended";
    if (this.#closingBoth) return;
    this.#broke(flow.from, error);
    // This also settles a pending write to it.
    flow.from.conn.close();
    // Nothing of the sender's is left unread, unless an operation on it is pending.
    const isQuiet = other.state === "reading" || other.state === "ended";
    if (isQuiet && this.#hasArrived()) this.#close();
    else this.#ending();
  }

  /** Whether what a broken side had sent has had time to arrive: a reset would overtake it. */
  #hasArrived(): boolean {
    const rest = this.#flows.find((flow) => flow.from === this.#broken);
    if (rest === undefined || rest.passedEnd) return true;
    return performance.now() - rest.movedAt >= GRACE;
  }

  #untilClosed(): Promise<void> {
    return this.#closed ? Promise.resolve() : new Promise((resolve) => {
      this.#onClosed = resolve;
      this.#ending();
    });
  }

  async #cannotWrite(flow: Flow, error: unknown): Promise<void> {
    if (!this.#closingBoth) this.#broke(flow.to, error);
    flow.state = "dropping";
    this.#ending();
    try {
      await flow.from.conn.pipeTo(() => {
        this.#droppedAt = performance.now();
        return undefined;
      });
    } catch (error) {
      if (!this.#closingBoth) this.#broke(flow.from, error);
    }
    flow.state = "ended";
  }

  #broke(side: CopyEnd, error: unknown): void {
    this.#endReason ??= endReasonOf(side, error);
    this.#broken ??= side;
    if (this.#broken !== side) this.#close();
  }

  /** A direction has ended, or is about to: limits that depend on that start now. */
  #ending(): void {
    const now = performance.now();
    this.#endedAt ??= now;
    this.#graceFrom = now;
    this.#watch();
  }

  /** Sets the only timer for the limit that is reached first, as far as is known now. */
  #watch(): void {
    if (this.#closingBoth) return;
    clearTimeout(this.#timer);
    if (this.#closed) return;
    const { idleTimeout, closeTimeout } = this.#options;
    const idleAt = idleTimeout > 0 ? this.#movedAt + idleTimeout : Infinity;
    const endAt = closeTimeout > 0 && this.#endedAt !== undefined
      ? this.#endedAt + closeTimeout
      : Infinity;
    const at = Math.min(idleAt, endAt, this.#graceEnd());
    if (at === Infinity) return;
    const left = Math.ceil(at - performance.now());
    if (left > 0) {
      this.#timer = setTimeout(() => this.#onTimer(), left);
    } else {
      const reason = at === endAt ? "close_timeout" : "idle_timeout";
      this.#cut({ reason, detail: undefined });
    }
  }

  /**
   * The runtime does not catch what a timer throws, and without the timer a connection may never
   * end.
   */
  #onTimer(): void {
    try {
      this.#watch();
    } catch (error) {
      this.#cut({
        reason: "error",
        detail: messageOf(error),
      });
    }
  }

  /** What a side sent before it broke has unlimited time to be written, but not to be read. */
  #graceEnd(): number {
    const rest = this.#flows.find((flow) => flow.from === this.#broken);
    if (rest === undefined || rest.state === "writing") return Infinity;
    const since = Math.max(this.#graceFrom, this.#movedAt);
    if (!rest.passedEnd) return since + GRACE;
    const silent = Math.max(since, this.#droppedAt) + LINGER_SILENCE;
    return Math.min(silent, this.#graceFrom + LINGER);
  }

  /** Ends copying now; if a side broke before, that remains the reason. */
  #cut(endReason: EndReason): void {
    this.#endReason ??= endReason;
    if (this.#broken === undefined) this.#closeBoth();
    else this.#close();
  }

  /** Nothing broke: both sides get a clean end, after the pending write to them. */
  #closeBoth(): void {
    if (this.#closingBoth || this.#closed) return;
    this.#closingBoth = true;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#close(), CLOSE_GRACE);
    for (const flow of this.#flows) {
      const written = flow.writing ?? Promise.resolve();
      // If that write failed or is cut short, no end can be passed on.
      void written.then(() => this.#tellEnd(flow), () => {});
    }
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const { to, passedEnd } of this.#flows) {
      const brokenOff = this.#broken !== undefined && this.#broken !== to && !passedEnd;
      if (brokenOff) to.conn.reset();
      else to.conn.close();
    }
    this.#onClosed();
  }
}

function reasonOf(signal: AbortSignal | undefined): CloseReason {
  return CLOSE_REASONS.find((reason) => reason === signal?.reason) ?? "shutdown";
}

function endReasonOf(side: CopyEnd, error: unknown): EndReason {
  const detail = messageOf(error);
  if (!(error instanceof ConnError)) return { reason: "error", detail };
  switch (error.fault) {
    case "reset":
    case "truncated":
      return { reason: side.reset, detail };
    case "protocol":
    case "closed":
    case "other":
      return { reason: "error", detail };
    default:
      return error.fault satisfies never;
  }
}

/**
 * Ends a connection cleanly, with close_notify over TLS, waits up to {@linkcode CLOSE_GRACE}
 * milliseconds for the peer to do the same, and closes it. Bytes that still arrive are read and
 * dropped, because closing a socket with unread bytes resets it. Never rejects.
 */
export async function closeGracefully(conn: Conn): Promise<void> {
  using _limit = onceElapsed(CLOSE_GRACE, () => conn.close());
  try {
    await Promise.all([conn.closeWrite(), conn.pipeTo(() => undefined)]);
  } catch {
    // The connection broke, or the time is up.
  } finally {
    conn.close();
  }
}
