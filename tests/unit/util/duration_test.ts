import assert from "node:assert/strict";
import { formatDuration, MAX_DURATION_MS, parseDuration } from "../../../src/util/duration.ts";

Deno.test({ name: "duration: Go's syntax in milliseconds", permissions: "none" }, () => {
  const cases: [string, number][] = [
    ["0", 0],
    ["-0", 0],
    ["+0", 0],
    ["0s", 0],
    ["-0s", 0],
    ["10s", 10_000],
    ["+10s", 10_000],
    ["1m30s", 90_000],
    ["250ms", 250],
    ["1h15m30.918s", 4_530_918],
    ["1.5h", 5_400_000],
    [".5s", 500],
    ["1.s", 1000],
    ["1s1s", 2000],
    ["1000us", 1],
    ["1000\u00b5s", 1],
    ["1000\u03bcs", 1],
    ["1000000ns", 1],
    ["596h", MAX_DURATION_MS],
    // Rounded up: only a zero duration is 0.
    ["1ns", 1],
    ["0.1ns", 1],
    ["1.0000001ms", 2],
    ["1.5ms", 2],
    ["0.1s", 100],
    ["0.3s", 300],
  ];
  for (const [text, value] of cases) {
    assert.deepEqual(parseDuration(text), { ok: true, value }, text);
  }
});

Deno.test({ name: "duration: refusals say how to mend it", permissions: "none" }, () => {
  const shape = 'must be a duration such as "10s"';
  const cases: [string, string][] = [
    ["", shape],
    ["-", shape],
    ["s", shape],
    [".", shape],
    [".s", shape],
    ["+-1s", shape],
    ["never", shape],
    [" 1s", shape],
    ["9".repeat(65), shape],
    ["10", 'a duration needs a unit: write "10s" for seconds'],
    ["1.5", 'a duration needs a unit: write "1.5s" for seconds'],
    ["00", 'a duration needs a unit: write "00s" for seconds'],
    ["1m30", 'a duration needs a unit: write "30s" for seconds'],
    ["1d", "the units of a duration are ns, us, ms, s, m and h"],
    ["1 s", "the units of a duration are ns, us, ms, s, m and h"],
    ["1S", "the units of a duration are ns, us, ms, s, m and h"],
    ["-1ns", "a duration must not be negative"],
    ["596h1ns", "must be at most 596h"],
    ["9".repeat(60) + "h", "must be at most 596h"],
  ];
  for (const [text, reason] of cases) {
    assert.deepEqual(parseDuration(text), { ok: false, reason }, text);
  }
});

Deno.test(
  { name: "duration: the longest one does not overflow a timer", permissions: "none" },
  () => {
    assert.ok(MAX_DURATION_MS < 2 ** 31);
  },
);

Deno.test({ name: "duration: written as Go writes it", permissions: "none" }, () => {
  const cases: [number, string][] = [
    [0, "0s"],
    [-0.1, "0s"],
    [1, "1ms"],
    [250, "250ms"],
    [1000, "1s"],
    [1500, "1.5s"],
    [61_001, "1m1.001s"],
    [90_000, "1m30s"],
    [3_600_000, "1h0m0s"],
    [4_530_918, "1h15m30.918s"],
    [-1500, "-1.5s"],
    [MAX_DURATION_MS, "596h0m0s"],
  ];
  for (const [value, text] of cases) {
    assert.equal(formatDuration(value), text);
    if (value >= 0) assert.deepEqual(parseDuration(text), { ok: true, value });
  }
});
