/**
 * Draining one tunnel in bounded time.
 *
 * @module
 */

import assert from "node:assert/strict";
import { drainTunnel } from "../../../src/proxy/drain.ts";
import { lineLogger } from "../../support/log.ts";

const logger = lineLogger({ level: "error", format: "text", write: () => {} });

/** A tunnel with so many connections, which end when they are cut, or do not. */
class FakeTunnel {
  active: number;
  draining = false;
  cuts = 0;
  readonly #heeds: boolean;
  readonly #drained = Promise.withResolvers<void>();

  constructor(active: number, heeds = true) {
    this.active = active;
    this.#heeds = heeds;
  }

  drain(): Promise<void> {
    this.draining = true;
    if (this.active === 0) this.#drained.resolve();
    return this.#drained.promise;
  }

  end(): void {
    this.active = 0;
    if (this.draining) this.#drained.resolve();
  }

  cut(): void {
    this.cuts++;
    if (this.#heeds) this.end();
  }
}

const never = () => new AbortController().signal;

Deno.test("drain: stops in the same turn, and waits for what ends by itself", async () => {
  const tunnel = new FakeTunnel(2);
  const drained = drainTunnel(tunnel, { timeout: 0, hurry: never() }, logger);
  assert.ok(tunnel.draining);
  tunnel.end();
  assert.equal(await drained, "clean");
  assert.equal(tunnel.cuts, 0);
});

Deno.test("drain: each tunnel is cut when its own time is over", async () => {
  const [short, long] = [new FakeTunnel(1), new FakeTunnel(1)];
  const hurry = new AbortController();
  const ended = drainTunnel(long, { timeout: 3_600_000, hurry: hurry.signal }, logger);
  assert.equal(await drainTunnel(short, { timeout: 1, hurry: hurry.signal }, logger), "cut");
  assert.deepEqual([short.cuts, long.cuts], [1, 0]);
  hurry.abort();
  assert.equal(await ended, "cut");
  assert.deepEqual([short.cuts, long.cuts], [1, 1]);
});

Deno.test("drain: a hurry that came first cuts at once; with nothing to cut it is clean", async () => {
  const hurry = AbortSignal.abort();
  assert.equal(await drainTunnel(new FakeTunnel(1), { timeout: 0, hurry }, logger), "cut");
  assert.equal(await drainTunnel(new FakeTunnel(0), { timeout: 0, hurry }, logger), "clean");
});

Deno.test("drain: connections that do not heed the cut do not hold it up", async () => {
  const lines: string[] = [];
  const logger = lineLogger({
    level: "error",
    format: "text",
    write: (line) => void lines.push(line),
  });
  const tunnel = new FakeTunnel(3, false);
  const limits = { timeout: 0, hurry: AbortSignal.abort() };
  assert.equal(await drainTunnel(tunnel, limits, logger.with({ tunnel: "db" })), "cut");
  assert.match(
    lines.join(""),
    /msg="connections did not end when they were cut" tunnel=db active=3/,
  );
});
