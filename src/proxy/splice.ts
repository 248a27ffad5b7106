/**
 * Joining two channels: one copy loop for each direction.
 *
 * A loop reads one side only after its last write to the other has finished. That is all the flow
 * control there is, and all that is needed. A half that ends is passed on as a half-close after the
 * last byte; the splice is over when both have ended.
 *
 * When a side breaks:
 * - Reading it fails: nothing more can come from there or go there, so both are dropped. `closeWrite` is
 *   not called, and the other side is reset: plain TCP has no other sign that tells a stream which was
 *   broken off from one that is complete, and over TLS many take a FIN for an end as well. What the broken
 *   side had sent before gets a moment to arrive, since a reset overtakes it.
 * - Writing to it fails: what it said before may still be unread, such as the answer of a server that
 *   refuses a request half-way (HTTP 413) and closes. That direction goes on until it ends by itself,
 *   while the sender's bytes are read and dropped: a socket that is closed with unread bytes is reset,
 *   and a reset takes with it the answer that the sender has not read yet.
 *
 * When a limit is reached or the signal aborts, nothing broke: both sides see an end in good order (over
 * TLS: close_notify), as far as they take it within a moment. What still comes is read and dropped.
 *
 * The reason that is returned:
 * - `completed` when both directions ended, however the connections go down after that. A failing
 *   `closeWrite` changes nothing: the bytes were all written before.
 * - `peer_reset`, `target_reset`: the side that broke first, by a reset or by an end of TLS without
 *   close_notify, before both directions had ended. So a client that got all of its answer and then
 *   resets without having ended its own half is a `peer_reset`: what it was still sending is lost.
 * - `idle_timeout`, `close_timeout`, or the reason of the abort signal.
 * - `error`: everything else, such as a TLS protocol error.
 *
 * @module
 */

import { type Channel, ChannelError } from "../channel.ts";
import { FAREWELL } from "./farewell.ts";
import { CLOSE_REASONS, type CloseReason, type Direction } from "./outcome.ts";

/** Settings of {@linkcode splice}; durations are milliseconds, at most 2^31 - 1. */
export type SpliceOptions = {
  /** End it when neither direction moved a byte for so long; 0 = no limit. */
  readonly idleTimeout: number;
  /** Once one direction has ended the other may go on at most this long; 0 = no limit. */
  readonly closeTimeout: number;
  /** Told after each write how many bytes moved; must not throw, and is not called again if it does. */
  readonly onBytes?: ((direction: Direction, count: number) => void) | undefined;
  /** Cuts both; its `reason` should be a {@linkcode CloseReason}, anything else is `shutdown`. */
  readonly signal?: AbortSignal | undefined;
};

/** How it ended. */
export type SpliceResult = {
  readonly reason: CloseReason;
  /** Bytes that were written, each way. */
  readonly bytes: Readonly<Record<Direction, number>>;
  /** What went wrong, for the log. */
  readonly detail: string | undefined;
};

/**
 * So many milliseconds remain, after a side broke, for what is still under way: to read what a side
 * had sent before it broke, and for its sender to stop sending.
 */
const GRACE = 250;

/**
 * Milliseconds that a side which has got the whole answer may go on sending what the other one does not
 * take any more, and how long it may be silent in between. Its bytes are read and dropped: a program that
 * meets a broken pipe may leave without reading the answer.
 */
const LINGER = 5000;
const LINGER_SILENCE = 1000;

/**
 * Copy both ways until both have ended, something breaks, a limit is reached or `signal` aborts.
 *
 * `client` is the side that was accepted, `target` the one that was dialled. Never rejects. When it
 * resolves both channels are closed and nothing is under way any more.
 */
export function splice(
  client: Channel,
  target: Channel,
  options: SpliceOptions,
): Promise<SpliceResult> {
  return new Splice(client, target, options).run();
}

type Side = { readonly channel: Channel; readonly reset: "peer_reset" | "target_reset" };

type Flow = {
  readonly direction: Direction;
  readonly from: Side;
  readonly to: Side;
  bytes: number;
  /** When a write of it was last done, on the clock that never goes back. */
  movedAt: number;
  /** The write that is under way, or was last. */
  writing: Promise<void> | undefined;
  /** The receiver is told of the end, or has been. */
  passedEnd: boolean;
  /** `dropping`: the receiver broke; what still comes is read and thrown away. */
  state: "reading" | "writing" | "dropping" | "ended";
};

/** It was the receiver that failed, not the sender. */
class CannotWrite extends Error {
  constructor(cause: unknown) {
    super("Cannot write", { cause });
  }
}

type Verdict = { readonly reason: CloseReason; readonly detail: string | undefined };

class Splice {
  readonly #options: SpliceOptions;
  readonly #flows: readonly [Flow, Flow];
  #onBytes: SpliceOptions["onBytes"];
  #verdict: Verdict | undefined;
  /** The first side that broke, and since when there is nothing to do but wait for its rest. */
  #broken: Side | undefined;
  #graceFrom = 0;
  #droppedAt = 0;
  #movedAt = performance.now();
  #endedAt: number | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #leaving = false;
  #closed = false;
  #onClosed = (): void => {};

