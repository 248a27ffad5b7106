/**
 * Families of metric series. Each tunnel, or each target of a tunnel, owns one series of a family,
 * or one for each value of a further label. The labels of the owner come first; a single tunnel
 * without a name has none.
 *
 * @module
 */

import { Counter, Gauge, Histogram, type Registry } from "prom-client";

/** The labels that identify the owner of a series. */
export type Owner = Readonly<Record<string, string>>;

/** The name and help text of a family. */
export type About = { readonly name: string; readonly help: string };

/** Adds 1, or the given amount. */
export type Count = (by?: number) => void;

/**
 * Creates families in a registry. All series of counters and histograms exist from the start, at
 * zero.
 */
export class Families {
  readonly #registry: Registry;
  readonly #labels: readonly string[];

  /** `labels` are the labels that every owner has. */
  constructor(registry: Registry, labels: readonly string[]) {
    this.#registry = registry;
    this.#labels = labels;
  }

  /** Families whose owners have one more label. */
  below(label: string): Families {
    return new Families(this.#registry, [...this.#labels, label]);
  }

  /** A counter. */
  counter(about: About): (owner: Owner) => Count {
    const counter = new Counter(this.#settings(about));
    return (owner) => {
      const series = counter.labels({ ...owner });
      series.inc(0);
      return (by) => series.inc(by);
    };
  }

  /** A counter with one label of a closed set. */
  counters<V extends string>(
    about: About,
    label: string,
    values: readonly V[],
  ): (owner: Owner) => (value: V) => void {
    const counter = new Counter(this.#settings(about, [label]));
    return (owner) => {
      const all = new Map(values.map((value) => {
        const series = counter.labels({ ...owner, [label]: value });
        series.inc(0);
        return [value, series];
      }));
      return (value) => all.get(value)?.inc();
    };
  }

  /**
   * A counter with one label of a closed set, for very frequent events: recording only adds to a
   * number, which is copied to the counter on a scrape.
   */
  tallies<V extends string>(
    about: About,
    label: string,
    values: readonly V[],
  ): (owner: Owner) => Record<V, number> {
    const collected: (() => void)[] = [];
    const counter = new Counter({
      ...this.#settings(about, [label]),
      collect: () => collected.forEach((collect) => collect()),
    });
    return (owner) => {
      const tally = Object.fromEntries(values.map((value) => [value, 0])) as Record<V, number>;
      for (const value of values) {
        const series = counter.labels({ ...owner, [label]: value });
        collected.push(() => {
          series.inc(tally[value]);
          tally[value] = 0;
        });
      }
      return tally;
    };
  }

  /** A histogram in seconds. */
  histogram(about: About, buckets: readonly number[]): (owner: Owner) => (seconds: number) => void {
    const histogram = new Histogram({ ...this.#settings(about), buckets: [...buckets] });
    return (owner) => {
      histogram.zero({ ...owner });
      const series = histogram.labels({ ...owner });
      return (seconds) => series.observe(elapsed(seconds));
    };
  }

  /** A gauge with optional further labels. Each series exists once it is set. */
  gauge(about: About, labels: readonly string[] = []): (owner: Owner, value: number) => void {
    const gauge = onFirstUse(() => new Gauge(this.#settings(about, labels)));
    // A gauge without labels is created when it is first set, because it would show 0 before.
    if (labels.length > 0) gauge();
    return (owner, value) => gauge().set({ ...owner }, value);
  }

  /** A gauge that asks each owner for its value on a scrape. */
  asking(about: About): (owner: Owner, ask: () => number) => void {
    const collected: (() => void)[] = [];
    const gauge = new Gauge({
      ...this.#settings(about),
      collect: () => collected.forEach((collect) => collect()),
    });
    return (owner, ask) => void collected.push(() => gauge.set({ ...owner }, ask()));
  }

  #settings(about: About, labels: readonly string[] = []) {
    return {
      ...about,
      labelNames: [...this.#labels, ...labels],
      registers: [this.#registry],
    };
  }
}

function onFirstUse<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => made ??= make();
}

/** Clamps to 0, because a clock that was set back must neither subtract seconds nor throw. */
function elapsed(seconds: number): number {
  return seconds > 0 && Number.isFinite(seconds) ? seconds : 0;
}
