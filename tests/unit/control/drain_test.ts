/**
 * Draining one tunnel in bounded time, and giving all tunnels new state or none.
 *
 * @module
 */

import assert from "node:assert/strict";
import { drainTunnel } from "../../../src/control/drain.ts";
import { updateAll } from "../../../src/control/update_all.ts";
import { lineLogger } from "../../support/log.ts";
import type { TunnelState } from "../../../src/proxy/tunnel.ts";

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

Deno.test("swap: all tunnels get their next state, or all keep what they had", () => {
  const state = (name: string) => ({ name } as unknown as TunnelState);
  const [a, b, c, a2, b2, c2] = ["a", "b", "c", "a2", "b2", "c2"].map(state);
  assert.ok(a && b && c && a2 && b2 && c2);
  const given: TunnelState[] = [];
  let broken: TunnelState | undefined;
  const one = (state: TunnelState) => ({
    state,
    tunnel: {
      update: (next: TunnelState) => {
        if (next === broken) throw new Error("no room");
        given.push(next);
      },
    },
  });
  const tunnels = [one(a), one(b), one(c)];
  const next = new Map([[a, a2], [b, b2], [c, c2]]);
  const swap = () => updateAll(tunnels, ({ state }) => next.get(state) ?? state);
  broken = c2;
  assert.throws(swap, /no room/);
  assert.deepEqual(given, [a2, b2, a, b]);
  assert.deepEqual(tunnels.map(({ state }) => state), [a, b, c]);
  broken = undefined;
  given.length = 0;
  swap();
  assert.deepEqual(given, [a2, b2, c2]);
  assert.deepEqual(tunnels.map(({ state }) => state), [a2, b2, c2]);
  // What cannot even be made changes nothing.
  given.length = 0;
  assert.throws(() =>
    updateAll(tunnels, ({ state }) => {
      if (state === c2) throw new Error("no such material");
      return a;
    }), /no such material/);
  assert.deepEqual(given, []);
});