  constructor(client: Channel, target: Channel, options: SpliceOptions) {
    const near: Side = { channel: client, reset: "peer_reset" };
    const far: Side = { channel: target, reset: "target_reset" };
    const start = {
      ...{ bytes: 0, movedAt: -Infinity, writing: undefined, passedEnd: false },
      state: "reading",
    } as const;
    this.#flows = [
      { direction: "client_to_target", from: near, to: far, ...start },
      { direction: "target_to_client", from: far, to: near, ...start },
    ];
    this.#options = options;
    this.#onBytes = options.onBytes;
  }

  async run(): Promise<SpliceResult> {
    const { signal } = this.#options;
    const abort = () => this.#cut({ reason: reasonOf(signal), detail: undefined });
    const [up, down] = this.#flows;
    signal?.addEventListener("abort", abort, { once: true });
    try {
      if (signal?.aborted) abort();
      this.#watch();
      await Promise.all([this.#copy(up, down), this.#copy(down, up)]);
      if (!this.#hasArrived()) await this.#untilClosed();
    } finally {
      signal?.removeEventListener("abort", abort);
      this.#close();
    }
    const { reason, detail } = this.#verdict ?? { reason: "completed", detail: undefined };
    return {
      reason,
      bytes: { client_to_target: up.bytes, target_to_client: down.bytes },
      detail,
    };
  }

  /** Never rejects: whatever the channels throw becomes the verdict. */
  async #copy(flow: Flow, other: Flow): Promise<void> {
    const to = flow.to.channel;
    try {
      await flow.from.channel.pump((data) => {
        if (this.#leaving) return undefined;
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
      // Whoever counts has a fault of its own; the bytes are none the worse for it.
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
      await flow.to.channel.closeWrite();
    } catch {
      // All bytes were written before. If the other direction suffers too, its read tells.
    }
  }

  #cannotRead(flow: Flow, other: Flow, error: unknown): void {
    flow.state = "ended";
    if (this.#leaving) return;
    this.#broke(flow.from, error);
    // This also ends a write to it that is under way.
    flow.from.channel.close();
    // Unless the sender is in the middle of something, nothing of it is left unread.
    const isQuiet = other.state === "reading" || other.state === "ended";
    if (isQuiet && this.#hasArrived()) this.#close();
    else this.#ending();
  }

  /** Whether what a broken side had sent has had its time: a reset would overtake it. */
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
    if (!this.#leaving) this.#broke(flow.to, error);
    flow.state = "dropping";
    this.#ending();
    try {
      await flow.from.channel.pump(() => {
        this.#droppedAt = performance.now();
        return undefined;
      });
    } catch (error) {
      if (!this.#leaving) this.#broke(flow.from, error);
    }
    flow.state = "ended";
  }

  #broke(side: Side, error: unknown): void {
    this.#verdict ??= verdictOf(side, error);
    this.#broken ??= side;
    if (this.#broken !== side) this.#close();
  }

  /** A direction ends, or is on its way to: limits that depend on that start now. */
  #ending(): void {
    const now = performance.now();
    this.#endedAt ??= now;
    this.#graceFrom = now;
    this.#watch();
  }

  /** The one timer: set for the limit that comes first, as far as can be said now. */
  #watch(): void {
    if (this.#leaving) return;
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

  /** Nobody is there to catch what this throws, and without its timer a connection may never end. */
  #onTimer(): void {
    try {
      this.#watch();
    } catch (error) {
      this.#cut({
        reason: "error",
        detail: error instanceof Error ? error.message : String(error),
      });
    }
  }

  /** What a side said before it broke may take its time to be written, but not to be read. */
  #graceEnd(): number {
    const rest = this.#flows.find((flow) => flow.from === this.#broken);
    if (rest === undefined || rest.state === "writing") return Infinity;
    const since = Math.max(this.#graceFrom, this.#movedAt);
    if (!rest.passedEnd) return since + GRACE;
    const silent = Math.max(since, this.#droppedAt) + LINGER_SILENCE;
    return Math.min(silent, this.#graceFrom + LINGER);
  }

  /** Ends it now; where a side broke before, that stays the reason. */
  #cut(verdict: Verdict): void {
    this.#verdict ??= verdict;
    if (this.#broken === undefined) this.#leave();
    else this.#close();
  }

  /** Nothing broke: both sides are told of the end, once the write to them that is under way is done. */
  #leave(): void {
    if (this.#leaving || this.#closed) return;
    this.#leaving = true;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#close(), FAREWELL);
    for (const flow of this.#flows) {
      const written = flow.writing ?? Promise.resolve();
      // Where it failed, or is cut short, there is no one to tell.
      void written.then(() => this.#tellEnd(flow), () => {});
    }
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const { to, passedEnd } of this.#flows) {
      const brokenOff = this.#broken !== undefined && this.#broken !== to && !passedEnd;
      if (brokenOff) to.channel.reset();
      else to.channel.close();
    }
    this.#onClosed();
  }
}

function reasonOf(signal: AbortSignal | undefined): CloseReason {
  return CLOSE_REASONS.find((reason) => reason === signal?.reason) ?? "shutdown";
}

function verdictOf(side: Side, error: unknown): Verdict {
  const detail = error instanceof Error ? error.message : String(error);
  if (!(error instanceof ChannelError)) return { reason: "error", detail };
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
