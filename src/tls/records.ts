/**
 * Finds the record boundaries of a TLS stream (RFC 8446 section 5.1).
 *
 * @module
 */

/** Length of a record's header in bytes; its last two are the length of what follows. */
const HEADER = 5;

/** Follows a stream of records without decrypting it. */
export class Records {
  /** Bytes of the header that were seen. */
  #header = 0;
  /** The first byte of the record's length. */
  #high = 0;
  /** Bytes of the record that are still to come. */
  #left = 0;

  /** Whether the stream is at a record boundary. */
  get whole(): boolean {
    return this.#header === 0 && this.#left === 0;
  }

  /** Processes the next bytes of the stream. */
  pass(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      if (this.#left > 0) {
        const skipped = Math.min(this.#left, bytes.length - at);
        this.#left -= skipped;
        at += skipped;
        continue;
      }
      const octet = bytes[at++] ?? 0;
      this.#header++;
      if (this.#header === HEADER - 1) this.#high = octet;
      if (this.#header < HEADER) continue;
      this.#left = (this.#high << 8) | octet;
      this.#header = 0;
    }
  }
}
