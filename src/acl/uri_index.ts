/**
 * The URIs of one peer, ready to be asked for many rules: a question costs one look-up, however many
 * URIs there are.
 *
 * @module
 */

import { plainUri, type UriParts, type UriPattern } from "./uri.ts";
import { laxPattern, uriReadings } from "./uri_readings.ts";

type Entry = { readonly value: string; readonly parts: UriParts };

/** What patterns have in common that are answered from one table. */
type Shape = Pick<UriPattern, "open" | "slash"> & {
  readonly anyAuthority: boolean;
  readonly count: number;
  /** Which segments may be anything. */
  readonly free: ReadonlySet<number>;
};

function shapeOf({ authority, segments, open, slash }: UriPattern): Shape {
  const free = segments.flatMap((segment, i) => segment === "*" ? [i] : []);
  return {
    anyAuthority: authority === "*",
    count: segments.length,
    free: new Set(free),
    open,
    slash,
  };
}

function shapeName({ anyAuthority, count, free, open, slash }: Shape): string {
  return `${anyAuthority} ${count} ${open} ${slash} ${[...free]}`;
}

/** What has to be equal. None of the parts holds a slash, so different parts give different texts. */
function keyOf(
  { scheme, authority, segments }: Pick<UriParts, "scheme" | "authority" | "segments">,
  { anyAuthority, count, free }: Shape,
): string {
  const fixed = segments.slice(0, count).map((segment, i) => free.has(i) ? "" : segment);
  return `${scheme}:${anyAuthority ? "" : authority}/${fixed.join("/")}`;
}

/** Takes URIs by what a pattern leaves fixed. */
class Tables {
  readonly #entries: readonly Entry[];
  readonly #tables = new Map<string, ReadonlyMap<string, string>>();

  constructor(entries: readonly Entry[]) {
    this.#entries = entries;
  }

  find(pattern: UriPattern): string | undefined {
    if (this.#entries.length === 0) return undefined;
    const shape = shapeOf(pattern);
    const name = shapeName(shape);
    const table = this.#tables.get(name) ?? this.#make(shape);
    this.#tables.set(name, table);
    return table.get(keyOf(pattern, shape));
  }

  #make(shape: Shape): ReadonlyMap<string, string> {
    const table = new Map<string, string>();
    for (const { value, parts } of this.#entries) {
      const { length } = parts.segments;
      if (shape.open ? length < shape.count : length !== shape.count) continue;
      if (parts.slash && !shape.slash) continue;
      const key = keyOf(parts, shape);
      if (!table.has(key)) table.set(key, value);
    }
    return table;
  }
}

/** The URIs that allow rules see: those in their plain form. */
export class PlainUris {
  readonly #tables: Tables;

  /** `values` as the certificate has them. */
  constructor(values: readonly string[]) {
    this.#tables = new Tables(values.flatMap((value) => {
      const parts = plainUri(value);
      return parts === undefined ? [] : [{ value, parts }];
    }));
  }

  /** What the pattern matches, as the certificate has it. */
  find(pattern: UriPattern): string | undefined {
    return this.#tables.find(pattern);
  }
}

/** The URIs that deny rules see: all of them, as whatever they may be taken for. */
export class LaxUris {
  readonly #tables: Tables;
  /** One that cannot be read to its end could be anything: every rule matches it. */
  readonly #endless: string | undefined;

  /** `values` as the certificate has them. */
  constructor(values: readonly string[]) {
    const read = values.map((value) => ({ value, readings: uriReadings(value) }));
    this.#endless = read.find(({ readings }) => readings === undefined)?.value;
    this.#tables = new Tables(
      read.flatMap(({ value, readings = [] }) => readings.map((parts) => ({ value, parts }))),
    );
  }

  /** What the pattern matches, as the certificate has it. */
  find(pattern: UriPattern): string | undefined {
    return this.#endless ?? this.#tables.find(pattern) ?? this.#tables.find(laxPattern(pattern));
  }
}
