/**
 * What is made of samples.
 *
 * @module
 */

/**
 * The value that `percent` of the samples do not exceed, by the nearest rank.
 *
 * @throws {RangeError} without any sample.
 */
export function percentile(samples: readonly number[], percent: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const value = sorted[Math.max(0, Math.ceil(sorted.length * percent / 100) - 1)];
  if (value === undefined) throw new RangeError("Cannot rank samples: there are none");
  return value;
}

/**
 * The one in the middle, or the mean of the two there.
 *
 * @throws {RangeError} without any sample.
 */
export function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const upper = sorted[sorted.length >> 1];
  const lower = sorted[(sorted.length - 1) >> 1];
  if (upper === undefined || lower === undefined) {
    throw new RangeError("Cannot take a median: there are no samples");
  }
  return (lower + upper) / 2;
}

/** How far samples are apart, as a share of their median: 0.1 is a tenth from lowest to highest. */
export function spread(samples: readonly number[]): number {
  return (Math.max(...samples) - Math.min(...samples)) / Math.abs(median(samples));
}

/** `own` as a multiple of `other`; `undefined` where that says nothing. */
export function ratio(own: number, other: number): number | undefined {
  return other > 0 && own >= 0 ? own / other : undefined;
}
