/**
 * "Did you mean": the known name nearest to a mistyped one, and none where nothing is near.
 *
 * @module
 */

/** Longer words are no typing errors of ours; the bound keeps the table small. */
const MAX_LENGTH = 64;

/**
 * How many edits turn `a` into `b`: insert, delete or replace a character, or swap two neighbours
 * (Damerau-Levenshtein distance, restricted to one edit of a place).
 */
export function editDistance(a: string, b: string): number {
  let previous: number[] = [];
  let current = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let i = 1; i <= a.length; i++) {
    const beforePrevious = previous;
    previous = current;
    current = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min(at(previous, j) + 1, at(current, j - 1) + 1, at(previous, j - 1) + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, at(beforePrevious, j - 2) + 1);
      }
      current.push(best);
    }
  }
  return at(current, b.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Number.POSITIVE_INFINITY;
}

/** `clientAuth`, `client-auth` and `CLIENT_AUTH` all become `client_auth`. */
function normalize(name: string): string {
  return name.replace(/([a-z0-9])([A-Z])/g, "$1_$2").replace(/[-. ]/g, "_").toLowerCase();
}

/**
 * Drops the words (between `_`) that both names start or end with: `allow_ou` is no typing error of
 * `allow_cn`, however few letters differ, because the words that differ have nothing in common.
 */
function differingWords(a: string, b: string): [string, string] {
  const left = a.split("_");
  const right = b.split("_");
  while (left.length > 0 && right.length > 0 && left[0] === right[0]) {
    left.shift();
    right.shift();
  }
  while (left.length > 0 && right.length > 0 && left.at(-1) === right.at(-1)) {
    left.pop();
    right.pop();
  }
  return [left.join("_"), right.join("_")];
}

/**
 * The name of `known` that was most likely meant, or `undefined`. One edit is allowed in words of up
 * to five letters, two in longer ones, never as many as the word has letters.
 */
export function suggest(name: string, known: readonly string[]): string | undefined {
  if (name.length > MAX_LENGTH) return undefined;
  const wanted = normalize(name);
  let best: string | undefined;
  let bestDistance = Number.POSITIVE_INFINITY;
  for (const candidate of known) {
    const [a, b] = differingWords(wanted, normalize(candidate));
    const distance = editDistance(a, b);
    const length = Math.min(a.length, b.length);
    const allowed = Math.min(length - 1, length <= 5 ? 1 : 2);
    if (distance < bestDistance && (distance === 0 || distance <= allowed)) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}
