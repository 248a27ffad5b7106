/**
 * The loop that learns: an input that reaches what none before did is kept, and the next ones are made
 * of those kept.
 *
 * Why not `@jazzer.js/core`: its native part needs glibc 2.38 (Debian 12 has 2.36), it runs on Node,
 * whose readers are not those that the daemon has, it brings 105 packages, and it knows no mutator of
 * one's own: what does not put DER's lengths right ends at the first value.
 *
 * @module
 */

import { Prng } from "../support/prng.ts";
import type { Instrumented } from "./instrument.ts";
import { smaller } from "./mutate.ts";
import type { Target } from "./target.ts";

/** An input that is kept. */
export type Entry = { readonly input: Uint8Array; readonly features: readonly number[] };

/** An input that the code does not stand up to. */
export type Finding = { readonly input: Uint8Array; readonly error: Error };

/** What one run of an input gave. */
type Ran = { readonly features: readonly number[]; readonly error: Error | undefined };

/** Above those of the counters: how much work for the length. */
const WORK_FEATURES = 1 << 24;

/** One new input in `LATEST` is made of the latest eighth of the corpus. */
const LATEST = 2;

/** Runs that making one input smaller may take. */
const MAX_TRIES = 2_000;

/** A target under way. */
export class Fuzzer {
  readonly target: Target;
  readonly #subject: Instrumented;
  readonly #random: Prng;
  readonly #corpus: Entry[] = [];
  /** The shortest input for each feature. */
  readonly #best = new Map<number, Entry>();
  /** The entry with just these features. */
  readonly #bySignature = new Map<string, number>();
  /** Inputs run. */
  runs = 0;
  /** Of these, inputs that were accepted. */
  accepted = 0;
  /** The most steps that a byte was seen to cost, of inputs of 256 bytes or more. */
  costliest = 0;

  /** Begins with nothing; the same seed and the same inputs give the same run. */
  constructor(target: Target, subject: Instrumented, seed: number) {
    this.target = target;
    this.#subject = subject;
    this.#random = new Prng(seed);
  }

  /** What was kept. */
  get corpus(): readonly Entry[] {
    return this.#corpus;
  }

  /** Branches reached. */
  get reached(): number {
    return branches([...this.#best.keys()]).size;
  }

  /** Runs one input; keeps it where it reaches something new. Gives a finding, already made small. */
  async add(input: Uint8Array): Promise<Finding | undefined> {
    const { features, error } = await this.#run(input);
    if (error !== undefined) return await this.#shrink({ input, error });
    this.#keep({ input, features });
    return undefined;
  }

  /** Makes one input of those kept, and runs it. */
  async step(): Promise<Finding | undefined> {
    const { target } = this;
    const input = target.mutate(this.#choose(), {
      random: this.#random,
      other: () => this.#choose(),
      words: this.#subject.words,
    });
    return input.length > target.maxLength ? undefined : await this.add(input);
  }

  /**
   * Few and short inputs that reach every branch that was reached: a greedy choice, the rarest branch
   * first, and of each input only what it is there for.
   */
  async minimal(): Promise<readonly Uint8Array[]> {
    const holders = new Map<number, Entry[]>();
    for (const entry of this.#corpus) {
      for (const branch of branches(entry.features)) {
        const list = holders.get(branch);
        if (list === undefined) holders.set(branch, [entry]);
        else list.push(entry);
      }
    }
    const chosen: Uint8Array[] = [];
    const covered = new Set<number>();
    for (const [branch, entries] of [...holders].toSorted(([, a], [, b]) => a.length - b.length)) {
      if (covered.has(branch)) continue;
      const [shortest] = entries.toSorted((a, b) => a.input.length - b.input.length);
      if (shortest === undefined) continue;
      const wanted = branches(shortest.features).difference(covered);
      const input = await this.#reduce(
        shortest.input,
        ({ features }) => wanted.isSubsetOf(branches(features)),
      );
      chosen.push(input);
      for (const one of branches((await this.#run(input)).features)) covered.add(one);
    }
    return chosen;
  }

  /** The shorter of two, so that inputs do not grow without gain. */
  #choose(): Uint8Array {
    const [one, other] = [this.#pick(), this.#pick()];
    return one.length <= other.length ? one : other;
  }

  #pick(): Uint8Array {
    const corpus = this.#corpus;
    const latest = Math.max(1, corpus.length >> 3);
    const at = this.#random.oneIn(LATEST)
      ? corpus.length - 1 - this.#random.int(latest)
      : this.#random.int(Math.max(1, corpus.length));
    return corpus[at]?.input ?? new Uint8Array();
  }

  async #run(input: Uint8Array): Promise<Ran> {
    const { code, counters } = this.#subject;
    const { target } = this;
    this.runs++;
    counters.reset();
    try {
      const { accepted, claims } = await target.run(code, input);
      const { steps } = counters;
      const features = counters.features();
      const most = target.maxSteps(input.length);
      if (steps > most) throw new Error(`${steps} steps for ${input.length} bytes, over ${most}`);
      await claims?.();
      if (accepted) this.accepted++;
      const ratio = steps / (input.length + 256);
      if (input.length >= 256) this.costliest = Math.max(this.costliest, steps / input.length);
      features.push(WORK_FEATURES + Math.floor(Math.log2(1 + ratio) * 8));
      return { features, error: undefined };
    } catch (error) {
      return { features: [], error: error instanceof Error ? error : new Error(String(error)) };
    }
  }

  #keep(entry: Entry): void {
    const fresh = entry.features.some((feature) => !this.#best.has(feature));
    const signature = entry.features.join();
    const same = this.#bySignature.get(signature);
    const shorter = same !== undefined &&
      entry.input.length < (this.#corpus[same]?.input.length ?? 0);
    if (!fresh && !shorter) return;
    if (same === undefined) {
      this.#bySignature.set(signature, this.#corpus.push(entry) - 1);
    } else this.#corpus[same] = entry;
    for (const feature of entry.features) {
      const best = this.#best.get(feature);
      if (best === undefined || entry.input.length < best.input.length) {
        this.#best.set(feature, entry);
      }
    }
  }

  async #shrink({ input, error }: Finding): Promise<Finding> {
    const small = await this.#reduce(
      input,
      (ran) => ran.error !== undefined && kind(ran.error) === kind(error),
    );
    return { input: small, error: (await this.#run(small)).error ?? error };
  }

  /** Leaves out what an input can do without, for a bounded number of tries. */
  async #reduce(input: Uint8Array, good: (ran: Ran) => boolean): Promise<Uint8Array> {
    let small = input;
    let tries = MAX_TRIES;
    for (let candidates = smaller(small);;) {
      const { value, done } = candidates.next();
      if (done === true || tries-- === 0) return small;
      if (value.length >= small.length || !good(await this.#run(value))) continue;
      small = value;
      candidates = smaller(small);
    }
  }
}

/** The branches of a list of features. */
function branches(features: readonly number[]): Set<number> {
  return new Set(features.filter((f) => f < WORK_FEATURES).map((f) => f >> 3));
}

/** What makes two errors the same finding: the name and the message without its numbers and quotes. */
function kind({ name, message }: Error): string {
  return `${name} ${message.split("\n")[0]?.replace(/\d+/g, "0").replace(/"[^"]*"/g, '""')}`;
}
