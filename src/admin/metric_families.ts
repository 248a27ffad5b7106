/**
 * Families of metric series. Each tunnel, or each target of a tunnel, owns one series of a family,
 * or one for each value of a further label. The labels of the owner come first; a single tunnel
 * without a name has none.
 *
 * Families read their values when they are scraped: `read` must never throw.
 *
 * @module
 */

import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { HistogramCounts } from "../metrics/counters.ts";

/** The labels that identify the owner of a series. */
export type Owner = Readonly<Record<string, string>>;

/** The name and help text of a family. */
export type About = { readonly name: string; readonly help: string };

/** Creates families in a registry. */
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

  /** A counter. The result adds an owner, whose count never falls. */
  counter(about: About): (owner: Owner, read: () => number) => void {
    return this.#counted(about, []);
  }

  /** A counter with one label of a closed set. */
  counters<V extends string>(
    about: About,
    label: string,
    values: readonly V[],
  ): (owner: Owner, read: (value: V) => number) => void {
    const add = this.#counted(about, [label]);
    return (owner, read) => {
      for (const value of values) add({ ...owner, [label]: value }, () => read(value));
    };
  }

  #counted(about: About, more: readonly string[]): (owner: Owner, read: () => number) => void {
    const collected: (() => void)[] = [];
    const counter = new Counter({
      ...this.#settings(about, more),
      collect: () => collected.forEach((collect) => collect()),
    });
    return (owner, read) => {
      const series = counter.labels({ ...owner });
      let reported = 0;
      collected.push(() => {
        const total = read();
        series.inc(total - reported);
        reported = total;
      });
    };
  }

  /** A histogram in seconds with these upper bounds. */
  histogram(
    about: About,
    buckets: readonly number[],
  ): (owner: Owner, read: () => HistogramCounts) => void {
    const histogram = new CountedHistogram({ ...this.#settings(about), buckets: [...buckets] });
    return (owner, read) => void histogram.owners.push({ owner, read });
  }

  /** A gauge with optional further labels. Each series exists once it is set. */
  gauge(about: About, labels: readonly string[] = []): (owner: Owner, value: number) => void {
    let made: Gauge | undefined;
    const gauge = () => made ??= new Gauge(this.#settings(about, labels));
    // A gauge without labels is created when it is first set, because it would show 0 before.
    if (labels.length > 0) gauge();
    return (owner, value) => gauge().set({ ...owner }, value);
  }

  /** A gauge that reads its values on a scrape. */
  readGauge(about: About): (owner: Owner, read: () => number) => void {
    const collected: (() => void)[] = [];
    const gauge = new Gauge({
      ...this.#settings(about),
      collect: () => collected.forEach((collect) => collect()),
    });
    return (owner, read) => void collected.push(() => gauge.set({ ...owner }, read()));
  }

  #settings(about: About, labels: readonly string[] = []) {
    return {
      ...about,
      labelNames: [...this.#labels, ...labels],
      registers: [this.#registry],
    };
  }
}

/** A sample as prom-client prints it: `labels` come before `sharedLabels`. */
type Sample = {
  readonly metricName: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly sharedLabels: Owner;
  readonly value: number;
};

/**
 * A histogram whose counts come from elsewhere. prom-client 15 has no such class, and calls
 * `getForPromString` of a metric that it prints.
 */
class CountedHistogram extends Histogram {
  readonly owners: { readonly owner: Owner; readonly read: () => HistogramCounts }[] = [];
  readonly #about: About & { readonly buckets: readonly number[] };

  constructor(settings: ConstructorParameters<typeof Histogram>[0] & { buckets: number[] }) {
    super(settings);
    this.#about = settings;
  }

  getForPromString() {
    const { name, help } = this.#about;
    const values = this.owners.flatMap(({ owner, read }) => this.#samples(owner, read()));
    return { name, help, type: "histogram", values };
  }

  #samples(sharedLabels: Owner, { buckets, sum, count }: HistogramCounts): readonly Sample[] {
    const { name, buckets: bounds } = this.#about;
    let total = 0;
    const bucket = (le: string | number, value: number): Sample => ({
      metricName: `${name}_bucket`,
      labels: { le },
      sharedLabels,
      value,
    });
    return [
      ...bounds.map((bound, i) => bucket(bound, total += buckets[i] ?? 0)),
      bucket("+Inf", count),
      { metricName: `${name}_sum`, labels: {}, sharedLabels, value: sum },
      { metricName: `${name}_count`, labels: {}, sharedLabels, value: count },
    ];
  }
}
