/**
 * Caches the results of signature checks: whether a key made a signature does not depend on which
 * CAs are trusted. An ECDSA check takes a third of a millisecond or more, and after a reload
 * thousands of open connections are verified again with certificates that were all checked before.
 *
 * Only checks that belong to a successfully verified chain are kept, so unauthenticated peers
 * cannot fill the cache.
 *
 * @module
 */

import { createHash } from "node:crypto";
import type { SignatureCheck } from "../x509/path.ts";

/**
 * Maximum number of cached checks; the least recently used is dropped first. One takes some 100
 * bytes.
 */
const MAX_REMEMBERED = 16_384;

/** The checks of one verification; cached only if it succeeds. */
export type Checks = {
  /** The cached result of a check; `undefined` where there is none. */
  readonly known: (check: SignatureCheck) => boolean | undefined;
  /** Records a new result. */
  readonly learn: (check: SignatureCheck, good: boolean) => void;
  /** Caches everything that was looked up or recorded. */
  readonly keep: () => void;
};

/** Caches checks across changes of trust. */
export class SignatureCache {
  readonly #capacity: number;
  readonly #known = new Map<string, boolean>();

  /** Keeps the `capacity` most recently used results. */
  constructor(capacity: number = MAX_REMEMBERED) {
    this.#capacity = capacity;
  }

  /** Number of cached checks. */
  get size(): number {
    return this.#known.size;
  }

  /** Starts the checks of one verification. */
  checks(): Checks {
    const used = new Map<string, boolean>();
    const names = new WeakMap<SignatureCheck, string>();
    const nameOf = (check: SignatureCheck): string => {
      const name = names.get(check) ?? nameOfCheck(check);
      names.set(check, name);
      return name;
    };
    return {
      known: (check) => {
        const name = nameOf(check);
        const good = this.#known.get(name);
        if (good !== undefined) used.set(name, good);
        return good;
      },
      learn: (check, good) => void used.set(nameOf(check), good),
      keep: () => {
        for (const [name, good] of used) this.#remember(name, good);
      },
    };
  }

  #remember(name: string, good: boolean): void {
    // Move to the end: the least recently used entry is dropped first.
    this.#known.delete(name);
    this.#known.set(name, good);
    if (this.#known.size <= this.#capacity) return;
    const [oldest] = this.#known.keys();
    if (oldest !== undefined) this.#known.delete(oldest);
  }
}

function nameOfCheck(
  { subject: { signatureAlgorithm, tbs, signature }, key }: SignatureCheck,
): string {
  const hash = createHash("sha256").update(JSON.stringify(signatureAlgorithm));
  // Hashing the lengths keeps the boundaries of the parts.
  for (const part of [key.der, tbs, signature]) hash.update(`${part.length}:`).update(part);
  return hash.digest("base64");
}
