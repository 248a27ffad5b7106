/**
 * What checking a signature gave, for when the same one is checked again: whether a key made a
 * signature does not depend on who is trusted. An ECDSA check takes this runtime more than half a
 * millisecond, and after a reload thousands of open connections are judged anew by certificates that
 * were all checked before.
 *
 * Only what belonged to the chain of a peer that was found good is kept: what strangers send takes no
 * room here.
 *
 * @module
 */

import type { VerifySignature } from "../x509/path.ts";
import { chainFingerprint } from "./fingerprint.ts";

/** Checks to remember, the latest; one takes some 100 bytes. */
const MAX_REMEMBERED = 16_384;

/** Remembers checks across trust states. */
export class SignatureMemory {
  readonly #check: VerifySignature;
  readonly #capacity: number;
  readonly #known = new Map<string, boolean>();

  /** Remembers what `check` says, the last `capacity` results. */
  constructor(check: VerifySignature, capacity: number = MAX_REMEMBERED) {
    this.#check = check;
    this.#capacity = capacity;
  }

  /** How many checks are remembered. */
  get size(): number {
    return this.#known.size;
  }

  /** Runs `judge` with a check that looks here first; what it looked at is kept if `keep` says so. */
  during<T>(judge: (check: VerifySignature) => T, keep: (result: T) => boolean): T {
    const seen = new Map<string, boolean>();
    const encoder = new TextEncoder();
    const result = judge((algorithm, key, tbs, signature) => {
      const kind = encoder.encode(JSON.stringify(algorithm));
      const name = chainFingerprint([kind, key.der, tbs, signature]);
      const good = seen.get(name) ?? this.#known.get(name) ??
        this.#check(algorithm, key, tbs, signature);
      seen.set(name, good);
      return good;
    });
    if (keep(result)) {
      for (const [name, good] of seen) this.#remember(name, good);
    }
    return result;
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
