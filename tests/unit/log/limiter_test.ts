/**
 * The bound on lines that strangers can cause: what it leaves out, what it must not, and what it tells.
 *
 * @module
 */

import assert from "node:assert/strict";
import { lineLogger } from "../../support/log.ts";
import {
  LIMITED_MESSAGES,
  type LimitedMessage,
  type LineSource,
  LogLimiter,
  PER_MESSAGE,
  PER_SOURCE,
  REPORT_EVERY,
} from "../../../src/log/limiter.ts";
import type { LogLevel } from "../../../src/config/config.ts";
import { FakeClock } from "../../support/fake_clock.ts";

function start(level: LogLevel = "info") {
  const clock = new FakeClock();
  const lines: Record<string, unknown>[] = [];
  const counted = new Map<LimitedMessage, number>();
  const limiter = new LogLimiter({
    logger: lineLogger({
      level,
      format: "json",
      write: (line) => void lines.push(JSON.parse(line)),
    }),
    count: (message) => void counted.set(message, (counted.get(message) ?? 0) + 1),
    monotonic: clock.now,
    setTimer: clock.setTimer,
  });
  /** How many of so many lines get through. */
  const passed = (count: number, message: LimitedMessage, from: LineSource): number => {
    let through = 0;
    for (let i = 0; i < count; i++) if (limiter.allows("warn", message, from)) through++;
    return through;
  };
  return { clock, limiter, lines, counted, passed };
}

const from = (source: string, peer?: string): LineSource => ({ source, peer });

Deno.test("limiter: a source has its burst, and so many a second from then on", async () => {
  const { clock, passed, counted } = start();
  assert.equal(passed(1000, "handshake failed", from("192.0.2.7")), PER_SOURCE.burst);
  assert.equal(counted.get("handshake failed"), 1000 - PER_SOURCE.burst);
  await clock.advance(5000);
  assert.equal(passed(1000, "handshake failed", from("192.0.2.7")), 5 * PER_SOURCE.perSecond);
  // However long it is quiet, there is no more than the burst.
  await clock.advance(3_600_000);
  assert.equal(passed(1000, "handshake failed", from("192.0.2.7")), PER_SOURCE.burst);
});

Deno.test("limiter: a flood hides no other message, no other source, no other peer", () => {
  const { passed } = start();
  passed(100_000, "denied connection", from("192.0.2.7", "key A"));
  assert.equal(passed(10, "denied connection", from("192.0.2.8")), 10);
  assert.equal(passed(10, "denied connection", from("192.0.2.7", "key B")), 10);
  assert.equal(passed(10, "denied connection", from("192.0.2.7")), 10);
  for (const message of LIMITED_MESSAGES) {
    if (message === "denied connection") continue;
    assert.equal(passed(10, message, from("192.0.2.7", "key A")), 10, message);
  }
});

Deno.test("limiter: many sources together have a bound, and each message its own", async () => {
  const { clock, passed } = start();
  const all = (message: LimitedMessage) => {
    let through = 0;
    for (let i = 0; i < 5000; i++) through += passed(1, message, from(`10.0.${i >> 8}.${i & 255}`));
    return through;
  };
  assert.equal(all("handshake failed"), PER_MESSAGE.burst);
  assert.equal(all("denied connection"), PER_MESSAGE.burst);
  await clock.advance(2000);
  assert.equal(all("handshake failed"), 2 * PER_MESSAGE.perSecond);
});

Deno.test("limiter: what it leaves out is told while the flood goes on and after its end", async () => {
  const { clock, lines, passed, counted } = start();
  assert.equal(passed(PER_SOURCE.burst, "handshake failed", from("192.0.2.7")), PER_SOURCE.burst);
  assert.equal(clock.timers, 0, "nothing to tell");
  passed(30, "handshake failed", from("192.0.2.7"));
  passed(PER_SOURCE.burst + 5, "handshake failed", from("2001:db8::/64"));
  passed(PER_SOURCE.burst + 7, "denied connection", from("192.0.2.9", "key"));
  await clock.advance(REPORT_EVERY - 1);
  assert.equal(lines.length, 0);
  await clock.advance(1);
  const told = lines.splice(0).map(({ time: _, ...fields }) => fields);
  assert.deepEqual(told, [
    {
      level: "WARN",
      msg: "log lines suppressed",
      message: "handshake failed",
      suppressed: 35,
      duration: 10,
      sources: 2,
      most_from: "192.0.2.7",
      most_from_suppressed: 30,
    },
    {
      level: "WARN",
      msg: "log lines suppressed",
      message: "denied connection",
      suppressed: 7,
      duration: 10,
      sources: 1,
      most_from: "192.0.2.9",
      most_from_suppressed: 7,
    },
  ]);
  // It goes on, and ends: told once more, and then no more.
  passed(1000, "handshake failed", from("192.0.2.7"));
  await clock.advance(10 * REPORT_EVERY);
  assert.equal(lines.length, 1);
  assert.equal(lines[0]?.suppressed, 1000 - 10 * PER_SOURCE.perSecond);
  assert.equal(clock.timers, 0);
  assert.equal(counted.get("handshake failed"), 35 + Number(lines[0]?.suppressed));
});

Deno.test("limiter: a report that is asked for comes at once, and only once", async () => {
  const { clock, lines, limiter, passed } = start();
  passed(PER_SOURCE.burst + 3, "connection closed", from("unix"));
  limiter.report();
  assert.deepEqual(lines.map(({ suppressed }) => suppressed), [3]);
  limiter.report();
  await clock.advance(10 * REPORT_EVERY);
  assert.equal(lines.length, 1);
  assert.equal(clock.timers, 0);
});

Deno.test("limiter: what the level leaves out is no line that it suppresses", () => {
  const { limiter, counted } = start("error");
  for (let i = 0; i < 1000; i++) {
    assert.equal(limiter.allows("warn", "handshake failed", from("192.0.2.7")), false);
  }
  assert.equal(counted.size, 0);
  assert.equal(limiter.allows("error", "handshake failed", from("192.0.2.7")), true);
});

Deno.test("limiter: sources without end take no memory without end, nor a burst each time", () => {
  const { limiter, counted } = start();
  let through = 0;
  for (let i = 0; i < 200_000; i++) {
    if (limiter.allows("warn", "handshake failed", from(`2001:db8:${i.toString(16)}::/64`))) {
      through++;
    }
  }
  assert.equal(through, PER_MESSAGE.burst);
  assert.equal(counted.get("handshake failed"), 200_000 - PER_MESSAGE.burst);
});
