/**
 * The URIs of one peer, indexed so that each rule costs one look-up, however many URIs there are.
 *
 * @module
 */

import { plainUri, type UriParts, type UriPattern } from "./uri.ts";
import { laxPattern, uriReadings } from "./uri_readings.ts";

type Entry = { readonly value: string; readonly parts: UriParts };

/** What patterns must have in common to share one table. */
type Shape = Pick<UriPattern, "open" | "slash"> & {
  readonly anyAuthority: boolean;
  readonly count: number;
  /** Indexes of the segments that can be anything. */
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

/**
 * Key of the parts that must be equal. No part contains a slash, so different parts make different
 * keys.
 */
function keyOf(
  { scheme, authority, segments }: Pick<UriParts, "scheme" | "authority" | "segments">,
  { anyAuthority, count, free }: Shape,
): string {
  const fixed = segments.slice(0, count).map((segment, i) => free.has(i) ? "" : segment);
  return `${scheme}:${anyAuthority ? "" : authority}/${fixed.join("/")}`;
}

/** Tables of URIs, keyed by the parts that patterns of one shape fix. */
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

/** The URIs that allow rules see: only those in canonical form. */
export class PlainUris {
  readonly #tables: Tables;

  /** `values` are the URIs as they stand in the certificate. */
  constructor(values: readonly string[]) {
    this.#tables = new Tables(values.flatMap((value) => {
      const parts = plainUri(value);
      return parts === undefined ? [] : [{ value, parts }];
    }));
  }

  /** The value that the pattern matches, as it stands in the certificate. */
  find(pattern: UriPattern): string | undefined {
    return this.#tables.find(pattern);
  }
}

/** The URIs that deny rules see: all of them, in every way in which they can be read. */
export class LaxUris {
  readonly #tables: Tables;
  /**
   * A URI with too many layers of encoding to be decoded: it could be anything, so every rule
   * matches it.
   */
  readonly #endless: string | undefined;

  /** `values` are the URIs as they stand in the certificate. */
  constructor(values: readonly string[]) {
    const read = values.map((value) => ({ value, readings: uriReadings(value) }));
    this.#endless = read.find(({ readings }) => readings === undefined)?.value;
    this.#tables = new Tables(
      read.flatMap(({ value, readings = [] }) => readings.map((parts) => ({ value, parts }))),
    );
  }

  /** The value that the pattern matches, as it stands in the certificate. */
  find(pattern: UriPattern): string | undefined {
    return this.#endless ?? this.#tables.find(pattern) ?? this.#tables.find(laxPattern(pattern));
  }
}
