/**
 * What a fuzz target is.
 *
 * @module
 */

import type { Prng } from "../support/prng.ts";
import type { Code } from "./instrument.ts";

/** What became of an input. */
export type Outcome = {
  /** Whether it was taken for good: a target that refuses everything tests little. */
  readonly accepted: boolean;
  /** Claims that are no part of the work, and so not counted: they run afterwards. Default none. */
  readonly claims?: () => void | Promise<void>;
};

/** What mutators take besides an input. */
export type MutationContext = {
  readonly random: Prng;
  /** Another input of the corpus, to take parts from. */
  readonly other: () => Uint8Array;
  /** See {@linkcode Instrumented.words}. */
  readonly words: readonly Uint8Array[];
};

/** One way in for bytes of an unknown peer. */
export type Target = {
  /** Also the directory below `testdata/fuzz/`. */
  readonly name: string;
  /** For `--help`. */
  readonly about: string;
  /** Inputs of a run with `--bounded`: some 10 s of one core. */
  readonly boundedRuns: number;
  /** Longer inputs are not made, bytes. */
  readonly maxLength: number;
  /** The most steps that an input of `length` bytes may cost. */
  readonly maxSteps: (length: number) => number;
  /** Inputs to begin with, made with the test PKI. */
  readonly seeds: () => readonly Uint8Array[];
  /** A changed input; never the same array. */
  readonly mutate: (input: Uint8Array, context: MutationContext) => Uint8Array;
  /**
   * Runs the code on an input. What it throws is a finding, as is what its claims throw; refusals
   * that the code documents are none and are caught here.
   */
  readonly run: (code: Code, input: Uint8Array) => Outcome | Promise<Outcome>;
};
