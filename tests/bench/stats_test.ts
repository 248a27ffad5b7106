import assert from "node:assert/strict";
import { median, percentile, ratio, spread } from "./stats.ts";

Deno.test("the median is the one in the middle, or the mean of the two there", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.equal(median([7]), 7);
  assert.throws(() => median([]), RangeError);
});

Deno.test("samples are not sorted in place, and not as text", () => {
  const samples = [10, 9, 1];
  assert.equal(median(samples), 9);
  assert.deepEqual(samples, [10, 9, 1]);
});

Deno.test("a percentile is a sample that so many do not exceed", () => {
  const samples = Array.from({ length: 100 }, (_, n) => 100 - n);
  assert.equal(percentile(samples, 50), 50);
  assert.equal(percentile(samples, 99), 99);
  assert.equal(percentile(samples, 100), 100);
  assert.equal(percentile([5], 1), 5);
  assert.throws(() => percentile([], 50), RangeError);
});

Deno.test("the spread is a share of the median", () => {
  assert.equal(spread([9, 10, 11]), 0.2);
  assert.equal(spread([4]), 0);
});

Deno.test("there is no ratio to nothing, nor of less than nothing", () => {
  assert.equal(ratio(3, 2), 1.5);
  assert.equal(ratio(3, 0), undefined);
  assert.equal(ratio(-1, 2), undefined);
});
