/**
 * What a measure is.
 *
 * @module
 */

import type { Bench } from "./bench.ts";
import type { Mode, Share } from "./running.ts";
import type { Subject, SubjectName } from "./subjects.ts";

/** One figure. */
export type Sample = {
  /** Which of the figures of its measure; "" where there is one. */
  readonly label: string;
  readonly unit: "ms" | "us" | "s/GB" | "KiB" | "MiB" | "share";
  readonly value: number;
  /** How much of the time the subject was at work; 1 is a whole CPU. */
  readonly busy?: number;
  /** The largest passing value, as a multiple of nginx's. */
  readonly bar?: number;
};

/** A way of measuring. */
export type Measure = {
  readonly name: string;
  /** For people. */
  readonly title: string;
  readonly modes: readonly Mode[];
  /** Takes so long that there are fewer rounds of it. */
  readonly long?: boolean;
  /** Makes sense for these subjects only. */
  readonly subjects?: readonly SubjectName[];
  /** Measures one subject once, from its start on. */
  readonly run: (bench: Bench, subject: Subject, mode: Mode) => Promise<readonly Sample[]>;
};

/**
 * A sample for each end and one for their sum; the one end of server mode has no name. `factor` turns
 * what was measured into the unit.
 */
export function samples(
  shares: readonly Share[],
  factor: number,
  rest: Omit<Sample, "value" | "busy">,
): Sample[] {
  const { label, bar: _ofTheSum, ...plain } = rest;
  const named = (name: string) => label === "" ? name : `${label}, ${name}`;
  const scaled = ({ side: _, value, ...share }: Share) => ({ value: value * factor, ...share });
  const [only] = shares;
  if (shares.length === 1 && only !== undefined) return [{ ...rest, ...scaled(only) }];
  return [
    ...shares.map((share) => ({
      ...plain,
      label: named(`${share.side} side`),
      ...scaled(share),
    })),
    {
      ...rest,
      label: named("both"),
      value: factor * shares.reduce((sum, { value }) => sum + value, 0),
    },
  ];
}
