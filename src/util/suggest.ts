/**
 * "Did you mean": finds the known name that a mistyped one probably means, if there is one.
 *
 * @module
 */

/** Longer words are not compared; the limit keeps the table small. */
const MAX_LENGTH = 64;

/**
 * The number of edits that turn `a` into `b`: insert, delete or replace a character, or swap two
 * adjacent ones (Damerau-Levenshtein distance, restricted to one edit per position).
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

/** Makes `clientAuth`, `client-auth` and `CLIENT_AUTH` equal to `client_auth`. */
function normalize(name: string): string {
  return name.replace(/([a-z0-9])([A-Z])/g, "$1_$2").replace(/[-. ]/g, "_").toLowerCase();
}

/**
 * Removes the words (between `_`) that both names start or end with. Otherwise `allow_ou` would
 * look like a typo of `allow_cn`, although the words that differ have nothing in common.
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
 * The name in `known` that was most likely meant, or `undefined`. One edit is allowed in words of
 * up to five letters, two in longer ones, and always fewer than the word has letters.
 */
export function suggest(name: string, known: readonly string[]): string | undefined {
  if (name.length > MAX_LENGTH) return undefined;
  const normalized = normalize(name);
  let best: string | undefined;
  let bestDistance = Number.POSITIVE_INFINITY;
  for (const candidate of known) {
    const [a, b] = differingWords(normalized, normalize(candidate));
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
