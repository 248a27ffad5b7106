/**
 * What checking a signature gave, for when the same one is checked again: whether a key made a
 * signature does not depend on who is trusted. An ECDSA check takes this runtime a third of a
 * millisecond and more, and after a reload thousands of open connections are verified anew by
 * certificates that were all checked before.
 *
 * Only what belonged to the chain of a peer that was found good is kept: what strangers send takes no
 * room here.
 *
 * @module
 */

import type { SignatureCheck } from "../x509/path.ts";
import { chainFingerprint } from "./fingerprint.ts";

/** Checks to remember, the latest; one takes some 100 bytes. */
const MAX_REMEMBERED = 16_384;

/** The checks of one verification: kept in the memory only if it comes out well. */
export type Checks = {
  /** What the check gave before; `undefined` where it was not made yet. */
  readonly known: (check: SignatureCheck) => boolean | undefined;
  /** What the check gave now. */
  readonly learn: (check: SignatureCheck, good: boolean) => void;
  /** Keeps all that was looked up or learned. */
  readonly keep: () => void;
};

/** Remembers checks across trust states. */
export class SignatureMemory {
  readonly #capacity: number;
  readonly #known = new Map<string, boolean>();

  /** Remembers the last `capacity` results. */
  constructor(capacity: number = MAX_REMEMBERED) {
    this.#capacity = capacity;
  }

  /** How many checks are remembered. */
  get size(): number {
    return this.#known.size;
  }

  /** For one verification. */
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
    // At the end of the line: what is in use stays.
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
  const algorithm = new TextEncoder().encode(JSON.stringify(signatureAlgorithm));
  return chainFingerprint([algorithm, key.der, tbs, signature]);
}
