/**
 * Where the records of TLS begin and end on the wire (RFC 8446 section 5.1).
 *
 * @module
 */

/** Octets in front of each record; the last two are the length of what follows. */
const HEADER = 5;

/** Follows a stream of records without looking into them. */
export class Records {
  /** Octets of the header that were seen. */
  #header = 0;
  /** The first half of the length in it. */
  #high = 0;
  /** Octets of the record that are still to come. */
  #left = 0;

  /** Whether the stream could end here without having lost a part of a record. */
  get whole(): boolean {
    return this.#header === 0 && this.#left === 0;
  }

  /** The next octets of the stream. */
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
